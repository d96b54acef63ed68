"""Wiring of reviewed."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.reviewed import nodes


def create_pipeline() -> Pipeline:
    """Corrected tasks -> label files."""
    return Pipeline(
        [
            Node(
                nodes.take_corrections,
                inputs=["corrections", "reviewed_annotations"],
                outputs="reviewed_quarantine",
                name="take_corrections",
                tags="ingest",
            )
        ]
    )
