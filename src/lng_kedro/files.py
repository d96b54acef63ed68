"""Files that long work writes: one command at a time, no half lines, and whole or not at all."""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TextIO


@contextmanager
def held(path: Path, busy: Exception) -> Iterator[TextIO]:
    """A file, to be read and added to by this command alone; made where it is not there.

    Args:
        path: of the file, whose folder exists.
        busy: raised where another command holds it.
    """
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise busy from error
        yield file


def cut_half_line(path: Path) -> None:
    """Cuts off what follows a file's last whole line, as a kill leaves it.

    Args:
        path: of the file, which need not exist.
    """
    if not path.is_file():
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        tail = b""
        while end and b"\n" not in tail:
            start = max(0, end - 2**16)
            file.seek(start)
            tail, end = file.read(end - start), start
        file.truncate(end + tail.rfind(b"\n") + 1)


def write_whole(path: Path, pieces: Iterable[str], encoding: str = "utf-8") -> None:
    """Writes a text file that is there whole or, until then, as it was before.

    Args:
        path: of the file; its folder is made. Its name may be as long as a file system allows.
        pieces: of its text, one after the other.
        encoding: of the file.
    """

    def write(unfinished: Path) -> None:
        with unfinished.open("w", encoding=encoding, newline="") as file:
            file.writelines(pieces)

    make_whole(path, write)


def make_whole(path: Path, make: Callable[[Path], object]) -> None:
    """Makes a file, or a link, that is there whole or, until then, as it was before.

    Args:
        path: of the file; its folder is made. Its name may be as long as a file system allows.
        make: makes it at another path, in the same folder, where nothing is.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{sha256(path.name.encode()).hexdigest()[:32]}.part")
    unfinished.unlink(missing_ok=True)
    make(unfinished)
    unfinished.replace(path)
