"""The journal of processed photos."""

from pathlib import Path

from lng_kedro.photo_journal import PhotoFacts, PhotoJournal, key_of
from lng_kedro.quarantine import Rejected

FACTS = PhotoFacts(1920, 1080, 6, "ab" * 32, "cd" * 32, 4)


def journal(tmp_path: Path) -> PhotoJournal:
    return PhotoJournal(tmp_path / "photos/journal.jsonl")


def test_what_was_added_is_known_to_the_next_run(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.add("a", "k", FACTS, b"jpeg")
    first.add("균열", "k", Rejected("truncated", "zu früh"))
    for known in (first, journal(tmp_path)):
        assert known.outcome("a", "k") == FACTS
        refused = known.outcome("균열", "k")
        assert isinstance(refused, Rejected)
        assert (refused.reason, refused.detail) == ("truncated", "zu früh")
        assert known.outcome("b", "k") is None
    assert first.folder.path("a").read_bytes() == b"jpeg"
    assert sorted(p.name for p in (tmp_path / "photos").iterdir()) == ["a.jpg", "journal.jsonl"]


def test_another_raw_file_or_other_settings_are_not_known(tmp_path: Path) -> None:
    keys = {key_of(*of) for of in (("f", 512, 95), ("g", 512, 95), ("f", 512, 80), ("f", 51, 295))}
    assert len(keys) == 4
    first = journal(tmp_path)
    first.add("a", key_of("f", 512, 95), FACTS, b"jpeg")
    first.add("a", key_of("f", 512, 80), FACTS, b"JPEG")
    # The photo that lies there is the last one.
    assert journal(tmp_path).outcome("a", key_of("f", 512, 95)) is None
    assert journal(tmp_path).outcome("a", key_of("f", 512, 80)) == FACTS


def test_a_photo_that_is_gone_or_cut_off_is_not_known(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.add("a", "k", FACTS, b"jpeg")
    first.folder.path("a").write_bytes(b"jp")
    assert journal(tmp_path).outcome("a", "k") is None
    first.folder.path("a").unlink()
    assert journal(tmp_path).outcome("a", "k") is None


def test_a_line_that_was_cut_off_is_dropped(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.add("a", "k", FACTS, b"jpeg")
    first.add("b", "k", FACTS, b"jpeg")
    whole = first.path.read_bytes()
    first.path.write_bytes(whole[:-9])
    second = journal(tmp_path)
    assert second.outcome("a", "k") == FACTS
    assert second.outcome("b", "k") is None
    second.add("b", "k", FACTS, b"jpeg")
    assert first.path.read_bytes() == whole


def test_what_could_not_be_written_does_not_appear(tmp_path: Path) -> None:
    first = journal(tmp_path)
    first.add("a", "old", FACTS, b"jpeg")
    (tmp_path / "photos/.a.part").mkdir()  # stands for a disk that is full
    try:
        first.add("a", "new", FACTS, b"JPEG")
    except OSError:
        pass
    else:
        raise AssertionError
    assert first.folder.path("a").read_bytes() == b"jpeg"
    assert journal(tmp_path).outcome("a", "old") == FACTS
