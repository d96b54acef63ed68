"""Zips and folders, read in place."""

import io
import os
import random
import shutil
import tracemalloc
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lng_kedro.aihub.folder import AIHubFolder, context, stem
from lng_kedro.quarantine import Rejected
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
    assert folder.listing().photos == [
        f"a/deep/{COMPOSED}!/b.JPG",
        f"a/deep/{COMPOSED}!/sub/a.jpg",
        "z/c.PNG",
        "z/d.jpeg",
    ]


def test_finds_labels_behind_names_of_either_unicode_form(folder: AIHubFolder) -> None:
    assert folder.listing().labels == [f"{DECOMPOSED}!/b.json", "z/c.JSON"]


def test_reads_what_it_found(folder: AIHubFolder) -> None:
    assert [folder.read(locator) for locator in folder.listing().photos] == [b"2", b"1", b"3", b"4"]
    assert [folder.read(locator) for locator in folder.listing().labels] == [b"{}", b"[]"]


def test_photos_of_other_kinds_are_told(tmp_path: Path) -> None:
    files = dict.fromkeys(["a.webp", "b.BMP", "c.tif", "d.heic", "e.jpe", "f.JFIF"], b"1")
    write(tmp_path, files)
    write(tmp_path / "z.zip", files)
    listing = AIHubFolder(tmp_path).listing()
    assert listing.photos == ["e.jpe", "f.JFIF", "z.zip!/e.jpe", "z.zip!/f.JFIF"]
    others = ["a.webp", "b.BMP", "c.tif", "d.heic"]
    assert [(row["file"], row["reason"]) for row in listing.problems] == [
        (file, "unreadable") for file in (*others, *(f"z.zip!/{name}" for name in others))
    ]
    assert {row["detail"] for row in listing.problems} == {
        "a photo of a kind that is not read: convert it to JPEG or PNG"
    }


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert AIHubFolder(tmp_path).listing().photos == []
    assert AIHubFolder(tmp_path).listing().problems == []


@pytest.mark.parametrize("locator", ["z/gone.jpg", "gone.zip!/a.jpg", f"a/deep/{COMPOSED}!/gone.jpg"])
def test_what_is_gone_is_rejected(folder: AIHubFolder, locator: str) -> None:
    for ask in (folder.read, folder.fingerprint):
        with pytest.raises(Rejected, match="unreadable"):
            ask(locator)


# --- archives -------------------------------------------------------------------------------------------


def refused(root: Path) -> list[tuple[str, str]]:
    return [(row["file"], row["reason"]) for row in AIHubFolder(root).listing().problems]


def damaged(path: Path, find: bytes, put: bytes) -> None:
    """Changes bytes of a file's first occurrence, as a bad disk does."""
    content = path.read_bytes()
    assert find in content
    path.write_bytes(content.replace(find, put, 1))


def test_archives_that_cannot_be_opened(tmp_path: Path) -> None:
    write(
        tmp_path, {"broken.zip": b"not a zip", "empty.zip": b"", "sub/TS_a.zip.part0": b"PK", "b.z01": b"PK"}
    )
    write(tmp_path, {"download.tar": b"", "c.zip.001": b"PK", "part1.txt": b"", "2102_12_a.part1.jpg": b"1"})
    (tmp_path / "link.zip").symlink_to(tmp_path / "nowhere.zip")
    write(tmp_path / "outer.zip", {"inner/TS_a.zip": b"PK", "TS_b.zip.part1": b"", "a.jpg": b"1"})
    assert refused(tmp_path) == [
        ("b.z01", "archive"),
        ("broken.zip", "archive"),
        ("c.zip.001", "archive"),
        ("download.tar", "archive"),
        ("empty.zip", "archive"),
        ("link.zip", "unreadable"),
        ("outer.zip!/TS_b.zip.part1", "archive"),
        ("outer.zip!/inner/TS_a.zip", "archive"),
        ("sub/TS_a.zip.part0", "archive"),
    ]
    assert AIHubFolder(tmp_path).listing().photos == ["2102_12_a.part1.jpg", "outer.zip!/a.jpg"]


