"""Predictions, metrics, tables and the report page of every stage."""

from lng_kedro.pipelines.evaluation.pipeline import (
    create_ablation,
    create_pipeline,
    create_study,
    create_study_table,
)

__all__ = ["create_ablation", "create_pipeline", "create_study", "create_study_table"]
