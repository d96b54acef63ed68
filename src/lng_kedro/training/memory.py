"""Peak GPU memory of a training stage, known before a model is loaded: arithmetic on a model's footprint."""

import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from math import ceil
from multiprocessing import get_context
from typing import Any

import pandas as pd
from tqdm import tqdm

from lng_kedro.geometry import PROCESSED
from lng_kedro.prompts import chat_completion, chat_prompt
from lng_kedro.report import to_json
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.training.footprint import Footprint, measure
from lng_kedro.training.params import GrpoParams, SftParams
from lng_kedro.training.run import TrainingStopped
from lng_kedro.vlm.backend import device_of
from lng_kedro.vlm.spec import ModelSpec, VlmParams

StageParams = SftParams | GrpoParams

GIB = 2**30

CHARACTERS_PER_TOKEN = 2.2
"""Of prompts and reports, where every digit and bracket may be a token: the least of a report of the demo's
data is 2.27, with Mistral's tokenizer and fractions; with Qwen's it is 2.66."""
TEMPLATE_TOKENS = 32
"""What a chat template adds: marks of turns, Qwen's own system prompt."""
CONTEXT = 0.75 * GIB
"""CUDA's context and the workspaces of its libraries."""
FRAGMENTATION = 0.1
"""Of what comes and goes: blocks that PyTorch's allocator holds and cannot use."""
CHUNK = 256
"""TRL's SFT loss: tokens whose logits exist at once; they are computed again for the backward pass."""


@dataclass(frozen=True)
class Lengths:
    """Most tokens of a sample.

    Attributes:
        prompt: its text, without the photo.
        completion: in SFT; GRPO's is max_completion_length.
    """

    prompt: int
    completion: int


@dataclass(frozen=True)
class Memory:
    """Bytes on the GPU at a moment of a stage.

    Attributes:
        moment: prompts (while they are read), answers (at their end), loss or backward.
        weights: of the frozen model.
        adapter: its weights, in GRPO those of the reference policy too.
        gradients: of the adapter.
        optimizer: moments of the adapter.
        activations: photos, and what passes through the model hold.
        logits: what the loss holds.
        cache: keys and values of the answers that are generated together.
        reserve: CUDA's own, and what the allocator cannot use.
    """

    moment: str
    weights: float
    adapter: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    cache: float
    reserve: float

    @property
    def parts(self) -> dict[str, float]:
        """Name -> bytes."""
        return {name: size for name, size in vars(self).items() if name != "moment"}

    @property
    def total(self) -> float:
        """All bytes."""
        return sum(self.parts.values())


class MemoryExceeded(ValueError):  # noqa: N818  it is none of the program's
    """A stage takes more memory than there is."""


def check_gpu(vlm_params: VlmParams, params: StageParams, samples: pd.DataFrame, taxonomy: Taxonomy) -> None:
    """Stops a stage that will not fit on the GPU of this process, before anything is loaded.

    Args:
        vlm_params: the model in use; one that runs on a CPU passes.
        params: of the stage.
        samples: of the stage, column ground_truth.
        taxonomy: the report schema.

    Raises:
        TrainingStopped: it does not fit; says what takes how much, and which changes make it fit.
    """
    if vlm_params.spec.device == "cpu":
        return
    # Unsloth has to be imported before transformers and before the GPU is opened: another process does both.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            pool.submit(_check_here, vlm_params, params, samples, taxonomy).result()
        except MemoryExceeded as error:
            raise TrainingStopped(str(error)) from error


def _check_here(
    vlm_params: VlmParams, params: StageParams, samples: pd.DataFrame, taxonomy: Taxonomy
) -> None:
    import torch

    free, total = torch.cuda.mem_get_info(device_of(vlm_params.spec))
    # This process has opened the GPU too, and will close it.
    check_memory(vlm_params, params, samples, taxonomy, min(free + CONTEXT, total))


def check_memory(
    vlm_params: VlmParams, params: StageParams, samples: pd.DataFrame, taxonomy: Taxonomy, gpu_bytes: float
) -> None:
    """Refuses a stage that will not fit in so much memory; as `check_gpu`, in this process.

    Raises:
        MemoryExceeded: it does not fit.
    """
    lengths = estimate_lengths(vlm_params, params, taxonomy, samples)
    memory = predict(vlm_params.spec, params, lengths)
    if memory.total > gpu_bytes:
        parts = ", ".join(f"{name} {size / GIB:.1f}" for name, size in memory.parts.items())
        raise MemoryExceeded(
            f"Model '{vlm_params.model}' in {_stage(params)} is predicted to take {memory.total / GIB:.1f} "
            f"GiB of {gpu_bytes / GIB:.1f} GiB GPU memory ({memory.moment}: {parts}). "
            + advise(vlm_params, params, lengths, gpu_bytes)
        )


