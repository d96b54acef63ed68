"""Zips and folders, read in place."""

import os
import unicodedata
import zipfile
from pathlib import Path

import pytest

from lng_kedro.aihub.folder import AIHubFolder, context, stem
from tests.raw import write

COMPOSED = unicodedata.normalize("NFC", "TS_표면처리_균열_도장.zip")
DECOMPOSED = unicodedata.normalize("NFD", "TL_표면처리_균열_도장.ZIP")


@pytest.fixture
def folder(tmp_path: Path) -> AIHubFolder:
    write(tmp_path / "a/deep" / COMPOSED, {"b.JPG": b"2", "sub/a.jpg": b"1", "sub/": b"", "notes.txt": b""})
    write(tmp_path / DECOMPOSED, {"b.json": b"{}"})
    write(tmp_path, {"z/c.PNG": b"3", "z/c.JSON": b"[]", "z/c.xml": b"", "z/d.jpeg": b"4"})
    return AIHubFolder(tmp_path)


def test_finds_photos_in_zips_and_folders_at_any_depth(folder: AIHubFolder) -> None:
    assert list(folder.photos()) == [
        f"a/deep/{COMPOSED}!/b.JPG",
        f"a/deep/{COMPOSED}!/sub/a.jpg",
        "z/c.PNG",
        "z/d.jpeg",
    ]


def test_finds_labels_behind_names_of_either_unicode_form(folder: AIHubFolder) -> None:
    assert list(folder.labels()) == [f"{DECOMPOSED}!/b.json", "z/c.JSON"]


def test_reads_what_it_found(folder: AIHubFolder) -> None:
    assert [folder.read(locator) for locator in folder.photos()] == [b"2", b"1", b"3", b"4"]
    assert [folder.read(locator) for locator in folder.labels()] == [b"{}", b"[]"]


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert list(AIHubFolder(tmp_path).photos()) == []


@pytest.mark.parametrize(
    ("locator", "error"),
    [("z/gone.jpg", OSError), ("gone.zip!/a.jpg", OSError), (f"a/deep/{COMPOSED}!/gone.jpg", KeyError)],
)
def test_what_is_gone_is_an_error(folder: AIHubFolder, locator: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        folder.read(locator)


def test_a_broken_zip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "broken.zip").write_bytes(b"not a zip")
    with pytest.raises(zipfile.BadZipFile):
        list(AIHubFolder(tmp_path).photos())


def test_a_zip_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    folder = AIHubFolder(tmp_path)
    write(tmp_path / "photos.zip", {"a.jpg": b"old"})
    assert folder.read("photos.zip!/a.jpg") == b"old"
    write(tmp_path / "photos.zip", {"a.jpg": b"new", "b.jpg": b"more"})
    os.utime(tmp_path / "photos.zip", ns=(1, 1))
    assert list(folder.photos()) == ["photos.zip!/a.jpg", "photos.zip!/b.jpg"]
    assert folder.read("photos.zip!/a.jpg") == b"new"


def test_stem_and_context_of_a_locator() -> None:
    locator = f"x/{unicodedata.normalize('NFD', '도장.zip')}!/1102_11_a.b.JPG"
    assert stem(locator) == "1102_11_a.b"
    assert context(locator) == "x/도장.zip!"
    assert unicodedata.is_normalized("NFC", context(locator))
