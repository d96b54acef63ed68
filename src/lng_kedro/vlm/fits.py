"""Whether a stored adapter belongs to a model."""

import json
from pathlib import Path
from typing import Any


def check_fits(folder: Path, model: Any) -> None:
    """Refuses an adapter of another model, which PEFT would take in part or refuse layer by layer.

    Args:
        folder: of the adapter.
        model: the bare model that it is to be put on.

    Raises:
        ValueError: the model has not every layer that is adapted, or of another size; or a file is broken.
    """
    from safetensors import SafetensorError, safe_open

    try:
        trained_on = json.loads((folder / "adapter_config.json").read_bytes())["base_model_name_or_path"]
        with safe_open(folder / "adapter_model.safetensors", "pt") as weights:
            shapes = {name: weights.get_slice(name).get_shape() for name in weights.keys()}  # noqa: SIM118
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise ValueError(f"the adapter in {folder} cannot be read: {error}") from error
    layers = dict(model.named_modules())
    for name, shape in shapes.items():
        place, _, part = name.removeprefix("base_model.model.").partition(".lora_")
        layer = layers.get(place)
        if layer is None or not _is_of(layer, part, shape):
            found = f"is {layer.in_features} to {layer.out_features} wide" if layer else "is not"
            raise ValueError(
                f"the adapter in {folder} belongs to another model: it was trained on {trained_on}, and "
                f"adapts {place} by {' x '.join(map(str, shape))}, which here {found}"
            )


def _is_of(layer: Any, part: str, shape: list[int]) -> bool:
    return bool(shape[1] == layer.in_features if part.startswith("A.") else shape[0] == layer.out_features)
