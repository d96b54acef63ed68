"""Files of long work: one writer, no half lines, whole or as before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lng_kedro.files import cut_half_line, held, write_whole


class TestHeld:
    def test_by_one_at_a_time(self, tmp_path: Path) -> None:
        with held(tmp_path / "a", RuntimeError("busy")) as file:
            file.write("kept")
            with pytest.raises(RuntimeError, match="busy"), held(tmp_path / "a", RuntimeError("busy")):
                pass
        with held(tmp_path / "a", RuntimeError("busy")) as file:
            file.seek(0)
            assert file.read() == "kept"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b""),
        (b"a\n", b"a\n"),
        (b"a\nb", b"a\n"),
        (b"half", b""),
        (b"a\n" + b"x" * 200_000, b"a\n"),
        (b"x" * 200_000, b""),
        (b"a\n" * 70_000 + b"b", b"a\n" * 70_000),
        (b"a" * (2**16 - 1) + b"\n" + b"b" * 2**16, b"a" * (2**16 - 1) + b"\n"),
    ],
)
def test_half_a_line_is_cut_off(tmp_path: Path, before: bytes, after: bytes) -> None:
    (tmp_path / "a").write_bytes(before)
    cut_half_line(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == after


def test_a_file_that_is_not_there_has_no_half_line(tmp_path: Path) -> None:
    cut_half_line(tmp_path / "a")
    assert not (tmp_path / "a").exists()


class TestWhole:
    def test_what_is_cut_off_leaves_the_file_as_it_was(self, tmp_path: Path) -> None:
        def pieces() -> Iterator[str]:
            yield "half"
            raise OSError("disk full")

        write_whole(tmp_path / "x/a", ["first\r\n", "second"])
        with pytest.raises(OSError, match="disk full"):
            write_whole(tmp_path / "x/a", pieces())
        assert (tmp_path / "x/a").read_bytes() == b"first\r\nsecond"
        write_whole(tmp_path / "x/a", ["third"])
        assert [path.name for path in (tmp_path / "x").iterdir()] == ["a"]

    def test_the_longest_name(self, tmp_path: Path) -> None:
        write_whole(tmp_path / ("a" * 255), ["x"])
        assert (tmp_path / ("a" * 255)).read_text() == "x"
