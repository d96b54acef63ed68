"""The datasets of inspection."""

from pathlib import Path
from typing import Any

import pytest
from kedro.io import DatasetError
from PIL import Image

from lng_kedro.datasets import (
    AdapterInUseDataset,
    NewPhotosDataset,
    RenderedPhotosDataset,
    ReportsDataset,
    WholeTextDataset,
)
from lng_kedro.inspection.journal import Reports
from tests.inspection.test_journal import add, report
from tests.raw import photo, write


class TestNewPhotosDataset:
    def test_reads_a_folder_in_place(self, tmp_path: Path) -> None:
        write(tmp_path / "new", {"x/a.jpg": photo()})
        dataset = NewPhotosDataset(filepath=str(tmp_path / "new"))
        assert dataset.exists()
        assert list(dataset.load().listing()) == ["x/a.jpg"]
        assert list(NewPhotosDataset(filepath=str(tmp_path / "new/**/a.*")).load().listing()) == ["x/a.jpg"]

    @pytest.mark.parametrize("name", ["nowhere", "empty", "empty/*.jpg"])
    def test_without_photos_it_says_what_to_do(self, tmp_path: Path, name: str) -> None:
        (tmp_path / "empty").mkdir()
        dataset = NewPhotosDataset(filepath=str(tmp_path / name))
        assert not dataset.exists()
        assert dataset.missing.startswith("No photos to inspect: there ")
        assert dataset.missing.endswith("Name a folder of photos, or a pattern, with --params photos=PATH.")
        with pytest.raises(DatasetError, match="No photos to inspect"):
            dataset.load()

    def test_a_folder_whose_name_is_a_number(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path / "20261126", {"a.jpg": photo()})
        monkeypatch.chdir(tmp_path)
        dataset = NewPhotosDataset(filepath=20261126)  # type: ignore[arg-type]  # as --params gives it
        assert list(dataset.load().listing()) == ["a.jpg"]

    def test_is_never_written(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="read only"):
            NewPhotosDataset(filepath=str(tmp_path)).save({})  # type: ignore[arg-type]


class TestRenderedPhotosDataset:
    @pytest.fixture
    def arguments(self, tmp_path: Path) -> dict[str, Any]:
        taxonomy = Path(__file__).parents[2] / "conf/base/parameters/taxonomy.yml"
        place = {"filepath": str(tmp_path / "data/new"), "taxonomy": str(taxonomy)}
        return {**place, "count": 2, "seed": 1, "difficulty": 0.0, "n_jobs": 1}

    def test_photos_as_a_camera_leaves_them(self, arguments: dict[str, Any]) -> None:
        dataset = RenderedPhotosDataset(**arguments)
        assert dataset.exists()
        photos = dataset.load()
        assert list(photos.listing()) == ["photo_001.jpg", "photo_002.jpg"]
        with Image.open(photos.root / "photo_001.jpg") as image:
            assert image.size == (1920, 1080)
        before = {path.name: path.read_bytes() for path in photos.root.iterdir()}
        assert len(set(before.values())) == 2
        (photos.root / "photo_001.jpg").unlink()
        # Once rendered, they are left alone; another recipe renders anew, and the first the same bytes.
        assert list(dataset.load().listing()) == ["photo_002.jpg"]
        other = RenderedPhotosDataset(**arguments | {"seed": 2}).load()
        assert (other.root / "photo_002.jpg").read_bytes() != before["photo_002.jpg"]
        again = RenderedPhotosDataset(**arguments).load()
        assert {path.name: path.read_bytes() for path in again.root.iterdir()} == before

    def test_photos_of_ones_own_are_not_touched(self, arguments: dict[str, Any], tmp_path: Path) -> None:
        write(tmp_path / "data/new", {"mine.jpg": photo()})
        with pytest.raises(DatasetError, match=r"not rendered: read them with --params photos=PATH"):
            RenderedPhotosDataset(**arguments).load()
        given = RenderedPhotosDataset(**arguments, photos=str(tmp_path / "data/new"))
        assert list(given.load().listing()) == ["mine.jpg"]
        assert not RenderedPhotosDataset(**arguments, photos=str(tmp_path / "nowhere")).exists()


class TestReportsDataset:
    def test_round_trip(self, tmp_path: Path) -> None:
        dataset = ReportsDataset(filepath=str(tmp_path / "reports.jsonl"))
        assert dataset.exists()
        reports = dataset.load()
        assert list(reports) == []
        add(reports, report("a.jpg"))
        dataset.save(reports)
        assert list(dataset.load()) == [report("a.jpg")]

    def test_reports_of_another_place_are_refused(self, tmp_path: Path) -> None:
        dataset = ReportsDataset(filepath=str(tmp_path / "reports.jsonl"))
        with pytest.raises(DatasetError, match="were written to"):
            dataset.save(Reports(tmp_path / "other/reports.jsonl"))


class TestWholeTextDataset:
    @pytest.mark.parametrize(("encoding", "start"), [("utf-8", b"\xea"), ("utf-8-sig", b"\xef\xbb\xbf\xea")])
    def test_round_trip(self, tmp_path: Path, encoding: str, start: bytes) -> None:
        dataset = WholeTextDataset(filepath=str(tmp_path / "x/a.csv"), encoding=encoding)
        assert not dataset.exists()
        dataset.save("균열\r\n")
        assert (tmp_path / "x/a.csv").read_bytes().startswith(start)
        assert (tmp_path / "x/a.csv").read_bytes().endswith(b"\r\n")
        assert dataset.load() == "균열\n"


class TestAdapterInUseDataset:
    def test_a_folder_or_a_bare_model(self, tmp_path: Path) -> None:
        dataset = AdapterInUseDataset(filepath=str(tmp_path))
        assert not dataset.exists()
        with pytest.raises(DatasetError, match=r"--params adapter=PATH, or take the bare model"):
            dataset.load()
        (tmp_path / "adapter_model.safetensors").touch()
        assert dataset.load() == tmp_path
        bare = AdapterInUseDataset(filepath=None)
        assert (bare.exists(), bare.load()) == (True, None)
        with pytest.raises(DatasetError, match="read only"):
            bare.save({})  # type: ignore[arg-type]
