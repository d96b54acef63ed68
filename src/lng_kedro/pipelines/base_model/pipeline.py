"""Wiring of base_model."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.base_model import nodes


def create_pipeline() -> Pipeline:
    """The pretraining recipe -> base_checkpoint."""
    return Pipeline(
        [
            Node(
                nodes.pretrain_base,
                inputs=["params:taxonomy", "params:base_model"],
                outputs=["base_checkpoint", "history_base_model"],
                name="pretrain_base",
                tags="train",
            )
        ]
    )
