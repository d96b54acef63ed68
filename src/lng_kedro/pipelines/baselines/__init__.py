"""The detectors of Table III: training, predictions and metrics."""

from lng_kedro.pipelines.baselines.pipeline import create_pipeline

__all__ = ["create_pipeline"]
