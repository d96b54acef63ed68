"""What a model holds in memory, without its weights: counted and measured on its own classes.

Parameters are counted on transformers' and PEFT's own classes, built on the meta device. What a pass through
them holds is measured on torch's fake tensors, which have a shape and no memory: of one sample, through two
and three layers, since each further one takes the same.

Plain transformers is measured; Unsloth, which computes again and offloads more, should take less. Attention
is PyTorch's fused kernel for CPUs, which keeps what a GPU's keeps: queries, keys, values and the output.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, partial
from types import SimpleNamespace
from typing import Any, NamedTuple
from weakref import finalize

from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.training.params import TrainingParams
from lng_kedro.vlm.load import KEPT_16BIT, add_adapter
from lng_kedro.vlm.spec import LoraParams, ModelSpec


class Held(NamedTuple):
    """Bytes that a part of a model holds for a photo or a token, beside weights and their gradients.

    Attributes:
        kept: from the forward to the backward pass.
        training: most at once in both, `kept` included.
        inference: most at once in a forward pass without gradients.
    """

    kept: float
    training: float
    inference: float


@dataclass(frozen=True)
class Footprint:
    """What a model's memory depends on.

    Attributes:
        parameters: of the frozen model; tied ones count once.
        quantised: of these, in layers that 4bit makes small.
        largest: of these, in one layer.
        adapter: numbers in each tensor of the adapter.
        width: numbers in a hidden state of the language model.
        vocabulary: tokens that it knows.
        cache: numbers that it keeps of a token while it generates.
        pixels: numbers in which a photo is given to it.
        photo_tokens: tokens that a photo becomes.
        photo: what the vision tower holds for a photo.
        token: what the language model holds for a token.
    """

    parameters: int
    quantised: int
    largest: int
    adapter: tuple[int, ...]
    width: int
    vocabulary: int
    cache: int
    pixels: int
    photo_tokens: int
    photo: Held
    token: Held


def measure(spec: ModelSpec, params: TrainingParams, text: int) -> Footprint:
    """What a model holds that is trained with a new adapter.

    Args:
        spec: the model; its `architecture`, or else its checkpoint's configuration.
        params: the adapter, gradient checkpointing and mixed precision.
        text: tokens of a sample beside the photo's; masks grow by the square of the length.

    Raises:
        ValueError: the model cannot see a photo with so many pixels.
    """
    alike = spec.model_copy(update={"per_device_batch": None}).model_dump_json()
    adapter = params.lora.model_dump_json()
    return _footprint(alike, adapter, params.bf16, params.gradient_checkpointing, text)


@cache
def _footprint(spec_json: str, lora_json: str, bf16: bool, checkpointing: bool, text: int) -> Footprint:
    import torch

    spec = ModelSpec.model_validate_json(spec_json)
    lora = LoraParams.model_validate_json(lora_json)
    base = _empty_model(spec)
    parameters, linear = sum(p.numel() for p in base.parameters()), _quantised_layers(base)
    language = base.model.language_model
    keys_and_values = [m for name, m in language.named_modules() if name.endswith(("k_proj", "v_proj"))]
    cached = sum(m.out_features for m in keys_and_values)
    model = add_adapter(base, spec, lora)
    adapter = [p for p in model.parameters() if p.requires_grad]
    if checkpointing:
        model.gradient_checkpointing_enable()
    pixels, sizes = _photo(spec, base)
    photo_tokens, photo, token = _passes(model, pixels, sizes, text, bf16)
    return Footprint(
        parameters=parameters,
        quantised=sum(linear),
        largest=max(linear),
        adapter=tuple(p.numel() for p in adapter),
        width=language.config.hidden_size,
        vocabulary=language.config.vocab_size,
        cache=cached,
        pixels=torch.Size(pixels).numel(),
        photo_tokens=photo_tokens,
        photo=photo,
        token=token,
    )


def _empty_model(spec: ModelSpec) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    if spec.architecture is None:
        config = AutoConfig.from_pretrained(spec.checkpoint, revision=spec.revision)
    else:
        config = AutoConfig.for_model(spec.family, **spec.architecture)
        if wrong := list(_mistyped(spec.architecture, config)):
            raise ValueError(f"architecture of {spec.checkpoint}: {', '.join(wrong)}")
    dtype = torch.float32 if spec.precision == "32bit" else torch.bfloat16
    with torch.device("meta"):
        model = AutoModelForImageTextToText.from_config(config, dtype=dtype)
    model.tie_weights()
    return model


def _mistyped(given: Mapping[str, Any], config: Any) -> Iterator[str]:
    """Keys that a configuration's class does not know, and nearly does; transformers takes no notice of them.

    Some of its models read keys that no class declares: what is near to none may be one of these.
    """
    known = type(config)().to_dict()
    for name, value in given.items():
        near = get_close_matches(name, known, n=1)
        if name in known and isinstance(value, Mapping):
            yield from _mistyped(value, getattr(config, name))
        elif name not in known and near:
            yield f"there is no '{name}': did you mean '{near[0]}'?"


def _quantised_layers(model: Any) -> list[int]:
    """Sizes of the layers that transformers hands to bitsandbytes."""
    from torch.nn import Linear
    from transformers.quantizers.base import HfQuantizer
    from transformers.quantizers.quantizers_utils import should_convert_module

    kept = HfQuantizer.get_modules_to_not_convert(model, KEPT_16BIT)
    linear = [(name, m) for name, m in model.named_modules() if type(m) is Linear]
    return [m.weight.numel() for name, m in linear if should_convert_module(name, kept)]


def _photo(spec: ModelSpec, model: Any) -> tuple[tuple[int, ...], dict[str, Any]]:
    """Shape of a processed photo as the model is given it, and the sizes that are given with it."""
    import torch
    from transformers.models.llava_next.modeling_llava_next import image_size_to_num_patches

    vision = model.config.vision_config
    least, most = spec.pixels
    if spec.traits.resized:  # patches of the photo in its own shape
        images = SimpleNamespace(
            size={"shortest_edge": least, "longest_edge": most},
            patch_size=vision.patch_size,
            merge_size=vision.spatial_merge_size,
        )
        seen = spec.traits.resized(SimpleNamespace(image_processor=images), PROCESSED_SIZE)
        width, height = (side // vision.patch_size for side in seen)
        patch = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
        return (height * width, patch), {"image_grid_thw": torch.tensor([[1, height, width]])}
    side = vision.image_size
    if not hasattr(model.config, "image_grid_pinpoints"):
        return (1, 3, side, side), {}
    # The whole photo, and tiles of the shape that fits it best.
    shapes = [shape for shape in model.config.image_grid_pinpoints if least <= shape[0] * shape[1] <= most]
    if not shapes:
        raise ValueError(f"{spec.checkpoint} has no tile shape of {least} to {most} pixels")
    model.config.image_grid_pinpoints = shapes
    size = [PROCESSED_SIZE, PROCESSED_SIZE]
    tiles = image_size_to_num_patches(size, shapes, side)
    return (1, tiles, 3, side, side), {"image_sizes": torch.tensor([size])}


def _passes(
    model: Any, pixels: tuple[int, ...], sizes: dict[str, Any], text: int, bf16: bool
) -> tuple[int, Held, Held]:
    """Tokens of a photo, what the vision tower holds for it, and the language model for a token."""
    import torch
    from torch._subclasses.fake_tensor import FakeTensorMode
    from transformers.modeling_layers import GradientCheckpointingLayer

    backbone = model.get_base_model().model
    stacks = {
        name: layers
        for name, layers in backbone.named_modules()
        if isinstance(layers, torch.nn.ModuleList) and isinstance(layers[0], GradientCheckpointingLayer)
    }
    depth = {name.startswith("language_model"): len(layers) for name, layers in stacks.items()}

    def cut(count: int) -> None:
        for name, layers in stacks.items():
            backbone.set_submodule(name, layers[:count])

    def see() -> Any:
        features = backbone.get_image_features(given, **sizes).pooler_output
        return torch.cat([photo.flatten(end_dim=-2) for photo in features])

    def read(hidden: Any, mask: Any) -> Any:
        inputs = {"inputs_embeds": hidden, "attention_mask": mask, "use_cache": False}
        return backbone.language_model(**inputs).last_hidden_state

    cut(3)
    # Weights and inputs are fake, and so is what comes of them; sizes and masks, which steer, are real.
    with FakeTensorMode(allow_non_fake_inputs=True):
        model.to_empty(device="cpu").train()
        given = torch.empty(pixels)
        for parameter in model.parameters():  # else gradients were part of the passes
            parameter.grad = torch.empty_like(parameter) if parameter.requires_grad else None
    gradients = [p.grad for p in model.parameters() if p.requires_grad]
    weights = [*model.parameters(), *model.buffers(), *gradients]
    passes = []
    for count in (3, 2):  # more first: transformers hooks the layers that it meets at the first pass
        cut(count)
        features = see()
        length = text + len(features)
        mask = torch.ones(1, 1, length, length, dtype=torch.bool)  # a batch is padded
        # Where the features have gradients, the text that they are put into has; with checkpointing they do,
        # frozen as the tower may be: transformers lets gradients into it.
        hidden = features.new_empty(1, length, features.shape[-1]).requires_grad_(features.requires_grad)
        reading = _held(partial(read, hidden, mask), [*weights, hidden], bf16)
        passes.append((_held(see, [*weights, given], bf16), reading))
    (photo_3, token_3), (photo_2, token_2) = passes
    photo, token = _deeper(photo_3, photo_2, depth[False]), _deeper(token_3, token_2, depth[True])
    return length - text, photo, Held(*(size / length for size in token))


def _deeper(three: Held, two: Held, depth: int) -> Held:
    return Held(*(b + (depth - 2) * (a - b) for a, b in zip(three, two, strict=True)))


def _held(run: Callable[[], Any], known: Sequence[Any], bf16: bool) -> Held:
    """What a pass holds beside the tensors that are known before."""
    import torch

    with torch.no_grad(), _live_bytes(known) as inference:
        run()
    with _live_bytes(known) as training:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = run()
        kept = training.now
        if output.requires_grad:
            output.backward(torch.empty_like(output))
    return Held(kept, training.most, inference.most)


def _live_bytes(known: Sequence[Any]) -> Any:
    """A context whose `now` and `most` are the bytes of tensors, fake or real, that are made in it."""
    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class LiveBytes(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.now = self.most = 0
            self.storages = {tensor.untyped_storage()._cdata for tensor in known}

        def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = function(*args, **(kwargs or {}))
            tensors = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
            for storage in [tensor.untyped_storage() for tensor in tensors]:
                if storage._cdata not in self.storages:
                    self.storages.add(storage._cdata)
                    self.now += storage.nbytes()
                    self.most = max(self.most, self.now)
                    finalize(storage, self.free, storage._cdata, storage.nbytes())
            return result

        def free(self, address: int, size: int) -> None:
            self.storages.discard(address)
            self.now -= size

    return LiveBytes()
