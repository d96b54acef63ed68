"""Wiring of sft_training."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.sft_training import nodes


def create_pipeline() -> Pipeline:
    """sft_samples -> sft_adapter."""
    return Pipeline(
        [
            Node(
                nodes.sft,
                inputs=["sft_samples", "photos", "taxonomy", "params:vlm", "params:sft_training"],
                outputs=["sft_adapter", "history_sft"],
                name="sft",
                tags="train",
            )
        ]
    )
