"""Raw photos -> processed photos, each decoded once."""

import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import ExifTags, Image

from lng_kedro.aihub import photos
from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.photos import PhotoProcessor, PhotoSettings
from lng_kedro.compute import Processes
from lng_kedro.imaging import ProcessedPhoto, process_photo
from lng_kedro.photo_journal import Outcome, PhotoFacts, PhotoJournal
from lng_kedro.quarantine import Rejected
from tests.raw import scene, write

SETTINGS = PhotoSettings(64, 90, 1_000_000)


def turned(orientation: int) -> bytes:
    """200 x 100 pixels as stored."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return scene(3, exif=exif)


def processor(
    root: Path, sizes: Mapping[str, tuple[int, int]], folder: str = "photos", **changes: Any
) -> PhotoProcessor:
    rows = [(name, f"{name}.jpg", *size) for name, size in sizes.items()]
    stated = pd.DataFrame(rows, columns=["photo_id", "photo", "width", "height"])
    given: dict[str, Any] = {
        "raw": AIHubFolder(root / "raw"),
        "stated": stated,
        "journal": PhotoJournal(root / folder / "journal.jsonl"),
        "settings": SETTINGS,
        "compute": Processes(engine="processes", workers=1),
        "max_rejected_share": 1.0,
    }
    return PhotoProcessor(**given | changes)


def spoil(path: Path) -> None:
    """Other bytes, which no photo is made of, behind the same fingerprint."""
    status = path.stat()
    path.write_bytes(b"x" * status.st_size)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def codes(outcomes: Sequence[Outcome]) -> list[str]:
    return [o.reason if isinstance(o, Rejected) else "" for o in outcomes]


def test_facts_of_a_photo(tmp_path: Path) -> None:
    write(tmp_path / "raw", {"a.jpg": turned(6)})
    found = processor(tmp_path, {"a": (200, 100)})
    (facts,) = found.look(["a"])
    assert isinstance(facts, PhotoFacts)
    assert (facts.width, facts.height, facts.orientation) == (200, 100, 6)
    assert facts.sha256 == sha256(turned(6)).hexdigest()
    assert len(facts.dhash) == 64
    assert found.journal.folder.load("a").size == (64, 64)
    assert found.journal.folder.path("a").stat().st_size == facts.size


@pytest.mark.parametrize(
    ("orientation", "stated", "expected"),
    [
        (1, (200, 100), ""),
        (1, (100, 200), "size_mismatch"),
        (1, (200, 101), "size_mismatch"),
        (3, (100, 200), "size_mismatch"),  # half a turn leaves a photo as wide as it is
        (6, (200, 100), ""),
        (6, (100, 200), ""),
        (6, (200, 200), "size_mismatch"),
    ],
)
def test_a_label_states_the_stored_or_the_upright_size(
    tmp_path: Path, orientation: int, stated: tuple[int, int], expected: str
) -> None:
    write(tmp_path / "raw", {"a.jpg": turned(orientation)})
    (outcome,) = processor(tmp_path, {"a": stated}).look(["a"])
    assert codes([outcome]) == [expected]
    if isinstance(outcome, Rejected):
        width, height = stated
        assert outcome.detail == f"the label says {width} x {height}, the photo is 200 x 100"


def test_photos_are_looked_up_among_those_of_several_objects_in_any_order(tmp_path: Path) -> None:
    write(tmp_path / "raw", {"a.jpg": scene(1), "b.jpg": scene(2, 50, 40), "c.jpg": scene(3)})
    rows = [("b", "b.jpg", 50, 40), ("c", "c.jpg", 9, 9), ("a", "a.jpg", 200, 100), ("b", "b.jpg", 50, 40)]
    stated = pd.DataFrame(rows, columns=["photo_id", "photo", "width", "height"])
    seen = processor(tmp_path, {}, stated=stated)
    assert codes(seen.look(["a", "b"])) == ["", ""]
    assert codes(seen.look(["c", "b", "a"])) == ["size_mismatch", "", ""]
    assert [seen.locator(photo_id) for photo_id in "cab"] == ["c.jpg", "a.jpg", "b.jpg"]


BROKEN = {
    "empty": b"",
    "unreadable": b"no photo",
    "truncated": scene(1)[:-700],
    "too_large": scene(2, 1001, 1000),
}


def test_what_cannot_be_used_keeps_its_reason(tmp_path: Path) -> None:
    write(tmp_path / "raw", {f"{name}.jpg": content for name, content in BROKEN.items()})
    sizes = dict.fromkeys(BROKEN, (200, 100)) | {"too_large": (1001, 1000), "gone": (200, 100)}
    for _ in range(2):  # processed, and from the journal
        outcomes = processor(tmp_path, sizes).look([*BROKEN, "gone"])
        assert codes(outcomes) == [*BROKEN, "unreadable"]
    # One that is too large is not kept: another limit may let it pass.
    assert len((tmp_path / "photos/journal.jsonl").read_bytes().splitlines()) == 3
    # What could not be read may be there the next time.
    write(tmp_path / "raw", {"gone.jpg": scene(5)})
    assert codes(processor(tmp_path, sizes).look(["gone"])) == [""]


def test_what_is_finished_is_not_decoded_again(tmp_path: Path) -> None:
    write(tmp_path / "raw", {f"{k}.jpg": scene(k) for k in range(4)} | {"bad.jpg": b"no photo"})
    sizes = dict.fromkeys([*"0123", "bad"], (200, 100))
    first = processor(tmp_path, sizes).look([*"012", "bad"])
    for file in ("0.jpg", "1.jpg"):
        spoil(tmp_path / "raw" / file)
    again = processor(tmp_path, sizes)
    found = again.look([*"0123", "bad"])
    assert found[:3] == first[:3]
    assert codes(found) == [""] * 4 + ["unreadable"]
    assert again.look(["1", "bad"]) == [found[1], found[4]]


def test_a_changed_photo_or_another_quality_is_done_again(tmp_path: Path) -> None:
    write(tmp_path / "raw", {"a.jpg": scene(1), "b.jpg": scene(2)})
    sizes = dict.fromkeys("ab", (200, 100))
    path = processor(tmp_path, sizes).journal.folder.path
    first = processor(tmp_path, sizes).look("ab")
    before = path("b").read_bytes()
    write(tmp_path / "raw", {"b.jpg": scene(3)})
    changed = processor(tmp_path, sizes).look("ab")
    assert changed[0] == first[0]
    assert isinstance(changed[1], PhotoFacts)
    assert changed[1].sha256 == sha256(scene(3)).hexdigest()
    assert path("b").read_bytes() != before
    smaller = processor(tmp_path, sizes, settings=SETTINGS._replace(quality=40)).look("ab")
    assert [o.size < c.size for o, c in zip(smaller, changed, strict=True)] == [True, True]  # type: ignore[union-attr]
    # And back: what lies in the folder decides.
    assert processor(tmp_path, sizes).look("ab") == changed
    assert path("a").stat().st_size == changed[0].size  # type: ignore[union-attr]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the raw photos that are decoded."""
    sizes: list[int] = []

    def process(content: bytes, *settings: int) -> ProcessedPhoto:
        sizes.append(len(content))
        return process_photo(content, *settings)

    monkeypatch.setattr(photos, "process_photo", process)
    return sizes


