"""A trained adapter -> a merged model with its card, registered in MLflow."""

from lng_kedro.pipelines.export.pipeline import create_pipeline

__all__ = ["create_pipeline"]
