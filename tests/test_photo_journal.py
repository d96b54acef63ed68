"""The journal of processed photos."""

import logging
from pathlib import Path

import pytest

from lng_kedro.photo_journal import Finished, Outcome, PhotoFacts, PhotoJournal, recipe_of
from lng_kedro.quarantine import Rejected

CONTENT = "ab" * 32
FACTS = PhotoFacts(1920, 1080, 6, CONTENT, "cd" * 32, 4)


def journal(tmp_path: Path) -> PhotoJournal:
    return PhotoJournal(tmp_path / "photos/journal.jsonl")


def made(outcome: Outcome = FACTS, fingerprint: str = "f", recipe: str = "r") -> Finished:
    return Finished(fingerprint, recipe, CONTENT, outcome)


def test_what_was_added_is_known_to_the_next_run(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.add("a", made(), b"jpeg")
    first.add("균열", made(Rejected("truncated", "zu früh")))
    for known in (first, journal(tmp_path)):
        assert known.finished("a", "r") == made()
        refused = known.finished("균열", "r")
        assert refused is not None and refused[:3] == ("f", "r", CONTENT)
        assert isinstance(refused.outcome, Rejected)
        assert (refused.outcome.reason, refused.outcome.detail) == ("truncated", "zu früh")
        assert known.finished("b", "r") is None
    assert first.folder.path("a").read_bytes() == b"jpeg"
    assert sorted(p.name for p in (tmp_path / "photos").iterdir()) == ["a.jpg", "journal.jsonl"]


def test_another_recipe_is_not_known(tmp_path: Path) -> None:
    assert len({recipe_of(*settings) for settings in ((512, 95), (512, 80), (51, 295))}) == 3
    first = journal(tmp_path)
    first.add("a", made(recipe=recipe_of(512, 95)), b"jpeg")
    first.add("a", made(recipe=recipe_of(512, 80)), b"JPEG")
    # The photo that lies there is the last one.
    assert journal(tmp_path).finished("a", recipe_of(512, 95)) is None
    assert journal(tmp_path).finished("a", recipe_of(512, 80)) is not None


def test_a_photo_that_is_there_is_kept_under_another_fingerprint(tmp_path: Path) -> None:
    journal(tmp_path).add("a", made(), b"jpeg")
    journal(tmp_path).add("a", made(fingerprint="touched"))
    assert journal(tmp_path).finished("a", "r") == made(fingerprint="touched")
    assert journal(tmp_path).folder.path("a").read_bytes() == b"jpeg"


def test_a_photo_that_is_gone_or_cut_off_is_not_known(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.add("a", made(), b"jpeg")
    first.folder.path("a").write_bytes(b"jp")
    assert journal(tmp_path).finished("a", "r") is None
    first.folder.path("a").unlink()
    assert journal(tmp_path).finished("a", "r") is None


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.add("a", made(), b"jpeg")
    first.add("b", made(), b"jpeg")
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-9])
    second = journal(tmp_path)
    assert second.finished("a", "r") == made()
    assert second.finished("b", "r") is None
    second.add("b", made(), b"jpeg")
    assert first.path.read_bytes() == whole


@pytest.mark.parametrize(
    "line", [b"\0" * 40, b'["b", "k"\xff', b"{}", b"7", b'["b", "k", "", 9, 9, 1, "", "", 4]']
)
def test_a_line_that_cannot_be_read_costs_its_photo_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes
) -> None:
    first = journal(tmp_path)
    for photo_id in "abc":
        first.add(photo_id, made(), b"jpeg")
    lines = first.path.read_bytes().splitlines(keepends=True)
    first.path.write_bytes(lines[0] + line + b"\n" + lines[2])
    with caplog.at_level(logging.WARNING):
        found = journal(tmp_path)
    assert [found.finished(photo_id, "r") for photo_id in "abc"] == [made(), None, made()]
    assert "1 lines cannot be read" in caplog.text
    assert first.path.read_bytes() == lines[0] + lines[2]


def test_a_name_may_be_as_long_as_a_file_system_allows(tmp_path: Path) -> None:
    name = "가" * 83 + "ab"  # 251 bytes, and .jpg
    journal(tmp_path).add(name, made(), b"jpeg")
    assert journal(tmp_path).finished(name, "r") == made()


def test_what_could_not_be_written_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = journal(tmp_path)
    first.add("a", made(recipe="old"), b"jpeg")

    def full(path: Path, data: bytes) -> int:
        with path.open("wb") as file:
            file.write(data[:2])
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="no space"):
            first.add("a", made(recipe="new"), b"JPEG")
    assert first.folder.path("a").read_bytes() == b"jpeg"
    assert journal(tmp_path).finished("a", "old") == made(recipe="old")
