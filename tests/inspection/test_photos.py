"""New photos are found whatever their names, and nothing outside of their folder is."""

import os
import time
import unicodedata
from pathlib import Path

import pytest

from lng_kedro.inspection.photos import NewPhotos
from lng_kedro.quarantine import Rejected
from tests.raw import photo, write

LIMIT = 10**6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


def refused(photos: NewPhotos) -> dict[str, str]:
    return {name: found.reason for name, found in photos.listing().items() if isinstance(found, Rejected)}


def names(place: object) -> list[str]:
    return list(NewPhotos.at(str(place)).listing())


class TestFinding:
    def test_photos_of_all_depths_in_order_and_nothing_hidden(self, folder: Path) -> None:
        found = ["b.jpg", "a.JPG", "deep/er/c.Jpeg", "deep/d.png", "e.jpe", "f.jfif"]
        others = [".g.jpg", ".thumbs/h.jpg", "__MACOSX/i.jpg", "notes.txt", "label.json", "jpg"]
        write(folder, dict.fromkeys([*found, *others], photo()))
        listing = NewPhotos.at(str(folder)).listing()
        assert list(listing) == sorted(found)
        status = (folder / "b.jpg").stat()
        assert listing["b.jpg"] == f"{len(photo())}-{status.st_mtime_ns}-{status.st_ctime_ns}"

    def test_the_order_is_that_of_composed_names(self, folder: Path) -> None:
        nfd = unicodedata.normalize("NFD", "나.jpg")
        write(folder, dict.fromkeys(["다.jpg", nfd, "가.jpg"], photo()))
        assert names(folder) == ["가.jpg", nfd, "다.jpg"]

    @pytest.mark.parametrize(("stored", "asked"), [("NFC", "NFD"), ("NFD", "NFC")])
    def test_korean_names_in_either_form(self, folder: Path, stored: str, asked: str) -> None:
        here = folder / unicodedata.normalize(stored, "현장")
        name = unicodedata.normalize(stored, "균열_1.jpg")
        write(here, {name: photo(), "other.jpg": photo()})
        there = folder / unicodedata.normalize(asked, "현장")
        assert names(there) == ["other.jpg", name]
        assert names(there / unicodedata.normalize(asked, "균열*.jpg")) == [name]
        assert names(there / unicodedata.normalize(asked, "균열_1.jpg")) == [name]

    def test_patterns(self, folder: Path) -> None:
        write(folder, dict.fromkeys(["a.jpg", "a.png", "x/b.jpg", "x/y/c.jpg", "z/b.jpg"], photo()))
        assert names(folder / "*.jpg") == ["a.jpg"]
        assert names(folder / "**/*.jpg") == ["a.jpg", "x/b.jpg", "x/y/c.jpg", "z/b.jpg"]
        assert names(folder / "[xy]/*.jpg") == ["x/b.jpg"]
        assert names(folder / "x/**") == ["b.jpg", "y/c.jpg"]
        assert names(folder / "nothing*") == []
        # The folder before the first wildcard is what photos are named below.
        assert NewPhotos.at(str(folder / "x/**/*.jpg")).root == folder.resolve() / "x"

    def test_one_photo_whose_name_looks_like_a_pattern(self, folder: Path) -> None:
        write(folder, dict.fromkeys(["a[1].jpg", "a1.jpg"], photo()))
        assert names(folder / "a[1].jpg") == ["a[1].jpg"]

    @pytest.mark.parametrize("place", ["nowhere", "nowhere/*.jpg", "a.jpg/*.jpg"])
    def test_no_such_folder(self, folder: Path, place: str) -> None:
        write(folder, {"a.jpg": photo()})
        with pytest.raises(ValueError, match="there is no folder"):
            NewPhotos.at(str(folder / place))

    def test_a_pattern_does_not_climb_out(self, folder: Path) -> None:
        write(folder.parent, {"secret.jpg": photo(), "new/x/a.jpg": photo()})
        with pytest.raises(ValueError, match="leads out of"):
            NewPhotos.at(str(folder / "*/../../*.jpg"))

    def test_nothing_is_said_of_what_was_not_asked_for(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(folder, dict.fromkeys(["a.jpg", "x/a.jpg", "y/z/a.jpg"], photo()))
        (folder / "out").symlink_to("/etc")
        (folder / os.fsdecode(b"\xbb\xe7.jpg")).write_bytes(b"")
        scanned, scan = [], os.scandir
        monkeypatch.setattr(os, "scandir", lambda path: scanned.append(Path(path)) or scan(path))
        assert list(NewPhotos.at(str(folder / "a.jpg")).listing()) == ["a.jpg"]
        assert scanned == [folder]
        scanned.clear()
        assert refused(NewPhotos.at(str(folder / "x*/*.jpg"))) == {}
        assert scanned == [folder, folder / "x"]
        assert refused(NewPhotos.at(str(folder / "*/*.jpg"))) == {"out": "unsafe_path"}
        assert refused(NewPhotos.at(str(folder / "**/*.jpg"))) == {
            "out": "unsafe_path",
            "사.jpg": "file_name",
        }

    def test_a_folder_whose_path_no_report_can_hold(self, tmp_path: Path) -> None:
        place = tmp_path / os.fsdecode("사진".encode("cp949"))
        write(place, {"a.jpg": photo()})
        for asked in (place, place / "a.jpg", place / "*.jpg"):
            with pytest.raises(ValueError, match=r"사진 .*is not UTF-8.*convmv"):
                NewPhotos.at(str(asked))

    def test_whether_there_are_any_ends_at_the_first(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert not NewPhotos(folder).are_any()
        write(folder, dict.fromkeys(["a.jpg", "b.jpg", "x/c.jpg"], photo()))
        looked: list[str] = []
        one = NewPhotos._look_at
        monkeypatch.setattr(NewPhotos, "_look_at", lambda *args: looked.append(args[1]) or one(*args))
        assert NewPhotos(folder).are_any()
        assert len(looked) == 1

    def test_what_cannot_be_a_photo_is_said(self, folder: Path) -> None:
        write(folder, dict.fromkeys(["a.jpg", "b.HEIC", "c.tif", "d.zip/not.txt", "e.ZIP/x"], photo()))
        assert refused(NewPhotos.at(str(folder))) == {"b.HEIC": "unreadable", "c.tif": "unreadable"}
        (folder / "f.zip").write_bytes(b"PK")
        assert refused(NewPhotos.at(str(folder)))["f.zip"] == "archive"

    def test_a_name_that_is_no_utf8(self, folder: Path) -> None:
        (folder / os.fsdecode("균열.jpg".encode("cp949"))).write_bytes(photo())
        assert refused(NewPhotos.at(str(folder))) == {"균열.jpg": "file_name"}


class TestReading:
    def test_content_and_the_fingerprint_of_what_was_read(self, folder: Path) -> None:
        write(folder, {"x/a.jpg": photo()})
        photos = NewPhotos.at(str(folder))
        assert photos.read("x/a.jpg", LIMIT) == (photos.listing()["x/a.jpg"], photo())
        os.utime(folder / "x/a.jpg", ns=(1, 1))
        assert photos.read("x/a.jpg", LIMIT)[0].startswith(f"{len(photo())}-1-")

    def test_a_photo_turned_in_place_is_another(self, folder: Path) -> None:
        """As `exiftool -P` does: the same number of bytes, and the time set back."""
        write(folder, {"a.jpg": photo()})
        before, status = NewPhotos(folder).listing(), (folder / "a.jpg").stat()
        time.sleep(0.02)  # more than a file system's tick
        (folder / "a.jpg").write_bytes(photo()[::-1])
        os.utime(folder / "a.jpg", ns=(status.st_atime_ns, status.st_mtime_ns))
        assert NewPhotos(folder).listing() != before

    def test_a_photo_that_grows_while_it_is_read(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(folder, {"a.jpg": b"x" * 10})
        status = os.fstat

        def grown(number: int) -> os.stat_result:
            found = status(number)
            (folder / "a.jpg").write_bytes(b"x" * 1000)
            return found

        monkeypatch.setattr(os, "fstat", grown)
        assert len(NewPhotos(folder).read("a.jpg", 20)[1]) == 20

    def test_a_link_that_leads_out(self, folder: Path) -> None:
        write(folder.parent, {"out/secret.jpg": photo(), "new/a.jpg": photo()})
        (folder / "link.jpg").symlink_to("../out/secret.jpg")
        (folder / "linked").symlink_to("../out")
        photos = NewPhotos.at(str(folder))
        assert refused(photos) == {"link.jpg": "unsafe_path", "linked": "unsafe_path"}
        assert list(photos.listing()) == ["a.jpg", "link.jpg", "linked"]
        for name in (
            "link.jpg",
            "linked/secret.jpg",
            "../out/secret.jpg",
            str(folder.parent / "out/secret.jpg"),
        ):
            with pytest.raises(Rejected, match="unsafe_path"):
                photos.read(name, LIMIT)

    def test_a_link_that_stays_inside(self, folder: Path) -> None:
        write(folder, {"x/a.jpg": photo()})
        (folder / "link.jpg").symlink_to("x/a.jpg")
        (folder / "y").symlink_to("x")
        photos = NewPhotos.at(str(folder))
        # What lies below a linked folder is found once, where it is.
        assert list(photos.listing()) == ["link.jpg", "x/a.jpg"]
        assert photos.read("link.jpg", LIMIT)[1] == photo()

    def test_links_to_nowhere_and_in_a_circle(self, folder: Path) -> None:
        (folder / "gone.jpg").symlink_to("nowhere.jpg")
        (folder / "round.jpg").symlink_to("round.jpg")
        photos = NewPhotos.at(str(folder))
        assert refused(photos) == {"gone.jpg": "unreadable", "round.jpg": "unreadable"}
        for name in refused(photos):
            with pytest.raises(Rejected, match="unreadable"):
                photos.read(name, LIMIT)

    def test_what_is_no_file_is_not_waited_for(self, folder: Path) -> None:
        os.mkfifo(folder / "pipe.jpg")
        (folder / "folder.jpg").mkdir()
        photos = NewPhotos.at(str(folder))
        assert list(photos.listing()) == ["pipe.jpg"]
        for name in ("pipe.jpg", "folder.jpg", "gone.jpg"):
            with pytest.raises(Rejected, match="unreadable"):
                photos.read(name, LIMIT)

    def test_too_many_bytes(self, folder: Path) -> None:
        write(folder, {"a.jpg": photo()})
        photos = NewPhotos.at(str(folder))
        assert photos.read("a.jpg", len(photo()))[1] == photo()
        with pytest.raises(Rejected, match="too_large") as caught:
            photos.read("a.jpg", len(photo()) - 1)
        assert caught.value.detail == f"{len(photo()):,} bytes; max_bytes is {len(photo()) - 1:,}"
