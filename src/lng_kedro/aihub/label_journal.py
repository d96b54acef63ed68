"""What the labels of a raw dataset said when they were read, so that none is read again for nothing."""

from functools import partial
from hashlib import sha256
from pathlib import Path

import pandas as pd

import lng_kedro
from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.files import make_whole

Labels = tuple[pd.DataFrame, pd.DataFrame]
"""Manifest and quarantine (see `index.index_labels`)."""


class LabelJournal:
    """Both tables of the last reading, under a key of all that decided them.

    They are found by their key alone: whatever else lies there is as good as nothing.
    """

    def __init__(self, folder: Path) -> None:
        """Takes a folder, which need not exist."""
        self.folder = folder

    def read(self, key: str) -> Labels | None:
        """What labels said under this key (see `key_of`); None where that is not known."""
        try:
            manifest, quarantine = map(pd.read_parquet, self._paths(key))
        except (OSError, ValueError):  # not there, or what a power cut left of it
            return None
        return manifest, quarantine

    def keep(self, key: str, labels: Labels) -> None:
        """Puts tables in the place of those kept before; none of files that may be readable the next time."""
        _, quarantine = labels
        if (quarantine["reason"] == "unreadable").any():
            return
        for old in [*self.folder.glob("*.parquet"), *self.folder.glob("*.part")]:  # of a write cut off, too
            old.unlink()
        for path, table in zip(self._paths(key), labels, strict=True):
            make_whole(path, partial(table.to_parquet, index=False))

    def _paths(self, key: str) -> list[Path]:
        return [self.folder / f"{key}.{name}.parquet" for name in ("manifest", "quarantine")]


def key_of(raw: AIHubFolder, reader: LabelReader) -> str:
    """Stands for all that decides what labels say: the files, the taxonomy, the settings and this package."""
    code = sorted(Path(lng_kedro.__file__).parent.rglob("*.py"))
    said = [raw.state(), reader.taxonomy.model_dump_json(), str(reader.skip_boxless), str(reader.clip_boxes)]
    parts = [*map(Path.read_bytes, code), *map(str.encode, said)]
    return sha256(b"".join(sha256(part).digest() for part in parts)).hexdigest()
