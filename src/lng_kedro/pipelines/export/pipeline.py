"""Wiring of export."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.export import nodes


def create_pipeline() -> Pipeline:
    """adapter_in_use -> merged_model, and a version of a registered model."""
    stored = {"predictions": "all_predictions", "metrics": "all_metrics"}
    stored |= {name: name for name in ("all_samples", "drawn_with")}
    return Pipeline(
        [
            Node(
                nodes.merge,
                inputs={"adapter": "adapter_in_use", "vlm": "params:vlm"} | stored,
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
