"""The raw dataset as it lies on disk: zips and folders of photos and label files, read in place."""

import unicodedata
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")
_IN_ZIP = "!/"


@dataclass(frozen=True)
class AIHubFolder:
    """A downloaded (or rendered) raw dataset.

    A file is named by its locator: its path below `root`, with ``archive.zip!/member`` for what lies
    inside a zip. Zips are never unpacked.
    """

    root: Path

    def labels(self) -> Iterator[str]:
        """Locators of the label files (JSON), in sorted order."""
        return (locator for locator in self._locators() if locator.lower().endswith(".json"))

    def photos(self) -> Iterator[str]:
        """Locators of the photos, in sorted order."""
        return (locator for locator in self._locators() if locator.lower().endswith(PHOTO_SUFFIXES))

    def read(self, locator: str) -> bytes:
        """The bytes of one file.

        Raises:
            OSError: the file or its zip is gone.
            KeyError: the zip has no such member.
            zipfile.BadZipFile: the zip is broken.
        """
        outer, _, member = locator.partition(_IN_ZIP)
        path = self.root / outer
        return _archive(path, path.stat().st_mtime_ns).read(member) if member else path.read_bytes()

    def _locators(self) -> Iterator[str]:
        for path in sorted(p for p in self.root.rglob("*") if p.is_file()):
            outer = path.relative_to(self.root).as_posix()
            if path.suffix.lower() == ".zip":
                names = sorted(_archive(path, path.stat().st_mtime_ns).namelist())
                yield from (f"{outer}{_IN_ZIP}{name}" for name in names if not name.endswith("/"))
            else:
                yield outer


def stem(locator: str) -> str:
    """The file's name without folders, zip and suffix: what a photo and its label share."""
    return PurePosixPath(locator).stem


def context(locator: str) -> str:
    """Folder and zip names of a locator, NFC, for what their Korean words tell."""
    return unicodedata.normalize("NFC", str(PurePosixPath(locator).parent))


# A zip's directory takes long to read where it has many members: each process keeps it open, until the
# zip is another one.
@lru_cache(maxsize=64)
def _archive(path: Path, modified: int) -> zipfile.ZipFile:  # noqa: ARG001
    return zipfile.ZipFile(path)
