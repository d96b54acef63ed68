"""The datasets of processed photos and their journal."""

from pathlib import Path

import pytest
from kedro.io import DatasetError

from lng_kedro.datasets import PhotoFolderDataset, PhotoJournalDataset
from lng_kedro.imaging import PhotoFolder
from lng_kedro.photo_journal import Finished, PhotoFacts
from tests.raw import photo


def test_what_the_journal_adds_is_in_the_folder(tmp_path: Path) -> None:
    photos = PhotoFolderDataset(filepath=str(tmp_path / "deep/photos"))
    journal = PhotoJournalDataset(filepath=str(tmp_path / "deep/photos/journal.jsonl"))
    assert not photos.exists()
    assert journal.exists()  # it need not be begun
    jpeg = photo(20, 30)
    finished = Finished("f", "r", "", PhotoFacts(20, 30, 1, "", "", len(jpeg)))
    journal.load().add("1102_11_a", finished, jpeg)
    photos.save(journal.load().folder)
    assert photos.exists()
    assert photos.load().load("1102_11_a").size == (20, 30)
    assert journal.load().finished("1102_11_a", "r") == finished


def test_nothing_chosen_is_an_empty_folder(tmp_path: Path) -> None:
    photos = PhotoFolderDataset(filepath=str(tmp_path / "photos"))
    photos.save(PhotoJournalDataset(filepath=str(tmp_path / "photos/journal.jsonl")).load().folder)
    assert photos.exists()


def test_a_journal_elsewhere_is_refused(tmp_path: Path) -> None:
    photos = PhotoFolderDataset(filepath=str(tmp_path / "photos"))
    with pytest.raises(DatasetError, match="photo_journal must lie in the folder of photos"):
        photos.save(PhotoFolder(tmp_path / "elsewhere"))


def test_a_journal_writes_itself(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="writes itself"):
        PhotoJournalDataset(filepath=str(tmp_path / "journal.jsonl")).save({})  # type: ignore[arg-type]
