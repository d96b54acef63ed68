"""Folders that are there whole or not at all."""

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kedro.io import DatasetError


@contextmanager
def new_folder(place: Path) -> Iterator[str]:
    """A path beside `place` to write a folder to; it takes its place when it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent) as folder:
        yield f"{folder}/new"
        if place.exists():
            place.replace(f"{folder}/old")
        Path(folder, "new").replace(place)


def rendered_folder(folder: Path, recipe: dict[str, Any], write: Callable[[Path], None], option: str) -> None:
    """Renders a folder of files where it is missing or was made by another recipe, which is kept beside it.

    Args:
        folder: where the files are.
        recipe: all that decides their bytes.
        write: renders them into the folder, which is not there then.
        option: runtime parameter that names a folder to read instead.

    Raises:
        DatasetError: what lies there was not rendered.
    """
    file = folder.with_name(f"{folder.name}.recipe.json")
    filled = folder.is_dir() and any(folder.iterdir())
    if filled and file.is_file() and json.loads(file.read_text()) == recipe:
        return
    if file.is_file():  # what lies there was rendered here, by another recipe
        shutil.rmtree(folder, ignore_errors=True)
    elif filled:
        raise DatasetError(
            f"{folder} holds files that were not rendered: read them with --params {option}=PATH, "
            "or move them away."
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(recipe, indent=1))
    write(folder)
