"""A trained detector without pickles."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset, DatasetError

from lng_kedro.datasets.folders import new_folder


class DetectorDataset(AbstractDataset[Any, Path]):
    """Saves a `Detector` (``weights.safetensors``, ``detector.json``) atomically; loads its folder's path.

    Example:
        >>> dataset = DetectorDataset(filepath="data/06_models/detectors/yolo11m_label")
        >>> dataset.save(detector)
        >>> load_detector(dataset.load(), work_dir)
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Any) -> None:
        """Writes the detector beside its place and moves it there when it is whole."""
        with new_folder(self._filepath) as folder:
            data.save_pretrained(folder)

    def load(self) -> Path:
        """Folder of the detector."""
        if not self._exists():
            raise DatasetError(f"There is no detector at {self._filepath}.")
        return self._filepath

    def _exists(self) -> bool:
        return (self._filepath / "weights.safetensors").is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
