"""A folder of processed photos."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from lng_kedro.imaging import PhotoFolder


class PhotoFolderDataset(AbstractDataset[Mapping[str, bytes], PhotoFolder]):
    """Saves encoded photos into one folder, each atomically, and loads the folder.

    Saving adds to what is there, so that a node may yield photos in parts.

    Example:
        >>> photos = PhotoFolderDataset(filepath="data/04_feature/photos")
        >>> photos.save({"1102_11_a": jpeg_bytes})
        >>> photos.load().path("1102_11_a")
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Mapping[str, bytes]) -> None:
        """Writes ``<id>.jpg`` for each id -> JPEG bytes."""
        self._filepath.mkdir(parents=True, exist_ok=True)
        for photo_id, jpeg in data.items():
            unfinished = self._filepath / f".{photo_id}.part"
            unfinished.write_bytes(jpeg)
            unfinished.replace(self._filepath / f"{photo_id}.jpg")

    def load(self) -> PhotoFolder:
        """The folder."""
        return PhotoFolder(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
