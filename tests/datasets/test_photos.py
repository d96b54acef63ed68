"""The dataset of processed photos."""

from pathlib import Path

import pytest

from lng_kedro.datasets import PhotoFolderDataset
from tests.raw import photo


class TestPhotoFolderDataset:
    def test_round_trip(self, tmp_path: Path) -> None:
        dataset = PhotoFolderDataset(filepath=str(tmp_path / "deep/photos"))
        assert not dataset.exists()
        dataset.save({"1102_11_a": photo(color=(250, 0, 0)), "b": photo(20, 30)})
        assert dataset.exists()
        photos = dataset.load()
        assert photos.load("b").size == (20, 30)
        assert photos.path("1102_11_a").read_bytes() == photo(color=(250, 0, 0))

    def test_saving_adds_and_replaces(self, tmp_path: Path) -> None:
        dataset = PhotoFolderDataset(filepath=str(tmp_path))
        dataset.save({"a": b"1", "b": b"2"})
        dataset.save({"b": b"3", "c": b"4"})
        dataset.save({})
        assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {
            "a.jpg": b"1",
            "b.jpg": b"3",
            "c.jpg": b"4",
        }

    def test_what_could_not_be_written_does_not_appear(self, tmp_path: Path) -> None:
        dataset = PhotoFolderDataset(filepath=str(tmp_path))
        dataset.save({"a": b"old"})
        with pytest.raises(Exception, match="bytes-like"):
            dataset.save({"a": None})  # type: ignore[dict-item]
        assert (tmp_path / "a.jpg").read_bytes() == b"old"
