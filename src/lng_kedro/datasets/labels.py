"""What labels said when they were read."""

from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from lng_kedro.aihub.label_journal import LabelJournal


class LabelJournalDataset(AbstractDataset[NoReturn, LabelJournal]):
    """What labels said when they were last read: why they need not be read again.

    Example:
        >>> LabelJournalDataset(filepath="data/02_intermediate/label_journal").load()
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> LabelJournal:
        """The journal; one that is not begun knows nothing."""
        return LabelJournal(self._filepath)

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        """Refused: the journal writes itself."""
        raise DatasetError("A journal writes itself.")

    def _exists(self) -> bool:
        return True  # at first it is empty

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
