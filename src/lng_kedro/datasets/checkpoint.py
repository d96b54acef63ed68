"""A whole checkpoint: model and processor."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from lng_kedro.datasets.folders import new_folder


class CheckpointDataset(AbstractDataset[tuple[Any, Any], Path]):
    """Saves (model, processor) as `from_pretrained` reads them, atomically; loads the folder's path.

    Example:
        >>> checkpoint = CheckpointDataset(filepath="models/tiny_qwen2_5_vl")
        >>> checkpoint.save((model, processor))
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: tuple[Any, Any]) -> None:
        """Writes both beside their place and moves them there when they are whole."""
        with new_folder(self._filepath) as folder:
            for part in data:
                part.save_pretrained(folder)

    def load(self) -> Path:
        """Folder of the checkpoint."""
        return self._filepath

    def _exists(self) -> bool:
        return (self._filepath / "model.safetensors").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
