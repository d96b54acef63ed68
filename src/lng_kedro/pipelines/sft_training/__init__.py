"""Stage one: chat samples -> SFT adapter."""

from lng_kedro.pipelines.sft_training.pipeline import create_pipeline

__all__ = ["create_pipeline"]
