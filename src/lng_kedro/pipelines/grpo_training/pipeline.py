"""Wiring of grpo_training."""

from kedro.pipeline import Node, Pipeline

from lng_kedro.pipelines.grpo_training import nodes

INPUTS = ["grpo_samples", "photos", "taxonomy", "params:vlm", "params:grpo_training"]


def create_pipeline() -> Pipeline:
    """sft_adapter, grpo_samples -> grpo_adapter."""
    return Pipeline(
        [
            Node(
                nodes.grpo,
                inputs=[*INPUTS, "sft_adapter"],
                outputs=["grpo_adapter", "history_grpo"],
                name="grpo",
                tags="train",
            )
        ]
    )


def create_ablation() -> Pipeline:
    """grpo_samples -> grpo_only_adapter: what GRPO does without SFT (Table III)."""
    return Pipeline(
        [
            Node(
                nodes.grpo_only,
                inputs=INPUTS,
                outputs=["grpo_only_adapter", "history_grpo_only"],
                name="grpo_only",
                tags="train",
            )
        ]
    )
