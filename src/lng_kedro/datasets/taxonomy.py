"""The taxonomy of a run."""

from pathlib import Path
from typing import Any

from kedro.io import AbstractDataset

from lng_kedro.taxonomy import Taxonomy, load_taxonomy


class TaxonomyDataset(AbstractDataset[Taxonomy, Taxonomy]):
    """A `Taxonomy` as JSON.

    Example:
        >>> TaxonomyDataset(filepath="data/03_primary/taxonomy.json").load().label_names
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Taxonomy) -> None:
        """Writes the taxonomy."""
        self._filepath.parent.mkdir(parents=True, exist_ok=True)
        self._filepath.write_text(data.model_dump_json(indent=1), encoding="utf-8")

    def load(self) -> Taxonomy:
        """Reads and validates the taxonomy."""
        return load_taxonomy(self._filepath)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
