"""The raw dataset as it lies on disk: zips and folders of photos and label files, read in place."""

import lzma
import os
import re
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from lng_kedro.quarantine import Rejected
from lng_kedro.reviewed import REVIEWED

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png")
OTHER_PHOTO_SUFFIXES = (".webp", ".bmp", ".tif", ".tiff", ".gif", ".heic", ".heif", ".avif")
LARGEST_PHOTO, LARGEST_LABEL = 2**28, 2**30
"""Bytes of a file that is read; a few kilobytes in a zip can unpack to more than the memory holds."""

HIDDEN = re.compile(r"(^|[/\\])(\.[^/\\.]|__MACOSX([/\\]|$))")
"""In a path that leads to or through what is no data: Unix's dot files, and what macOS adds to zips."""

_IN_ZIP = re.compile(r"(?<=\.zip)!/", re.IGNORECASE)
_UNSAFE = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")
_OTHER_ARCHIVE = re.compile(r"\.(part\d+|z\d+|zip\.\d+|tar|tgz|gz|7z|rar|alz|egg)$", re.IGNORECASE)
_ENCRYPTED = 0x1
"""Flag of a zip's member."""

# What a zip and its members raise where they are broken, encrypted, or packed in a way unknown here.
_BROKEN = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError)


@dataclass
class Listing:
    """What a raw folder holds: locators of its files, and quarantine rows of what cannot be opened."""

    photos: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)

    def add(self, locator: str) -> None:
        """Takes a file in if it is a photo or a label file; a photo that is not read is refused."""
        name = locator.lower()
        if name.endswith(".json"):
            self.labels.append(locator)
        elif name.endswith(PHOTO_SUFFIXES):
            self.photos.append(locator)
        elif name.endswith(OTHER_PHOTO_SUFFIXES):
            self.refuse(
                "unreadable", "a photo of a kind that is not read: convert it to JPEG or PNG", locator
            )

    def refuse(self, reason: str, detail: str, file: str) -> None:
        """Takes note of a file that cannot be used."""
        self.problems.append(Rejected(reason, detail).row(file))

    def put_first(self, other: "Listing") -> None:
        """Takes in, before its own files, those of the corrected photos, by their locators here."""
        self.photos = [REVIEWED + locator for locator in other.photos] + self.photos
        self.labels = [REVIEWED + locator for locator in other.labels] + self.labels
        self.problems = [row | {"file": REVIEWED + row["file"]} for row in other.problems] + self.problems

    def sort(self) -> "Listing":
        """Orders everything by name, the same whichever form of Unicode a file system gives."""
        for locators in (self.photos, self.labels):
            locators.sort(key=lambda locator: (composed(locator), locator))
        self.problems.sort(key=lambda row: row["file"])
        return self


