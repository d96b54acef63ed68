"""A model with its adapter merged in: what its folder says of itself."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lng_kedro.vlm.adapter import WEIGHTS, adapter_hash
from lng_kedro.vlm.spec import VlmParams

ORIGIN = "made_from.json"


class Origin(BaseModel):
    """What a merged folder was made from; stored in it.

    Attributes:
        adapter_sha256: of the adapter's weights and configuration.
        vlm: the entry of the model alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    adapter_sha256: str
    vlm: VlmParams


def is_merged(folder: Path) -> bool:
    """Whether a checkpoint is a merged model's folder."""
    return (folder / ORIGIN).is_file()


def stored_origin(folder: Path) -> Origin:
    """What a merged folder was made from.

    Raises:
        ValueError: the folder does not say it.
    """
    try:
        return Origin.model_validate_json((folder / ORIGIN).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder / ORIGIN} does not say what the merged model is: {error}") from error


def known_adapter_hash(folder: Path) -> str | None:
    """`adapter_hash` of an adapter, or of that in a merged model; None where there is a dialogue alone."""
    if is_merged(folder):
        return stored_origin(folder).adapter_sha256
    return adapter_hash(folder) if (folder / WEIGHTS).is_file() else None


def merged_params(folder: Path, device: str) -> VlmParams:
    """Parameters with which `load_vlm` loads a merged folder.

    Args:
        folder: of a merged model.
        device: ``cuda``, or ``cpu``, which computes in 32 bits.

    Raises:
        ValueError: the folder does not say what it is.
    """
    vlm = stored_origin(folder).vlm
    how = {
        "checkpoint": str(folder),
        "revision": "main",
        "backend": "transformers",
        "device": device,
        "precision": "16bit" if device == "cuda" else "32bit",
    }
    return vlm.model_copy(update={"models": {vlm.model: vlm.spec.model_copy(update=how)}})