def test_the_same_content_is_not_decoded_again(tmp_path: Path, decoded: list[int]) -> None:
    write(tmp_path / "raw", {"a.jpg": scene(1), "bad.jpg": b"no photo"})
    sizes = dict.fromkeys(["a", "bad"], (200, 100))
    first = processor(tmp_path, sizes).look(["a", "bad"])
    assert len(decoded) == 2
    for k in range(2):  # touched, and known as such the next time
        for file in ("a.jpg", "bad.jpg"):
            os.utime(tmp_path / "raw" / file, ns=(0, 10**9))
        again = processor(tmp_path, sizes).look(["a", "bad"])
        assert (again[0], codes(again)) == (first[0], ["", "unreadable"])
        assert len(processor(tmp_path, sizes).journal.path.read_bytes().splitlines()) == 4, k
    assert len(decoded) == 2


def test_another_limit_of_pixels_decodes_nothing_that_was_decoded(tmp_path: Path, decoded: list[int]) -> None:
    write(tmp_path / "raw", {"a.jpg": scene(1), "large.jpg": scene(2, 400, 300)})
    sizes = {"a": (200, 100), "large": (400, 300)}
    low, high = SETTINGS._replace(max_pixels=100_000), SETTINGS._replace(max_pixels=120_000)
    assert codes(processor(tmp_path, sizes, settings=low).look(["a", "large"])) == ["", "too_large"]
    assert codes(processor(tmp_path, sizes, settings=high).look(["a", "large"])) == ["", ""]
    assert decoded == [len(scene(1)), len(scene(2, 400, 300)), len(scene(2, 400, 300))]
    (_, refused) = processor(tmp_path, sizes, settings=low).look(["a", "large"])
    assert isinstance(refused, Rejected)
    assert (refused.reason, refused.detail) == ("too_large", "400 x 300 pixels; max_pixels is 100000")
    assert len(decoded) == 3


def test_processes_change_nothing(tmp_path: Path) -> None:
    names = [f"p{k}" for k in range(6)]
    write(tmp_path / "raw", {f"{name}.jpg": scene(k) for k, name in enumerate(names)})
    sizes = dict.fromkeys(names, (200, 100))
    one = processor(tmp_path, sizes, "one").look(names)
    two = processor(tmp_path, sizes, "two", compute=Processes(engine="processes", workers=2)).look(names)
    assert one == two
    ours, theirs = (
        {p.name: p.read_bytes() for p in (tmp_path / folder).iterdir()} for folder in ("one", "two")
    )
    assert ours == theirs
    assert len(ours) == 7


def test_too_many_that_cannot_be_used_stop_the_run(tmp_path: Path) -> None:
    write(tmp_path / "raw", {f"{k}.jpg": scene(k) for k in range(8)} | {"8.jpg": b"", "9.jpg": b"?"})
    sizes = {str(k): (200, 100) for k in range(10)} | {"7": (100, 100)}
    names = list(sizes)
    assert len(processor(tmp_path, sizes, max_rejected_share=0.3).look(names)) == 10
    expected = (
        r"3 of 10 photos that were looked at cannot be used, more than max_rejected_share=0\.2 allows.*"
        r"size_mismatch, 1 times: .*\n  7\.jpg: the label says 100 x 100, the photo is 200 x 100\n"
    )
    with pytest.raises(ValueError, match=f"(?s){expected}"):
        processor(tmp_path, sizes, max_rejected_share=0.2).look(names)
