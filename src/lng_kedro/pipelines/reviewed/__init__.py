"""What people made of inspection reports -> label files for the next training set."""

from lng_kedro.pipelines.reviewed.pipeline import create_pipeline

__all__ = ["create_pipeline"]
