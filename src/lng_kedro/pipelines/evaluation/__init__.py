"""Predictions and metrics of every stage."""

from lng_kedro.pipelines.evaluation.pipeline import create_ablation, create_pipeline

__all__ = ["create_ablation", "create_pipeline"]
