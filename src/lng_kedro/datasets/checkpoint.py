"""A whole checkpoint: model and processor."""

import tempfile
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset


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
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self._filepath.parent) as folder:
            for part in data:
                part.save_pretrained(f"{folder}/new")
            if self._filepath.exists():
                self._filepath.replace(f"{folder}/old")
            Path(folder, "new").replace(self._filepath)

    def load(self) -> Path:
        """Folder of the checkpoint."""
        return self._filepath

    def _exists(self) -> bool:
        return (self._filepath / "model.safetensors").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