def test_encrypted_members_are_counted_and_passed_over(tmp_path: Path) -> None:
    write(tmp_path / "locked.zip", {"a.jpg": b"1", "b.jpg": b"2", "c.jpg": b"3"})
    content = (tmp_path / "locked.zip").read_bytes()
    for name in (b"a.jpg", b"b.jpg"):  # the flag is 38 bytes before the name in the directory
        place = content.rindex(name) - 38
        content = content[:place] + b"\x01" + content[place + 1 :]
    (tmp_path / "locked.zip").write_bytes(content)
    (problem,) = AIHubFolder(tmp_path).listing().problems
    assert (problem["file"], problem["reason"]) == ("locked.zip", "archive")
    assert problem["detail"] == "2 of its files need a password: unpack it"
    assert AIHubFolder(tmp_path).listing().photos == ["locked.zip!/c.jpg"]


def test_a_member_whose_bytes_are_damaged(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", {"a.jpg": b"whole", "b.jpg": b"other"})
    damaged(tmp_path / "a.zip", b"whole", b"hole!")
    raw = AIHubFolder(tmp_path)
    with pytest.raises(Rejected) as caught:
        raw.read("a.zip!/a.jpg")
    assert caught.value.reason == "archive"
    assert "CRC" in caught.value.detail
    assert raw.read("a.zip!/b.jpg") == b"other"


def test_any_damage_to_a_zip_is_found_or_does_no_harm(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.json", b'{"a": 1}' * 20, zipfile.ZIP_DEFLATED)
        archive.writestr("균열/b.jpg", b"b" * 100)
        archive.writestr("c.jpg", b"c" * 100, zipfile.ZIP_LZMA)
    rng, seen = random.Random(0), Counter()
    for number in range(300):
        content = bytearray(buffer.getvalue())
        for _ in range(rng.choice([1, 2, 5])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "a.zip").write_bytes(content)
        raw = AIHubFolder(tmp_path / str(number))
        seen.update(row["reason"] for row in raw.listing().problems)
        for locator in (*raw.listing().photos, *raw.listing().labels):
            try:
                assert raw.fingerprint(locator)
                # Where the checksum is true the bytes are, though damage may have changed their name.
                assert raw.read(locator) in (b'{"a": 1}' * 20, b"b" * 100, b"c" * 100, b"")
                seen["read"] += 1
            except Rejected as problem:
                seen[problem.reason] += 1
    assert seen.keys() <= {"read", "archive", "unreadable", "unsafe_path", "duplicate", "too_large"}
    assert seen["read"] > 100
    assert seen["archive"] > 100


@pytest.mark.parametrize(
    "name",
    ["../a.jpg", "x/../../a.jpg", "/etc/a.jpg", "C:/a.jpg", "c:a.jpg", r"..\a.jpg", r"\\host\a.jpg", ".."],
)
def test_a_member_whose_path_leads_out_of_the_zip(tmp_path: Path, name: str) -> None:
    write(tmp_path / "a.zip", {name: b"1", "b..c/..a.jpg": b"2", "./d.jpg": b"3"})
    assert refused(tmp_path) == [(f"a.zip!/{name}", "unsafe_path")]
    assert [stem(photo) for photo in AIHubFolder(tmp_path).listing().photos] == ["d", "..a"]


def test_a_name_that_stands_twice_in_its_zip(tmp_path: Path) -> None:
    with (
        zipfile.ZipFile(tmp_path / "a.zip", "w") as archive,
        pytest.warns(UserWarning, match="Duplicate name"),
    ):
        archive.writestr("a.jpg", b"first")
        archive.writestr("a.jpg", b"last")
    assert refused(tmp_path) == [("a.zip!/a.jpg", "duplicate")]
    assert AIHubFolder(tmp_path).listing().photos == ["a.zip!/a.jpg"]
    assert AIHubFolder(tmp_path).read("a.zip!/a.jpg") == b"last"


@pytest.mark.parametrize("encoding", ["cp949", "utf-8"])
def test_names_of_members_that_are_not_marked_as_utf_8(tmp_path: Path, encoding: str) -> None:
    name = "균열_도장/2102_12_a.json"
    write(tmp_path / "a.zip", {name: b"{}"})
    write(tmp_path / "b.zip", {"x" * len(name.encode(encoding)): b"{}"})  # unmarked, as it is ASCII
    content = (tmp_path / "b.zip").read_bytes()
    written = content.replace(b"x" * len(name.encode(encoding)), name.encode(encoding))
    (tmp_path / "b.zip").write_bytes(written)
    assert AIHubFolder(tmp_path).listing().labels == [f"a.zip!/{name}", f"b.zip!/{name}"]
    assert AIHubFolder(tmp_path).read(f"b.zip!/{name}") == b"{}"


def test_folders_in_a_zip_that_windows_made(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", {r"TL_균열_도장\2102_12_a.json": b"{}"})
    (label,) = AIHubFolder(tmp_path).listing().labels
    assert stem(label) == "2102_12_a"
    assert context(label) == "a.zip!/TL_균열_도장"
    assert AIHubFolder(tmp_path).read(label) == b"{}"


def bomb(path: Path, name: str, size: int) -> None:
    """A zip of a few kilobytes that unpacks to so many zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(size))


@pytest.mark.parametrize("name", ["a.jpg", "a.JSON"])
def test_a_file_of_more_bytes_than_any_photo_or_label_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr("lng_kedro.aihub.folder.LARGEST_PHOTO", 2**22)
    monkeypatch.setattr("lng_kedro.aihub.folder.LARGEST_LABEL", 2**22)
    bomb(tmp_path / "a.zip", name, 2**22 + 2**20)
    bomb(tmp_path / "b.zip", name, 2**22)
    with (tmp_path / name).open("wb") as file:
        file.truncate(2**22 + 2**20)
    raw = AIHubFolder(tmp_path)
    for locator in (f"a.zip!/{name}", name):
        with pytest.raises(Rejected) as caught:
            raw.read(locator)
        assert caught.value.args == ("too_large", "5 MiB, at most 4 are read")
    assert raw.read(f"b.zip!/{name}") == bytes(2**22)


def test_a_label_may_be_larger_than_a_photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lng_kedro.aihub.folder.LARGEST_PHOTO", 2)
    write(tmp_path, {"a.json": b"123", "a.jpg": b"123"})
    assert AIHubFolder(tmp_path).read("a.json") == b"123"
    with pytest.raises(Rejected, match="too_large"):
        AIHubFolder(tmp_path).read("a.jpg")


def test_a_size_that_is_a_lie_unpacks_no_more(tmp_path: Path) -> None:
    bomb(tmp_path / "a.zip", "a.jpg", 2**26)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    size = content.rindex(b"a.jpg") - 22  # of the member, in the zip's directory
    assert content[size : size + 4] == (2**26).to_bytes(4, "little")
    content[size : size + 4] = (1000).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    tracemalloc.start()
    with pytest.raises(Rejected, match="archive"):
        AIHubFolder(tmp_path).read("a.zip!/a.jpg")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


# --- names, links, order --------------------------------------------------------------------------------


def test_hidden_files_are_no_photos(tmp_path: Path) -> None:
    hidden = ["._a.jpg", "__MACOSX/a.jpg", "__MACOSX/._a.json", ".cache/a.jpg", ".DS_Store", "Thumbs.db"]
    files = dict.fromkeys([*hidden, "x/._b.jpg", "x/.git/b.json", "x__MACOSX/c.jpg"], b"")
    write(tmp_path / "a.zip", files)
    write(tmp_path, files)
    raw = AIHubFolder(tmp_path)
    assert raw.listing().photos == ["a.zip!/x__MACOSX/c.jpg", "x__MACOSX/c.jpg"]
    assert raw.listing().labels == raw.listing().problems == []


def test_linked_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    write(tmp_path / "elsewhere", {"deep/b.jpg": b"2"})
    write(tmp_path / "raw", {"a.jpg": b"1"})
    (tmp_path / "raw/link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "raw/again").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere/deep/up").symlink_to(tmp_path / "raw")
    (tmp_path / "elsewhere/deep/self").symlink_to(tmp_path / "elsewhere/deep")
    raw = AIHubFolder(tmp_path / "raw")
    assert raw.listing().photos == ["a.jpg", "again/deep/b.jpg"]
    assert raw.read("again/deep/b.jpg") == b"2"


def test_the_order_does_not_depend_on_the_file_systems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Decomposed, the first name would come after the second.
    names = [unicodedata.normalize("NFD", "각/a.jpg"), unicodedata.normalize("NFC", "갠/a.jpg"), "b/a.jpg"]
    write(tmp_path, dict.fromkeys(names, b""))
    expected = ["b/a.jpg", *names[:2]]
    assert AIHubFolder(tmp_path).listing().photos == expected
    walk = os.walk

    def backwards(*args: Any, **more: Any) -> Iterator[tuple[str, list[str], list[str]]]:
        for folder, folders, files in walk(*args, **more):
            folders.reverse()
            yield folder, folders, files[::-1]

    monkeypatch.setattr(os, "walk", backwards)
    assert AIHubFolder(tmp_path).listing().photos == expected


def test_names_that_are_not_utf_8_are_told(tmp_path: Path) -> None:
    unzipped = os.fsdecode("균열".encode("cp949"))
    write(tmp_path, {f"도장/{unzipped}/2102_12_a.jpg": b"", os.fsdecode(b"\xff.jpg"): b""})
    raw = AIHubFolder(tmp_path)
    assert [(row["file"], row["reason"]) for row in raw.listing().problems] == [
        ("도장/균열", "file_name"),
        ("\ufffd.jpg", "file_name"),
    ]
    assert raw.listing().photos == []


def test_a_folder_that_may_not_be_opened_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.jpg": b"", "locked/b.jpg": b""})
    scan = os.scandir

    def refusing(path: str) -> Any:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refusing)
    raw = AIHubFolder(tmp_path)
    assert raw.listing().problems == [
        {"file": "locked", "reason": "unreadable", "detail": "cannot be read: Permission denied"}
    ]
    assert raw.listing().photos == ["a.jpg"]


def test_a_folder_may_be_named_like_a_zip(tmp_path: Path) -> None:
    write(tmp_path, {"x!/a.jpg": b"1"})
    (tmp_path / "b.zip").mkdir()
    (tmp_path / "b.zip/c.jpg").write_bytes(b"2")
    raw = AIHubFolder(tmp_path)
    assert [raw.read(photo) for photo in raw.listing().photos] == [b"2", b"1"]


# --- fingerprints ---------------------------------------------------------------------------------------


def test_a_fingerprint_changes_with_the_file_and_with_nothing_else(tmp_path: Path) -> None:
    raw = AIHubFolder(tmp_path)
    write(tmp_path / "a.zip", {"a.jpg": b"one", "b.jpg": b"two"})
    write(tmp_path, {"c.jpg": b"one"})
    files = ["a.zip!/a.jpg", "a.zip!/b.jpg", "c.jpg"]
    before = [raw.fingerprint(file) for file in files]
    assert before[0] == f"{zlib.crc32(b'one'):08x}-3"
    assert [raw.fingerprint(file) for file in files] == before
    write(tmp_path / "a.zip", {"a.jpg": b"new", "b.jpg": b"two", "d.jpg": b""})
    os.utime(tmp_path / "a.zip", ns=(1, 1))
    (tmp_path / "c.jpg").write_bytes(b"new")
    os.utime(tmp_path / "c.jpg", ns=(2, 2))
    after = [raw.fingerprint(file) for file in files]
    assert [new == old for new, old in zip(after, before, strict=True)] == [False, True, False]


def test_a_zip_that_was_replaced_is_read_anew(tmp_path: Path) -> None:
    folder = AIHubFolder(tmp_path)
    write(tmp_path / "photos.zip", {"a.jpg": b"old"})
    assert folder.read("photos.zip!/a.jpg") == b"old"
    write(tmp_path / "photos.zip", {"a.jpg": b"new", "b.jpg": b"more"})
    os.utime(tmp_path / "photos.zip", ns=(1, 1))
    assert folder.listing().photos == ["photos.zip!/a.jpg", "photos.zip!/b.jpg"]
    assert folder.read("photos.zip!/a.jpg") == b"new"


@pytest.mark.parametrize("name", ["a", ".a", "x/a.jpg", "x.y/a", r"x\a.JSON", "z.zip!/a.jpg"])
def test_stems(name: str) -> None:
    assert stem(name) == (".a" if name == ".a" else "a")


def test_stem_and_context_of_a_locator() -> None:
    assert stem(unicodedata.normalize("NFD", "도장.jpg")) == "도장"
    locator = f"x/{unicodedata.normalize('NFD', '도장.zip')}!/1102_11_a.b.JPG"
    assert stem(locator) == "1102_11_a.b"
    assert context(locator) == "x/도장.zip!"
    assert unicodedata.is_normalized("NFC", context(locator))


class TestReviewed:
    """A second folder beside the first."""

    @pytest.fixture
    def both(self, tmp_path: Path) -> AIHubFolder:
        # Names of the first folder that look like the second one's.
        write(tmp_path / "raw/reviewed:", {"a.jpg": b"raw", "a.json": b"{}", "c.webp": b""})
        write(tmp_path / "raw/reviewed", {"0.jpg": b"0"})
        write(tmp_path / "people", {"b.jpg": b"mine", "b.json": b"[]", "z.bmp": b""})
        write(tmp_path / "people/more.zip", {"/a.jpg": b"", "a.jpg": b"zipped"})
        return AIHubFolder(tmp_path / "raw", tmp_path / "people")

    def test_its_files_come_first_and_each_is_read_where_it_lies(self, both: AIHubFolder) -> None:
        listing = both.listing()
        assert {locator: both.read(locator) for locator in listing.photos} == {
            "reviewed://b.jpg": b"mine",
            "reviewed://more.zip!/a.jpg": b"zipped",
            "reviewed/0.jpg": b"0",
            "reviewed:/a.jpg": b"raw",
        }
        assert listing.photos[0] == "reviewed://b.jpg"
        assert listing.labels == ["reviewed://b.json", "reviewed:/a.json"]
        assert [row["file"] for row in listing.problems] == [
            "reviewed://more.zip!//a.jpg",
            "reviewed://z.bmp",
            "reviewed:/c.webp",
        ]
        own = AIHubFolder(both.reviewed)
        assert both.fingerprint("reviewed://b.jpg") == own.fingerprint("b.jpg")
        assert (stem(listing.photos[1]), context(listing.photos[0])) == ("a", "reviewed:/")

    def test_no_folder_and_an_empty_one_hold_nothing(self, both: AIHubFolder, tmp_path: Path) -> None:
        alone = AIHubFolder(both.root).listing()
        (tmp_path / "empty").mkdir()
        for name in ("empty", "nowhere"):
            assert AIHubFolder(both.root, tmp_path / name).listing() == alone
            assert AIHubFolder(tmp_path / name).digest() is None

    def test_its_digest_changes_with_names_and_labels_and_with_nothing_else(
        self, both: AIHubFolder, tmp_path: Path
    ) -> None:
        folder = AIHubFolder(both.reviewed)
        digests = [folder.digest()]
        assert digests[0].startswith("2 photos (")
        os.utime(tmp_path / "people/b.json", (1, 1))
        shutil.copytree(tmp_path / "people", tmp_path / "elsewhere")
        assert folder.digest() == AIHubFolder(tmp_path / "elsewhere").digest() == digests[0]
        for name, content in (("b.json", b"{}"), ("c.jpg", b"mine"), ("y.bmp", b"")):
            write(tmp_path / "people", {name: content})
            digests.append(folder.digest())
        assert len(set(digests)) == 4
