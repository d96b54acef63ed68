"""Whether a stored adapter belongs to a model."""

import json
from pathlib import Path
from typing import Any

from lng_kedro.geometry import Frame
from lng_kedro.vlm.adapter import DIALOGUE, stored_dialogue, trained_stages
from lng_kedro.vlm.spec import VlmParams


class WrongAdapter(ValueError):  # noqa: N818  it is no error of the program
    """An adapter that is not for the model in use; the message says why, and what to do."""


def check_base(params: VlmParams, adapter: Path) -> None:
    """Refuses an adapter of another checkpoint: it fits any of its size, and means nothing there.

    Args:
        params: which model.
        adapter: its folder. Where it does not say what it was trained on, as earlier ones, it is taken.

    Raises:
        WrongAdapter: it was trained on another.
    """
    spec = params.spec
    for stage in trained_stages(adapter):
        trained_on, found = (stage.checkpoint, stage.revision), (spec.checkpoint, spec.revision)
        # A folder may have been moved.
        if trained_on != found and not Path(spec.checkpoint).is_dir():
            raise WrongAdapter(
                f"The adapter {adapter} was trained on {' '.join(trained_on)}, and '{params.model}' is "
                f"{' '.join(found)} (conf/base/parameters/models.yml): choose its own by --params model=NAME"
            )


def check_frame(params: VlmParams, folder: Path, frame: Frame) -> None:
    """Refuses what was trained to speak of boxes in other numbers than those it would be read by.

    Args:
        params: which model.
        folder: of an adapter or a checkpoint. Where it says nothing, as a foreign one, it is taken.
        frame: the model's, by its entry.

    Raises:
        WrongAdapter: the numbers are others.
    """
    if (folder / DIALOGUE).is_file() and (trained := stored_dialogue(folder).frame) != frame:
        raise WrongAdapter(
            f"{folder} was trained to speak of boxes {trained.unit}; the entry of '{params.model}' "
            f"(conf/base/parameters/models.yml) makes them {frame.unit}. Set frame and pixels as they were, "
            "or train again."
        )


def check_fits(folder: Path, model: Any) -> None:
    """Refuses an adapter of another model, which PEFT would take in part or refuse layer by layer.

    Args:
        folder: of the adapter.
        model: the bare model that it is to be put on.

    Raises:
        WrongAdapter: the model has not every layer that is adapted, or of another size; or a file is broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        trained_on = json.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"]
        with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise WrongAdapter(f"the adapter in {folder} cannot be read: {error}") from error
    layers = dict(model.named_modules())
    for name, shape in shapes.items():
        place, _, part = name.removeprefix("base_model.model.").partition(".lora_")
        layer = layers.get(place)
        if layer is None or not _is_of(layer, part, shape):
            found = f"is {layer.in_features} to {layer.out_features} wide" if layer else "is not"
            raise WrongAdapter(
                f"the adapter in {folder} belongs to another model: it was trained on {trained_on}, and "
                f"adapts {place} by {' x '.join(map(str, shape))}, which here {found}"
            )


def _is_of(layer: Any, part: str, shape: list[int]) -> bool:
    return bool(shape[1] == layer.in_features if part.startswith("A.") else shape[0] == layer.out_features)
