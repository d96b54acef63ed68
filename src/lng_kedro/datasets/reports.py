"""New photos, the reports about them, and text files."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from lng_kedro.datasets.folders import rendered_folder
from lng_kedro.files import write_whole
from lng_kedro.inspection.journal import Reports
from lng_kedro.inspection.photos import NewPhotos


class NewPhotosDataset(AbstractDataset[NoReturn, NewPhotos]):
    """Photos to inspect: a folder, a pattern or one photo; read only.

    Example:
        >>> NewPhotosDataset(filepath="/mnt/camera/2026-*/*.jpg").load().listing()
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = str(filepath)  # --params takes a folder named 20261126 for a number
        self.metadata = metadata

    def load(self) -> NewPhotos:
        """The photos, which are read when they are asked for."""
        if problem := self._problem():
            raise DatasetError(problem)
        return NewPhotos.at(self._filepath)

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        """Refused: photos are never written."""
        raise DatasetError("New photos are read only.")

    @property
    def missing(self) -> str:
        """What to do if there are no photos."""
        return f"{self._problem()}. Name a folder of photos, or a pattern, with --params photos=PATH."

    def _problem(self) -> str | None:
        try:
            photos = NewPhotos.at(self._filepath)
        except ValueError as error:
            return f"No photos to inspect: {error}"
        return None if photos.are_any() else f"No photos to inspect: there are none at {self._filepath}"

    def _exists(self) -> bool:
        return self._problem() is None

    def _describe(self) -> dict[str, Any]:
        return {"filepath": self._filepath}


class RenderedPhotosDataset(NewPhotosDataset):
    """Photos to inspect, rendered where they are not there yet.

    Example:
        >>> RenderedPhotosDataset(
        ...     filepath="data/01_raw/new_photos", taxonomy="conf/base/parameters/taxonomy.yml",
        ...     count=40, seed=1, difficulty=0.2, n_jobs=2,
        ... ).load()

    Args:
        filepath: where the photos are rendered to.
        photos: a folder or pattern to take instead; nothing is rendered then.
        taxonomy: file of the taxonomy.
        count: photos, of each id of the taxonomy in turn.
        seed: of the renderer; the same seed gives the same bytes.
        difficulty: 0 (clean) to 1 (small, low contrast, noisy).
        n_jobs: processes; -1 means all cores.
        metadata: for kedro-viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        taxonomy: str,
        count: int,
        seed: int,
        difficulty: float,
        n_jobs: int,
        photos: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=filepath if photos is None else photos, metadata=metadata)
        self._render = photos is None
        self._n_jobs = n_jobs
        self._recipe = {"taxonomy": taxonomy, "count": count, "seed": seed, "difficulty": difficulty}

    def load(self) -> NewPhotos:
        """The photos; rendered first if they are missing or were made by another recipe."""
        if self._render:
            rendered_folder(Path(self._filepath), self._recipe, self._write, "photos")
        return super().load()

    def _write(self, folder: Path) -> None:
        from lng_kedro.aihub.render import write_photos
        from lng_kedro.taxonomy import load_taxonomy

        recipe: dict[str, Any] = self._recipe
        taxonomy = load_taxonomy(recipe["taxonomy"])
        write_photos(folder, recipe["count"], taxonomy, recipe["seed"], recipe["difficulty"], self._n_jobs)

    def _exists(self) -> bool:
        return self._render or super()._exists()


class ReportsDataset(AbstractDataset[Reports, Reports]):
    """Reports about photos, a line each, which their node has written.

    Example:
        >>> for report in ReportsDataset(filepath="data/08_reporting/inspection/reports.jsonl").load():
        ...     print(report.photo, report.findings)
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def save(self, data: Reports) -> None:
        """Takes note of the reports, which are there already; those of another place are refused."""
        if data.path != self._filepath:
            raise DatasetError(f"Reports were written to {data.path}, not to {self._filepath}.")

    def load(self) -> Reports:
        """The reports, which are read when they are asked for; none at first."""
        return Reports(self._filepath)

    def _exists(self) -> bool:
        return True  # at first there are none

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class WholeTextDataset(AbstractDataset[str | Iterable[str], str]):
    """A text file (UTF-8) that is there whole or, until then, as it was before.

    Example:
        >>> WholeTextDataset(filepath="data/08_reporting/inspection/findings.csv").save("photo,label")

    Args:
        filepath: of the file.
        encoding: ``utf-8``, or ``utf-8-sig`` with a mark by which spreadsheets know it.
        metadata: for kedro-viz.
    """

    def __init__(
        self, *, filepath: str, encoding: str = "utf-8", metadata: dict[str, Any] | None = None
    ) -> None:
        self._filepath = Path(filepath)
        self._encoding = encoding
        self.metadata = metadata

    def save(self, data: str | Iterable[str]) -> None:
        """Writes the text, or its pieces one after the other."""
        write_whole(self._filepath, [data] if isinstance(data, str) else data, self._encoding)

    def load(self) -> str:
        """Reads the text."""
        return self._filepath.read_text(encoding=self._encoding)

    def _exists(self) -> bool:
        return self._filepath.is_file()

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}
