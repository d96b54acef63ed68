"""New photos and an adapter -> a report each, and what is made of them."""

from lng_kedro.pipelines.inspection.pipeline import create_pipeline

__all__ = ["create_pipeline"]
