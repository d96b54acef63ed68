"""The datasets of raw photos, downloaded and rendered."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from kedro.io import DatasetError

from lng_kedro.aihub.folder import Listing
from lng_kedro.datasets import AIHubDataset, RenderedAIHubDataset, ReviewedDataset
from lng_kedro.taxonomy import Taxonomy
from tests.raw import annotation, encoded, label, photo, write


class TestAIHubDataset:
    def test_reads_a_folder_in_place(self, tmp_path: Path) -> None:
        write(tmp_path / "raw/TL_a.zip", {"2102_12_a.json": encoded(label(annotation()))})
        write(tmp_path / "raw/photos", {"2102_12_a.JPG": photo()})
        dataset = AIHubDataset(filepath=str(tmp_path / "raw"))
        assert dataset.exists()
        raw = dataset.load()
        assert raw.listing().photos == ["photos/2102_12_a.JPG"]
        assert json.loads(raw.read(raw.listing().labels[0])) == label(annotation())
        assert sorted(p.name for p in (tmp_path / "raw").iterdir()) == ["TL_a.zip", "photos"]

    @pytest.mark.parametrize("create", [False, True])
    def test_a_missing_or_empty_folder_says_what_to_do(self, tmp_path: Path, create: bool) -> None:
        folder = tmp_path / "raw"
        if create:
            folder.mkdir()
        dataset = AIHubDataset(filepath=str(folder))
        assert not dataset.exists()
        with pytest.raises(DatasetError, match=f"no raw dataset at {folder}.*--params raw_dir=PATH"):
            dataset.load()

    def test_is_never_written(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="read only"):
            AIHubDataset(filepath=str(tmp_path)).save({})  # type: ignore[arg-type]


class TestReviewedDataset:
    def test_reads_a_folder_that_need_not_be_there(self, tmp_path: Path) -> None:
        dataset = ReviewedDataset(filepath=str(tmp_path / "reviewed"))
        assert dataset.load().listing() == Listing()
        write(tmp_path / "reviewed", {"2102_12_a.jpg": photo()})
        assert dataset.load().listing().photos == ["2102_12_a.jpg"]


@pytest.fixture
def arguments(taxonomy: Taxonomy, tmp_path: Path) -> dict[str, Any]:
    """Of a rendered dataset with one label, so that it takes little time."""
    content = taxonomy.model_dump(mode="json")
    content |= {"labels": [o for o in content["labels"] if o["name"] == "cutting"]}
    (tmp_path / "taxonomy.yml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return {
        "filepath": str(tmp_path / "data/rendered"),
        "taxonomy": str(tmp_path / "taxonomy.yml"),
        "photos_per_label": 3,
        "good_share": 0.3,
        "negatives": 1,
        "seed": 1,
        "difficulty": 0.0,
        "n_jobs": 1,
    }


class TestRenderedAIHubDataset:
    def test_renders_once_what_was_asked_for(self, arguments: dict[str, Any], tmp_path: Path) -> None:
        dataset = RenderedAIHubDataset(**arguments)
        assert dataset.exists()  # it can always be loaded
        assert not (tmp_path / "data").exists()
        raw = dataset.load()
        ids = sorted(
            int(Path(p).name[:4]) if "!" not in p else int(p.split("!/")[1][:4]) for p in raw.listing().photos
        )
        assert ids == [2101, 5101, 5102, 5102]
        assert len(raw.listing().labels) == 4
        times = {p: p.stat().st_mtime_ns for p in raw.root.rglob("*")}
        assert RenderedAIHubDataset(**arguments).load() == raw
        assert {p: p.stat().st_mtime_ns for p in raw.root.rglob("*")} == times

    def test_another_recipe_is_rendered_anew(self, arguments: dict[str, Any]) -> None:
        first = RenderedAIHubDataset(**arguments).load().listing().photos
        second = RenderedAIHubDataset(**arguments | {"seed": 2}).load().listing().photos
        assert len(first) == len(second) == 4
        assert not set(first) & set(second)

    def test_raw_dir_is_read_instead(self, arguments: dict[str, Any], tmp_path: Path) -> None:
        write(tmp_path / "mine", {"a.jpg": b"1"})
        dataset = RenderedAIHubDataset(**arguments, raw_dir=str(tmp_path / "mine"))
        assert dataset.exists()
        assert dataset.load().listing().photos == ["a.jpg"]
        assert not (tmp_path / "data").exists()

    def test_a_missing_raw_dir_is_not_rendered_over(self, arguments: dict[str, Any], tmp_path: Path) -> None:
        dataset = RenderedAIHubDataset(**arguments, raw_dir=str(tmp_path / "nowhere"))
        assert not dataset.exists()
        with pytest.raises(DatasetError, match=r"no raw dataset at .*nowhere"):
            dataset.load()
        assert not (tmp_path / "nowhere").exists()

    def test_files_that_were_not_rendered_are_left_alone(
        self, arguments: dict[str, Any], tmp_path: Path
    ) -> None:
        write(tmp_path / "data/rendered", {"mine.jpg": b"1"})
        for seed in (1, 2):
            with pytest.raises(DatasetError, match="were not rendered"):
                RenderedAIHubDataset(**arguments | {"seed": seed}).load()
        assert (tmp_path / "data/rendered/mine.jpg").read_bytes() == b"1"