def memory_table(
    vlm_params: VlmParams,
    stages: Sequence[StageParams],
    taxonomy: Taxonomy,
    gpu_bytes: float,
    completion: int,
) -> pd.DataFrame:
    """Predicted memory of each model whose architecture is known, in each stage.

    Args:
        vlm_params: the models.
        stages: parameters of each stage.
        taxonomy: the report schema.
        gpu_bytes: memory of one GPU.
        completion: tokens of the longest answer in SFT.

    Returns:
        model, stage, precision, batch, each part of the memory at its peak and their total in GiB, the moment
        of the peak, fits, and advice where it does not.
    """
    rows = []
    known = [name for name, spec in vlm_params.models.items() if spec.architecture]
    for name in tqdm(known, desc="Models", unit="model"):
        chosen = vlm_params.model_copy(update={"model": name})
        for params in stages:
            lengths = replace(estimate_lengths(chosen, params, taxonomy), completion=completion)
            memory = predict(chosen.spec, params, lengths)
            fits = memory.total <= gpu_bytes
            row: dict[str, Any] = {"model": name, "stage": _stage(params), "precision": chosen.spec.precision}
            row |= {"batch": params.micro_batches(chosen.spec)[0]}
            row |= {part: size / GIB for part, size in (memory.parts | {"total": memory.total}).items()}
            row |= {"moment": memory.moment, "fits": fits}
            rows.append(row | {"advice": "" if fits else advise(chosen, params, lengths, gpu_bytes)})
    return pd.DataFrame(rows)


def estimate_lengths(
    vlm_params: VlmParams, params: StageParams, taxonomy: Taxonomy, samples: pd.DataFrame | None = None
) -> Lengths:
    """Lengths without a tokenizer, rather too long than too short.

    Args:
        vlm_params: which model speaks in which frame.
        params: of the stage.
        taxonomy: the report schema.
        samples: column ground_truth; without them a completion has no tokens.
    """
    spec = vlm_params.spec
    # Pixels of the resized photo are written as those of the processed one are.
    written = vlm_params.frame == "processed" or spec.frame == "resized_pixels"
    frame = PROCESSED if written else spec.native_frame(None)
    reasoning = isinstance(params, GrpoParams) or params.reasoning_share > 0
    prompt = "".join(message["content"] for message in chat_prompt(taxonomy, frame, reasoning))
    longest = 0
    for truth in [] if samples is None else samples["ground_truth"]:
        objects = json.loads(truth)
        answer = chat_completion(to_json(objects, taxonomy, frame), objects, reasoning)
        longest = max(longest, len(answer[0]["content"]))
    return Lengths(
        prompt=ceil(len(prompt) / CHARACTERS_PER_TOKEN) + TEMPLATE_TOKENS,
        completion=ceil(longest / CHARACTERS_PER_TOKEN),
    )


def predict(spec: ModelSpec, params: StageParams, lengths: Lengths) -> Memory:
    """The moment of a stage that takes most memory.

    Raises:
        ValueError: the model cannot see a photo with so many pixels, or a step does not divide into batches.
    """
    return max(moments(spec, params, lengths), key=lambda memory: memory.total)


def moments(spec: ModelSpec, params: StageParams, lengths: Lengths) -> list[Memory]:
    """The moments of a stage at which memory may be at its peak; raises as `predict` does."""
    answer = params.max_completion_length if isinstance(params, GrpoParams) else lengths.completion
    model = measure(spec, params, lengths.prompt + answer)
    number = 4 if spec.precision == "32bit" else 2
    batch, accumulation = params.micro_batches(spec)
    prompt = lengths.prompt + model.photo_tokens
    tokens = batch * (prompt + answer)
    held = partial(_memory, spec, params, model)
    frozen = spec.lora_targets == "language_attention"
    # The text, the same with the photo in it, and the mask by which it is put there.
    merged = tokens * model.width * (2 * number + 1)
    if isinstance(params, SftParams):
        given = 4 * model.pixels * batch
        seen = 0 if frozen else batch * model.photo.kept
        tower = model.photo.inference if frozen else model.photo.training
        backward = max(tokens * model.token.training + seen, batch * tower)
        # A chunk's logits, log-probabilities, and two tensors for their entropy, in float32; hidden states in
        # the order of chunks, and their gradients.
        logits = 4 * 4 * min(CHUNK, tokens) * model.vocabulary + 2 * number * tokens * model.width
        return [
            held("loss", given + merged + tokens * model.token.kept + seen, logits=logits),
            held("backward", given + merged + backward),
        ]
    answers, photos = batch * accumulation, params.photos_per_step  # of a step, which TRL generates at once
    given = 4 * model.pixels * answers + number * photos * model.photo_tokens * model.width
    # A frozen tower sees each photo once, before the answers (lng_kedro.vlm.photos_once).
    learning = 0 if frozen else min(batch, photos)
    seen = learning * model.photo.kept
    backward = max(tokens * model.token.training + seen, learning * model.photo.training)
    # In float32, as mixed precision hands them out, and their gradients; of the answer's tokens alone.
    logits = 2 * 4 * batch * (answer + 1) * model.vocabulary
    reading = max(answers * prompt * model.token.inference, photos * model.photo.inference)
    cache = number * answers * model.cache
    # Scores of the reference policy take less than the loss: the same batch, and nothing is kept.
    return [
        held("prompts", given + reading, cache=prompt * cache),
        held("answers", given, cache=(prompt + answer) * cache),
        held("loss", given + merged + tokens * model.token.kept + seen, logits=logits),
        held("backward", given + merged + backward),
    ]


