"""A model with its adapter merged in."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from lng_kedro.datasets.folders import new_folder


class MergedModelDataset(AbstractDataset[Any, Path]):
    """Saves a `Merged` model (safetensors, processor, card) atomically; loads the path of its folder.

    Files of the folder are never written to again: another export makes a new folder of new files.

    Example:
        >>> merged = MergedModelDataset(filepath="data/06_models/gemma_3_4b/merged")
        >>> merged.save(merge_adapter(vlm_params, adapter, card))
        >>> AutoModelForImageTextToText.from_pretrained(merged.load())
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Any) -> None:
        """Writes the model beside its place and moves it there when it is whole."""
        with new_folder(self._filepath) as folder:
            data.save_pretrained(folder)

    def load(self) -> Path:
        """Folder of the model."""
        if not self._exists():
            raise DatasetError(f"There is no merged model at {self._filepath}.")
        return self._filepath

    def _exists(self) -> bool:
        return (self._filepath / "config.json").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
