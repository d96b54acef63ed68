"""The raw AI-Hub dataset, downloaded or rendered."""

import math
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.datasets.folders import rendered_folder


class AIHubDataset(AbstractDataset[NoReturn, AIHubFolder]):
    """The folder of a downloaded raw dataset; read only.

    Example:
        >>> AIHubDataset(filepath="data/01_raw/aihub").load().listing()
    """

    def __init__(self, *, filepath: str, metadata: dict[str, Any] | None = None) -> None:
        self._filepath = Path(filepath)
        self.metadata = metadata

    def load(self) -> AIHubFolder:
        """The folder, whose files are read when they are asked for."""
        if not self._exists():
            raise DatasetError(self.missing)
        return AIHubFolder(self._filepath)

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        """Refused: raw data are never written."""
        raise DatasetError("The raw dataset is read only.")

    @property
    def missing(self) -> str:
        """What to do if there is no such folder."""
        return (
            f"There is no raw dataset at {self._filepath}: unpack or link the AI-Hub download there, "
            "or name its folder with --params raw_dir=PATH."
        )

    def _exists(self) -> bool:
        return self._filepath.is_dir() and any(self._filepath.iterdir())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self._filepath)}


class ReviewedDataset(AIHubDataset):
    """The folder of corrected photos, a raw dataset that need not be there; read only.

    Example:
        >>> ReviewedDataset(filepath="data/01_raw/reviewed").load().listing()
    """

    def load(self) -> AIHubFolder:
        """The folder, which may hold nothing."""
        return AIHubFolder(self._filepath)

    def _exists(self) -> bool:
        return True  # at first there are none


class RenderedAIHubDataset(AIHubDataset):
    """A raw dataset of the same shape, rendered where it is not there yet.

    Example:
        >>> RenderedAIHubDataset(
        ...     filepath="data/01_raw/rendered", taxonomy="conf/base/parameters/taxonomy.yml",
        ...     photos_per_label=10, good_share=0.3, negatives=2, seed=0, difficulty=0.3, n_jobs=2,
        ... ).load()

    Args:
        filepath: where the photos are rendered to.
        raw_dir: a folder to read instead; nothing is rendered then.
        taxonomy: file of the taxonomy.
        photos_per_label: photos of each label.
        good_share: share of them in good order, where the label has a good id.
        negatives: photos of each negative id.
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
        photos_per_label: int,
        good_share: float,
        negatives: int,
        seed: int,
        difficulty: float,
        n_jobs: int,
        raw_dir: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(filepath=raw_dir or filepath, metadata=metadata)
        self._render = raw_dir is None
        self._n_jobs = n_jobs
        self._recipe = {
            "taxonomy": taxonomy,
            "photos_per_label": photos_per_label,
            "good_share": good_share,
            "negatives": negatives,
            "seed": seed,
            "difficulty": difficulty,
        }

    def load(self) -> AIHubFolder:
        """The folder; rendered first if it is missing or was made by another recipe."""
        if self._render:
            rendered_folder(self._filepath, self._recipe, self._write, "raw_dir")
        return super().load()

    def _write(self, folder: Path) -> None:
        from lng_kedro.aihub.render import write_dataset
        from lng_kedro.taxonomy import load_taxonomy

        recipe: dict[str, Any] = self._recipe
        taxonomy = load_taxonomy(recipe["taxonomy"])
        counts = dict.fromkeys(taxonomy.negative_ids, recipe["negatives"])
        for label in taxonomy.labels:
            good = math.ceil(recipe["photos_per_label"] * recipe["good_share"]) if label.good_id else 0
            counts[label.defective_id] = recipe["photos_per_label"] - good
            if label.good_id:
                counts[label.good_id] = good
        write_dataset(folder, counts, taxonomy, recipe["seed"], recipe["difficulty"], n_jobs=self._n_jobs)

    def _exists(self) -> bool:
        return self._render or super()._exists()
