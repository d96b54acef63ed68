"""Loads a vision-language model, its processor and its adapter."""

import gc
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lng_kedro.geometry import Frame
from lng_kedro.vlm.backend import Backend, choose_backend, device_of
from lng_kedro.vlm.fits import WrongAdapter, check_base, check_fits, check_frame
from lng_kedro.vlm.spec import LoraParams, ModelSpec, VlmParams

logger = logging.getLogger(__name__)

KEPT_16BIT = ["lm_head", "model.visual", "model.vision_tower", "model.multi_modal_projector"]
"""What 4bit leaves alone, as Unsloth does: boxes are found by the vision tower."""


@dataclass(frozen=True)
class Vlm:
    """A loaded model.

    Attributes:
        model: transformers' model, within a `PeftModel` where it has an adapter.
        processor: its processor; pads on the left.
        frame: the coordinate frame in which it is spoken with.
        barred_ids: ids of tokens that it must not generate.
        backend: what loaded it.
        max_length: tokens at which SFT may cut a sample: none, or what the checkpoint can take at most.
    """

    model: Any
    processor: Any
    frame: Frame
    barred_ids: tuple[int, ...]
    backend: Backend
    max_length: int | None = None


def load_vlm(
    params: VlmParams,
    adapter: Path | None = None,
    new_adapter: LoraParams | None = None,
    trainable: bool = False,
    seed: int = 0,
    gradient_checkpointing: bool = False,
) -> Vlm:
    """Loads the model in use.

    Args:
        params: which model, and its frame.
        adapter: folder of a stored adapter to put on it.
        new_adapter: a fresh adapter to put on it, where there is no stored one.
        trainable: the adapter is to be trained further.
        seed: of a fresh adapter's weights.
        gradient_checkpointing: as the trainer is told, since Unsloth has to know it here.

    Raises:
        ValueError: the backend is not there, or the checkpoint is not what its entry says.
        WrongAdapter: the stored adapter is of another model, or of one set otherwise.
    """
    spec = params.spec
    if adapter:
        check_base(params, adapter)
    _forget_others()
    try:
        backend, reason = choose_backend(spec)
        logger.info("Backend %s for %s: %s", backend, params.model, reason)
        if backend == "unsloth":
            from lng_kedro.vlm.unsloth_model import MAX_LENGTH, load_unsloth

            max_length = MAX_LENGTH
            model, processor = load_unsloth(
                spec, adapter, new_adapter, trainable, seed, gradient_checkpointing
            )
        else:
            max_length = None
            model, processor = _load_transformers(spec, adapter, new_adapter, trainable, seed)
        _prepare(spec, model, processor)
    except ValueError as error:
        raise _wrong_entry(params, error) from error
    frame = params.spoken_frame(processor)
    if new_adapter is None:
        check_frame(params, adapter or Path(spec.checkpoint), frame)
    return Vlm(
        model=model,
        processor=processor,
        frame=frame,
        barred_ids=_barred_ids(spec, processor),
        backend=backend,
        max_length=max_length,
    )


def load_to_merge(params: VlmParams, adapter: Path) -> Vlm:
    """The model in use with an adapter, in the computer's memory and in the numbers of its checkpoint.

    Whatever bits and device it is trained with: an adapter that was trained on 4 bits is merged into what
    they were made of.

    Raises:
        ValueError: the checkpoint is not what its entry says.
        WrongAdapter: as of `load_vlm`.
    """
    check_base(params, adapter)
    _forget_others()
    spec = params.spec.model_copy(update={"precision": "16bit", "device": "cpu", "backend": "transformers"})
    try:
        model, processor = _load_transformers(spec, adapter, None, False, 0, dtype="auto")
        _prepare(spec, model, processor)
    except ValueError as error:
        raise _wrong_entry(params, error) from error
    frame = params.spoken_frame(processor)
    check_frame(params, adapter, frame)
    return Vlm(model, processor, frame, _barred_ids(spec, processor), backend="transformers")


def _wrong_entry(params: VlmParams, error: ValueError) -> ValueError:
    kind = WrongAdapter if isinstance(error, WrongAdapter) else ValueError
    return kind(f"Model '{params.model}' (conf/base/parameters/models.yml): {error}")


