"""Generic scenes -> the demo's base model."""

from lng_kedro.pipelines.base_model.pipeline import create_pipeline

__all__ = ["create_pipeline"]
