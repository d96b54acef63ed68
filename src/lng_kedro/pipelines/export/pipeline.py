"""Wiring of export."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.export import nodes


def create_pipeline() -> Pipeline:
    """adapter_in_use -> merged_model, and a version of a registered model."""
    described = {
        "adapter": "adapter_in_use",
        "all_samples": "all_samples",
        "drawn_with": "drawn_with",
        "predictions": "all_predictions",
        "metrics": "all_metrics",
        "vlm": "params:vlm",
    }
    return Pipeline(
        [
            Node(nodes.describe, inputs=described, outputs="model_card", name="describe"),
            Node(
                nodes.merge,
                inputs=["adapter_in_use", "model_card", "params:vlm"],
                outputs="merged_model",
                name="merge",
            ),
            Node(
                nodes.register,
                inputs=["merged_model", "params:export"],
                outputs="merged_model_version",
                name="register",
            ),
        ],
        tags="export",
    )
