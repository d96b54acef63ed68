"""Tables, comparisons, plots and the report page, from whatever has been evaluated."""

from lng_kedro.pipelines.reporting.pipeline import create_pipeline, create_study_table

__all__ = ["create_pipeline", "create_study_table"]
