"""Wiring of base_model."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.base_model import nodes


def create_pipeline() -> Pipeline:
    """The pretraining recipe -> base_checkpoint, base_log and base_recipe."""
    return Pipeline(
        [
            Node(
                nodes.pretrain_base,
                inputs=["params:taxonomy", "params:base_model"],
                outputs=["base_checkpoint", "base_log"],
                name="pretrain_base",
                tags="train",
            ),
            Node(
                nodes.describe_base,
                inputs=["base_checkpoint", "params:base_model"],
                outputs="base_recipe",
                name="describe_base",
                tags="report",
            ),
        ]
    )
