"""Stage two: GRPO with seven verifiable rewards (paper, section III.C.2)."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.rewards import build_rewards
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.training.data import grpo_dataset
from lng_kedro.training.params import GrpoParams
from lng_kedro.training.run import Log, fit, last_checkpoint, run_folder
from lng_kedro.vlm.load import Vlm, load_vlm
from lng_kedro.vlm.photos_once import encode_photos_once
from lng_kedro.vlm.spec import VlmParams


def train_grpo(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: GrpoParams,
    log: Log,
    adapter: Path | None,
) -> tuple[Any, pd.DataFrame]:
    """Trains the SFT adapter further, or a new one (the ablation of Table III).

    Args:
        samples: the GRPO split.
        photos: the processed photos.
        taxonomy: the report schema.
        vlm_params: which model.
        params: how.
        log: is told each step's figures, among them each reward's mean and spread.
        adapter: folder of the SFT adapter, or None to start from the base model.

    Returns:
        The `PeftModel`, and one row a logged step.
    """
    folder = run_folder(
        params.work_dir / ("from_sft" if adapter else "from_base"),
        params.model_dump_json(),
        vlm_params.model_dump_json(),
        taxonomy.model_dump_json(),
        _fingerprint(adapter),
        *samples["photo_id"],
        *samples["ground_truth"],
    )
    # A run that goes on must be given its own adapter here: where a reference policy lies beside it in the
    # checkpoint, the trainer restores that one only, and would train from the start again without a word.
    start = last_checkpoint(folder) or adapter
    new = None if start else params.lora
    vlm = load_vlm(vlm_params, adapter=start, new_adapter=new, trainable=True, seed=params.seed)
    encode_photos_once(vlm.model)
    from trl import GRPOTrainer

    from lng_kedro.training.hard_samples import TruthInjectingTrainer

    rewards = build_rewards(taxonomy, vlm.frame)
    trainer = (TruthInjectingTrainer if params.hard_samples == "inject" else GRPOTrainer)(
        model=vlm.model,
        reward_funcs=list(rewards.values()),
        args=_config(params, vlm, list(rewards), vlm_params.spec.device, folder),
        train_dataset=grpo_dataset(samples, photos, taxonomy, vlm.frame, params.photos_per_step, params.seed),
        processing_class=vlm.processor,
    )
    return trainer.model, fit(trainer, folder, log)


def _config(params: GrpoParams, vlm: Vlm, rewards: list[str], device: str, folder: Path) -> Any:
    from trl import GRPOConfig

    return GRPOConfig(
        **params.arguments(device) | {"output_dir": str(folder)},
        # The data set is in random order already, and in one that keeps steps short; the same in every epoch.
        shuffle_dataset=False,
        # Else the trainer keeps the photos of a step, whose files are open, for a table that nobody reads.
        log_multimodal=False,
        num_generations=params.num_generations,
        max_completion_length=params.max_completion_length,
        temperature=params.temperature,
        beta=params.beta,
        loss_type=params.loss_type,
        scale_rewards=params.scale_rewards,
        mask_truncated_completions=params.mask_truncated_completions,
        reward_weights=[params.reward_weights[name] for name in rewards],
        generation_kwargs={"suppress_tokens": list(vlm.barred_ids)},
    )


def _fingerprint(adapter: Path | None) -> str:
    return sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest() if adapter else ""
