"""A folder of processed photos, and its journal."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from lng_kedro.imaging import PhotoFolder
from lng_kedro.photo_journal import PhotoJournal


class PhotoFolderDataset(AbstractDataset[PhotoFolder, PhotoFolder]):
    """A folder of processed photos, which its node has filled through the folder's journal.

    Example:
        >>> photos = PhotoFolderDataset(filepath="data/04_feature/photos")
        >>> photos.load().path("1102_11_a")
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: PhotoFolder) -> None:
        """Takes note of the folder, whose photos are there already; a folder elsewhere is refused."""
        if data.root != self._filepath:
            raise DatasetError(
                f"Photos were written to {data.root}, not to {self._filepath}: "
                "photo_journal must lie in the folder of photos."
            )
        self._filepath.mkdir(parents=True, exist_ok=True)

    def load(self) -> PhotoFolder:
        """The folder."""
        return PhotoFolder(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_dir()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class PhotoJournalDataset(AbstractDataset[NoReturn, PhotoJournal]):
    """The journal of a folder of processed photos: what need not be done again, and where to add more.

    Example:
        >>> PhotoJournalDataset(filepath="data/04_feature/photos/journal.jsonl").load()
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> PhotoJournal:
        """The journal; one that is not begun is empty."""
        return PhotoJournal(self._filepath)

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        """Refused: the journal writes itself, line by line."""
        raise DatasetError("A journal writes itself.")

    def _exists(self) -> bool:
        return True  # at first it is empty

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