def _barred_ids(spec: ModelSpec, processor: Any) -> tuple[int, ...]:
    known = processor.tokenizer.get_vocab()
    return tuple(known[token] for token in spec.traits.barred_tokens if token in known)


def _forget_others() -> None:
    """Another stage's model of this process may still be held, by what refers to each other in circles."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _prepare(spec: ModelSpec, model: Any, processor: Any) -> None:
    """What is seen of a photo, and how a conversation starts and ends, in model and processor alike."""
    spec.traits.prepare(model, processor, *spec.pixels)
    _prepare_text(spec, processor)
    bare = model.get_base_model() if hasattr(model, "get_base_model") else model
    bare.generation_config = _generation_config(spec, processor.tokenizer)
    # As trainers do, which warn where there is a difference.
    for token in ("bos_token_id", "eos_token_id", "pad_token_id"):
        setattr(bare.config, token, getattr(processor.tokenizer, token))


def _prepare_text(spec: ModelSpec, processor: Any) -> None:
    """Padding, start and end of a conversation, the same in both stages and in evaluation."""
    tokenizer = processor.tokenizer
    # Batches are generated from, and GRPO's log-probabilities are only right, with padding on the left.
    tokenizer.padding_side = "left"
    known = tokenizer.get_vocab()
    for token, number in spec.eos_tokens.items():
        if known.get(token) != number:
            raise ValueError(f"eos_tokens says {token} is {number}, its tokenizer says {known.get(token)}")
    if tokenizer.pad_token_id is None or tokenizer.pad_token == next(iter(spec.eos_tokens)):
        raise ValueError(
            f"its padding token {tokenizer.pad_token} ends an answer too: the end is never learnt"
        )
    if tokenizer.bos_token is not None:
        # Written by the template, once. GRPO's trainer lets the tokenizer add one to what the template wrote,
        # SFT's does not: a second one shifts Gemma's token types, a missing one is another prompt to LLaVA.
        tokenizer.add_bos_token = False
        if "bos_token" not in processor.chat_template:
            processor.chat_template = "{{ bos_token }}" + processor.chat_template
    turns = [{"role": r, "content": [{"type": "text", "text": "?"}]} for r in ("user", "assistant")]
    closing = processor.apply_chat_template(turns, tokenize=False).rpartition("?")[2]
    if not any(token in closing for token in spec.eos_tokens):
        raise ValueError(f"its chat template ends an answer with {closing!r}: it would never learn to stop")


def _generation_config(spec: ModelSpec, tokenizer: Any) -> Any:
    """Nothing of what the checkpoint stores, as a penalty on repeating what a report has to repeat."""
    from transformers import GenerationConfig

    ends = list(spec.eos_tokens.values())
    start, padding = tokenizer.bos_token_id, tokenizer.pad_token_id
    return GenerationConfig(bos_token_id=start, eos_token_id=ends, pad_token_id=padding)


def _load_transformers(
    spec: ModelSpec,
    adapter: Path | None,
    new_adapter: LoraParams | None,
    trainable: bool,
    seed: int,
    dtype: Any = None,
) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor, BitsAndBytesConfig

    of_precision = torch.float32 if spec.precision == "32bit" else torch.bfloat16
    # A pickle in a folder of weights is not opened.
    options: dict[str, Any] = {"dtype": dtype or of_precision, "use_safetensors": True}
    if spec.precision == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
            llm_int8_skip_modules=KEPT_16BIT,
        )
    processor = AutoProcessor.from_pretrained(spec.checkpoint, revision=spec.revision)
    model = AutoModelForImageTextToText.from_pretrained(
        spec.checkpoint, revision=spec.revision, device_map={"": device_of(spec)}, **options
    )
    if adapter is not None:
        from peft import PeftModel

        check_fits(adapter, model)
        model = PeftModel.from_pretrained(model, adapter, is_trainable=trainable)
    elif new_adapter is not None:
        torch.manual_seed(seed)
        model = add_adapter(model, spec, new_adapter)
    return model, processor


def add_adapter(model: Any, spec: ModelSpec, lora: LoraParams) -> Any:
    """A `PeftModel` around the model, with a fresh adapter on the layers that its entry names."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=spec.adapted_layers,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)