def _memory(
    spec: ModelSpec,
    params: StageParams,
    model: Footprint,
    moment: str,
    activations: float,
    logits: float = 0,
    cache: float = 0,
) -> Memory:
    weights: float = model.parameters * (4 if spec.precision == "32bit" else 2)
    trained = 4  # an adapter is float32
    if spec.precision == "4bit":
        # A scale of 8 bits for 64 numbers, one of 32 for 256 scales; a layer is unpacked while it is used.
        weights = 2 * (model.parameters - model.quantised) + model.quantised * (1 / 2 + 1 / 64 + 4 / 64 / 256)
        activations += 2 * model.largest
    adapter = sum(model.adapter)
    reference = trained * adapter if isinstance(params, GrpoParams) and params.beta else 0
    return Memory(
        moment=moment,
        weights=weights,
        adapter=trained * adapter + reference,
        gradients=trained * adapter if moment in ("loss", "backward") else 0,  # dropped after each update
        optimizer=sum(_adam(size, trained, params.optimizer) for size in model.adapter),
        activations=activations,
        logits=logits,
        cache=cache,
        reserve=CONTEXT + FRAGMENTATION * (activations + logits + cache),
    )


def _adam(size: int, trained: int, optimizer: str) -> int:
    """Bytes of the two moments of a tensor."""
    if "8bit" not in optimizer:
        return 2 * trained * size
    # bitsandbytes: in 8 bits with a scale of 32 for 256, small ones in 32 bits.
    return 8 * size if size < 4096 else 2 * size + 8 * ceil(size / 256)


def advise(vlm_params: VlmParams, params: StageParams, lengths: Lengths, gpu_bytes: float) -> str:
    """Changes that make a stage fit: all that do alone, or else all of the fewest that do together."""
    changes = _changes(vlm_params, params)
    for count in range(1, len(changes) + 1):
        fitting = []
        for chosen in combinations(changes, count):
            spec, changed = vlm_params.spec, params
            for _, of_spec, of_params in chosen:
                spec, changed = spec.model_copy(update=of_spec), changed.model_copy(update=of_params)
            total = predict(spec, changed, lengths).total
            if total <= gpu_bytes:
                fitting.append(
                    f"`--params {','.join(said for said, _, _ in chosen)}` ({total / GIB:.1f} GiB)"
                )
        if fitting:
            return "It fits with " + "; or ".join(fitting)
    return "Nothing that can be set makes it fit: take a smaller model or a larger GPU"


def _changes(vlm_params: VlmParams, params: StageParams) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """What can be set otherwise: how it is said, and the change of the model's entry and of the stage."""
    spec, stage, entry = vlm_params.spec, _stage(params), f"vlm.models.{vlm_params.model}"
    changes: list[tuple[str, dict[str, Any], dict[str, Any]]] = []
    if params.micro_batches(spec)[0] > 1:
        changes.append((f"{entry}.per_device_batch=1", {"per_device_batch": 1}, {}))
    if spec.precision != "4bit":
        changes.append((f"{entry}.precision=4bit", {"precision": "4bit"}, {}))
    if spec.lora_targets != "language_attention":
        less = {"lora_targets": "language_attention"}
        changes.append((f"{entry}.lora_targets=language_attention", less, {}))
    if not params.gradient_checkpointing:
        changes.append((f"{stage}.gradient_checkpointing=true", {}, {"gradient_checkpointing": True}))
    if isinstance(params, GrpoParams):
        half = params.max_completion_length // 2
        changes.append((f"{stage}.max_completion_length={half}", {}, {"max_completion_length": half}))
    return changes


def _stage(params: StageParams) -> str:
    return "grpo_training" if isinstance(params, GrpoParams) else "sft_training"