@dataclass(frozen=True)
class AIHubFolder:
    """A downloaded (or rendered) raw dataset.

    A file is named by its locator: its path below `root`, with ``archive.zip!/member`` for what lies
    inside a zip. Zips are never unpacked. Links to folders are followed, each folder is visited once.

    Attributes:
        root: the folder.
        reviewed: another one, of corrected photos; their locators begin with `REVIEWED`.
    """

    root: Path
    reviewed: Path | None = None

    def listing(self) -> Listing:
        """Everything that the folder holds, corrected photos first, nothing where there is no folder.

        Hidden files and other kinds of files are passed over.
        """
        listing = Listing()
        for path in self._files(listing):
            if path.lower().endswith(".zip"):
                self._list_zip(path, listing)
            elif _OTHER_ARCHIVE.search(path):
                listing.refuse("archive", "put its parts together, or unpack it", path)
            else:
                listing.add(path)
        listing.sort()
        if self.reviewed:
            listing.put_first(AIHubFolder(self.reviewed).listing())
        return listing

    def digest(self) -> str | None:
        """Stands for the names of all its files and what its label files say; None where there is none."""
        listing = self.listing()
        if listing == Listing():
            return None
        digest = sha256(repr(listing).encode())
        for label in listing.labels:
            with suppress(Rejected):
                digest.update(sha256(self.read(label)).digest())
        return f"{len(listing.photos)} photos ({digest.hexdigest()[:12]})"

    def read(self, locator: str) -> bytes:
        """The bytes of one file.

        Raises:
            Rejected: the file cannot be read (`unreadable`), is larger than any photo or label
                (`too_large`), or its zip or its part of the zip is broken (`archive`).
        """
        path, member = self._place(locator)
        with _rejecting():
            status = path.stat()
            if not member:
                _check_size(locator, status.st_size)
                return path.read_bytes()
            archive = _archive(path, status.st_mtime_ns)
            size = archive.getinfo(member).file_size
            _check_size(locator, size)
            with archive.open(member) as file:
                return file.read(size)  # no more is unpacked, whatever size is true

    def fingerprint(self, locator: str) -> str:
        """Changes when the file changes, and is told without reading the file.

        Checksum and size from the zip's directory; size and time of change of a plain file.

        Raises:
            Rejected: as `read` does.
        """
        path, member = self._place(locator)
        with _rejecting():
            status = path.stat()
            if not member:
                return f"{status.st_size}-{status.st_mtime_ns}"
            info = _archive(path, status.st_mtime_ns).getinfo(member)
            return f"{info.CRC:08x}-{info.file_size}"

    def state(self) -> str:
        """Changes when a file comes, goes or is renamed, and when a zip or a label may hold something else.

        Told without opening a file: by size and times of change. Of photos, the names alone count.
        """
        listing = Listing()
        seen = [str(self.root.resolve()), *map(self._seen, self._files(listing))]
        seen += [" ".join(row.values()) for row in listing.problems]
        if self.reviewed and AIHubFolder(self.reviewed).digest():
            seen.append(AIHubFolder(self.reviewed).state())
        return sha256("\n".join(sorted(seen)).encode(errors="surrogateescape")).hexdigest()

    def _seen(self, path: str) -> str:
        if not path.lower().endswith((".zip", ".json")):
            return path
        try:
            status = (self.root / path).stat()
        except OSError:  # a link to nowhere
            return path
        # The second time cannot be set back.
        return f"{path} {status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"

    def _place(self, locator: str) -> tuple[Path, str]:
        root = self.root
        if self.reviewed and locator.startswith(REVIEWED):
            root, locator = self.reviewed, locator.removeprefix(REVIEWED)
        outer, *member = _IN_ZIP.split(locator, maxsplit=1)
        return root / outer, "".join(member)

    def _files(self, listing: Listing) -> Iterator[str]:
        """Paths below the root, if there is one. A link back to a folder visited is no second visit."""
        if not self.root.is_dir():
            return
        seen = {_identity(self.root)}

        def refuse(error: OSError) -> None:
            path = Path(error.filename).relative_to(self.root).as_posix()
            listing.refuse("unreadable", f"cannot be read: {error.strerror}", path)

        for folder, names, files in os.walk(self.root, followlinks=True, onerror=refuse):
            here = Path(folder).relative_to(self.root)
            for name in sorted((*names, *files)):
                if not is_utf8(name):
                    shown = (here / os.fsencode(name).decode("cp949", "replace")).as_posix()
                    detail = "its name is not UTF-8, shown as cp949: convmv -f cp949 -t utf-8 renames it"
                    listing.refuse("file_name", detail, shown)
            names[:] = [n for n in sorted(names) if _is_shown(n) and _is_new(Path(folder, n), seen)]
            yield from ((here / name).as_posix() for name in files if _is_shown(name))

    def _list_zip(self, path: str, listing: Listing) -> None:
        try:
            with _open_zip(self.root / path) as archive:
                members = archive.infolist()
        except (OSError, *_BROKEN) as error:
            reason = "unreadable" if isinstance(error, OSError) else "archive"
            listing.refuse(reason, f"cannot be opened: {error}", path)
            return
        encrypted = sum(info.flag_bits & _ENCRYPTED for info in members)
        if encrypted:
            listing.refuse("archive", f"{encrypted} of its files need a password: unpack it", path)
        counts = Counter(info.filename for info in members if not info.flag_bits & _ENCRYPTED)
        for name, count in counts.items():
            locator = f"{path}!/{name}"
            if _UNSAFE.search(name):
                listing.refuse("unsafe_path", "leads out of the zip", locator)
            elif name.lower().endswith(".zip") or _OTHER_ARCHIVE.search(name):
                listing.refuse("archive", "lies in another archive: unpack the outer one", locator)
            elif not name.endswith("/") and not HIDDEN.search(name):
                listing.add(locator)
                if count > 1:
                    listing.refuse("duplicate", f"{count} times in its zip, the last was taken", locator)


def stem(locator: str) -> str:
    """The file's name without folders, zip and suffix, NFC: what a photo and its label share."""
    name = locator.replace("\\", "/").rpartition("/")[2]
    return composed(name.rpartition(".")[0] or name)


def context(locator: str) -> str:
    """Folder and zip names of a locator, NFC, for what their Korean words tell."""
    return composed(locator.replace("\\", "/").rpartition("/")[0])


def composed(text: str) -> str:
    """A name in NFC: file systems and zips give either form of Unicode."""
    return unicodedata.normalize("NFC", text)


def is_utf8(text: str) -> bool:
    """Whether a table can hold it: bytes that are no UTF-8 reach Python as lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_shown(name: str) -> bool:
    return is_utf8(name) and not HIDDEN.search(name)


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    identity = _identity(folder)
    new = identity not in seen
    seen.add(identity)
    return new


def _check_size(locator: str, size: int) -> None:
    largest = LARGEST_LABEL if locator.lower().endswith(".json") else LARGEST_PHOTO
    if size > largest:
        raise Rejected("too_large", f"{size / 2**20:,.0f} MiB, at most {largest / 2**20:,.0f} are read")


@contextmanager
def _rejecting() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Rejected("unreadable", f"cannot be read: {error.strerror or error}") from error
    except KeyError as error:
        raise Rejected("unreadable", "is not in its zip any more") from error
    except _BROKEN as error:
        raise Rejected("archive", f"cannot be read: {error}") from error


def _open_zip(path: Path) -> zipfile.ZipFile:
    """Names that are not marked as UTF-8 may be UTF-8 all the same, or cp949 as Korean Windows writes."""
    for encoding in ("utf-8", "cp949"):
        with suppress(UnicodeDecodeError):
            return zipfile.ZipFile(path, metadata_encoding=encoding)
    return zipfile.ZipFile(path)


# A zip's directory takes long to read where it has many members: each process keeps it open, until the
# zip is another one.
@lru_cache(maxsize=64)
def _archive(path: Path, modified: int) -> zipfile.ZipFile:  # noqa: ARG001
    return _open_zip(path)
