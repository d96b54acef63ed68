"""Wiring of export."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.export import nodes


def create_pipeline() -> Pipeline:
    """adapter -> merged_model, and a version of a registered model."""
    described = {name: name for name in ("adapter", "all_samples", "drawn_with")}
    described |= {"predictions": "all_predictions", "metrics": "all_metrics", "vlm": "params:vlm"}
    return Pipeline(
        [
            Node(nodes.describe, inputs=described, outputs="model_card", name="describe"),
            Node(
                nodes.merge,
                inputs=["adapter", "model_card", "params:vlm"],
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
