"""Stage two: SFT adapter -> GRPO adapter; and the ablation without SFT."""

from lng_kedro.pipelines.grpo_training.pipeline import create_ablation, create_pipeline

__all__ = ["create_ablation", "create_pipeline"]
