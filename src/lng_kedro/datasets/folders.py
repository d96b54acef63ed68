"""Folders that are there whole or not at all."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def new_folder(place: Path) -> Iterator[str]:
    """A path beside `place` to write a folder to; it takes its place when it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        yield f"{folder}/new"
        if place.exists():
            place.replace(f"{folder}/old")
        Path(folder, "new").replace(place)
