"""Raw photos and labels -> balanced, resized, validated chat samples."""

from lng_kedro.pipelines.data_processing.pipeline import create_pipeline

__all__ = ["create_pipeline"]
