"""Loads a vision-language model, its processor and its adapter."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lng_kedro.geometry import PROCESSED, PROCESSED_SIZE, Frame
from lng_kedro.vlm.families import FAMILIES
from lng_kedro.vlm.spec import LoraParams, ModelSpec, VlmParams


@dataclass(frozen=True)
class Vlm:
    """A loaded model.

    Attributes:
        model: transformers' model, within a `PeftModel` where it has an adapter.
        processor: its processor; pads on the left.
        frame: the coordinate frame in which it is spoken with.
        barred_ids: ids of tokens that it must not generate.
    """

    model: Any
    processor: Any
    frame: Frame
    barred_ids: tuple[int, ...]


def load_vlm(
    params: VlmParams,
    adapter: Path | None = None,
    new_adapter: LoraParams | None = None,
    trainable: bool = False,
    seed: int = 0,
) -> Vlm:
    """Loads the model in use.

    Args:
        params: which model, and its frame.
        adapter: folder of a stored adapter to put on it.
        new_adapter: a fresh adapter to put on it, where there is no stored one.
        trainable: the adapter is to be trained further.
        seed: of a fresh adapter's weights.
    """
    spec = params.spec
    load = _load_unsloth if spec.backend == "unsloth" else _load_transformers
    model, processor = load(spec, adapter, new_adapter, trainable, seed)
    # Batches are generated from, and GRPO's log-probabilities are only right, with padding on the left.
    processor.tokenizer.padding_side = "left"
    family = FAMILIES[spec.family]
    ids = processor.tokenizer.convert_tokens_to_ids
    known = processor.tokenizer.get_vocab()
    ends = {processor.tokenizer.eos_token_id, *(ids(t) for t in family.end_tokens)}
    model.generation_config.eos_token_id = sorted(ends)
    native = family.native_frame(processor, PROCESSED_SIZE)
    return Vlm(
        model=model,
        processor=processor,
        frame=PROCESSED if params.frame == "processed" else native,
        barred_ids=tuple(ids(t) for t in family.barred_tokens if t in known),
    )


def _load_transformers(
    spec: ModelSpec, adapter: Path | None, new_adapter: LoraParams | None, trainable: bool, seed: int
) -> tuple[Any, Any]:
    import torch
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(spec.checkpoint, revision=spec.revision)
    model = AutoModelForImageTextToText.from_pretrained(
        spec.checkpoint, revision=spec.revision, dtype=getattr(torch, spec.dtype)
    ).to(spec.device)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
    elif new_adapter is not None:
        torch.manual_seed(seed)
        config = LoraConfig(
            r=new_adapter.rank,
            lora_alpha=new_adapter.alpha,
            lora_dropout=new_adapter.dropout,
            target_modules=spec.lora_targets,
            task_type="CAUSAL_LM",
        )
        model = get_peft_model(model, config)
    return model, processor


def _load_unsloth(
    spec: ModelSpec, adapter: Path | None, new_adapter: LoraParams | None, trainable: bool, seed: int
) -> tuple[Any, Any]:
    # Unsloth patches transformers, PEFT and TRL: it must be imported before any of them.
    import torch
    from unsloth import FastVisionModel

    model, processor = FastVisionModel.from_pretrained(
        str(adapter or spec.checkpoint),
        revision=spec.revision,
        dtype=getattr(torch, spec.dtype),
        load_in_4bit=False,
        use_gradient_checkpointing="unsloth",
    )
    if adapter is None and new_adapter is not None:
        model = FastVisionModel.get_peft_model(
            model,
            r=new_adapter.rank,
            lora_alpha=new_adapter.alpha,
            lora_dropout=new_adapter.dropout,
            target_modules=spec.lora_targets,
            random_state=seed,
        )
    (FastVisionModel.for_training if trainable or new_adapter else FastVisionModel.for_inference)(model)
    return model, processor
