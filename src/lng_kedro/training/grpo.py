"""Stage two: GRPO with seven verifiable rewards (paper, section III.C.2)."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.results import data_hash
from lng_kedro.rewards import build_rewards
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.training.data import grpo_dataset
from lng_kedro.training.memory import check_gpu
from lng_kedro.training.order import SimilarLengths
from lng_kedro.training.params import GrpoParams
from lng_kedro.training.run import Tracker, check_arguments, fit, last_checkpoint, run_folder, trained_stage
from lng_kedro.unseen import contents
from lng_kedro.vlm.adapter import Adapter, learned_from, trained_stages
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.load import Vlm, load_vlm
from lng_kedro.vlm.photos_once import encode_photos_once
from lng_kedro.vlm.spec import VlmParams


def train_grpo(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: GrpoParams,
    tracker: Tracker,
    adapter: Path | None,
) -> tuple[Adapter, pd.DataFrame]:
    """Trains the SFT adapter further, or a new one (the ablation of Table III).

    Args:
        samples: the GRPO split.
        photos: the processed photos.
        taxonomy: the report schema.
        vlm_params: which model.
        params: how.
        tracker: is told each step's figures, among them each reward's mean and spread, and the candidates for
            one photo at each checkpoint.
        adapter: folder of the SFT adapter, or None to start from the base model.

    Returns:
        The adapter, and one row a logged step.
    """
    data = data_hash(samples, photos)
    folder = run_folder(
        params.work_dir / ("from_sft" if adapter else "from_base"),
        params.fingerprint(),
        vlm_params.fingerprint(),
        taxonomy.model_dump_json(),
        sha256((adapter / "adapter_model.safetensors").read_bytes()).hexdigest() if adapter else "",
        data,
    )
    arguments = params.arguments(vlm_params.spec, folder)
    check_gpu(vlm_params, params, samples, taxonomy)
    # A run that goes on must be given its own adapter here: where a reference policy lies beside it in the
    # checkpoint, the trainer restores that one only, and would train from the start again without a word.
    start = last_checkpoint(folder) or adapter
    new = None if start else params.lora
    vlm = load_vlm(
        vlm_params,
        adapter=start,
        new_adapter=new,
        trainable=True,
        seed=params.seed,
        gradient_checkpointing=params.gradient_checkpointing,
    )
    if vlm.backend == "unsloth" and params.beta and adapter:
        from lng_kedro.vlm.unsloth_model import keep_reference

        keep_reference(vlm.model)
    # With a remedy for hard samples a step may see other photos in place of its own.
    encode_photos_once(vlm.model, keep=2 * params.photos_per_step)
    from trl import GRPOConfig

    from lng_kedro.training.hard_samples import HardSampleTrainer
    from lng_kedro.training.trainers import OrderedGrpoTrainer

    rewards = build_rewards(taxonomy, vlm.frame)
    arguments |= _settings(params, vlm, list(rewards))
    remedy = {} if params.hard_samples == "none" else {"inject": params.hard_samples == "resample_inject"}
    args = GRPOConfig(**arguments)
    trainer = (HardSampleTrainer if remedy else OrderedGrpoTrainer)(
        model=vlm.model,
        reward_funcs=list(rewards.values()),
        args=args,
        train_dataset=grpo_dataset(samples, photos, taxonomy, vlm.frame),
        processing_class=vlm.processor,
        order=SimilarLengths(
            samples["ground_truth"].str.len().tolist(),
            params.photos_per_step,
            params.seed,
            candidates=params.num_generations,
            repeats=args.steps_per_generation * args.num_iterations,
        ),
        tracker=tracker,
        **remedy,
    )
    check_arguments(arguments, trainer.args)
    history = fit(trainer, folder, tracker, "GRPO")
    seen = {**learned_from(adapter), **contents(samples)}
    dialogue = Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=True)
    stages = [*trained_stages(adapter), trained_stage("GRPO", samples, data, vlm_params, params)]
    return Adapter(trainer.model, dialogue, seen, stages), history


def _settings(params: GrpoParams, vlm: Vlm, rewards: list[str]) -> dict[str, Any]:
    return {
        # Else the trainer keeps the photos of a step, whose files are open, for a table that nobody reads.
        "log_multimodal": False,
        "num_generations": params.num_generations,
        "max_completion_length": params.max_completion_length,
        "temperature": params.temperature,
        "beta": params.beta,
        "loss_type": params.loss_type,
        "epsilon": params.epsilon,
        "epsilon_high": params.epsilon,
        "scale_rewards": params.scale_rewards,
        "mask_truncated_completions": params.mask_truncated_completions,
        "reward_weights": [params.reward_weights[name] for name in rewards],
        "generation_kwargs": {"suppress_tokens": list(vlm.barred_ids)},
    }
