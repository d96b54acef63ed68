"""New photos: found below a folder or by a pattern, and read without ever leaving that folder."""

import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from glob import escape
from pathlib import Path, PurePosixPath

from lng_kedro.aihub.folder import HIDDEN, OTHER_PHOTO_SUFFIXES, PHOTO_SUFFIXES, composed, is_utf8
from lng_kedro.quarantine import Rejected

_WILD = frozenset("*?[")
_OUTSIDE = "a link that leads out of the folder of photos"


@dataclass(frozen=True)
class NewPhotos:
    """A folder of photos, all of it or those of a pattern.

    A photo is named by its path below `root`, with forward slashes.

    Attributes:
        root: an absolute path without links.
        pattern: parts of a path below `root`, as a shell writes them, ``**`` for any folders; None for all.
    """

    root: Path
    pattern: tuple[str, ...] | None = None

    @classmethod
    def at(cls, place: str) -> "NewPhotos":
        """The photos of a folder, of a pattern such as ``new/**/*.jpg``, or a single one.

        Korean names are found in whichever form of Unicode a file system keeps them.

        Raises:
            ValueError: there is no such folder or photo, its path is not UTF-8, or the pattern leads out of
                its own folder.
        """
        if found := _existing(Path(place)):
            root = found.resolve()
            if root.is_dir():
                return cls(_named(root))
            return cls(_named(root.parent), (escape(composed(root.name)),))
        parts = Path(place).parts
        fixed = next((i for i, part in enumerate(parts) if _WILD & set(part)), None)
        folder = None if fixed is None else _existing(Path(*parts[:fixed]))
        if folder is None or not folder.is_dir():
            raise ValueError(f"there is no folder {place if fixed is None else Path(*parts[:fixed])}")
        if ".." in parts[fixed:]:
            raise ValueError(f"'..' after a wildcard leads out of {folder}")
        return cls(_named(folder.resolve()), tuple(map(composed, parts[fixed:])))

    def listing(self) -> dict[str, str | Rejected]:
        """Each photo by name, and its fingerprint or why it cannot be one; hidden files are passed over."""
        found = dict(self._walk())
        return {name: found[name] for name in sorted(found, key=name_order)}

    def are_any(self) -> bool:
        """Whether a listing would hold anything; it ends at the first."""
        return next(self._walk(), None) is not None

    def read(self, photo: str, max_bytes: int) -> tuple[str, bytes]:
        """Fingerprint and content of one photo.

        Args:
            photo: its name, which need not come from `listing`.
            max_bytes: of its file.

        Raises:
            Rejected: `unsafe_path`, `unreadable` or `too_large`.
        """
        try:
            path = os.path.realpath(self.root / photo, strict=True)
            if not Path(path).is_relative_to(self.root):
                raise Rejected("unsafe_path", _OUTSIDE)
            # Without waiting for whatever else may have taken the photo's name, a pipe for one.
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as file:  # noqa: PTH123
                status = os.fstat(file.fileno())
                if not stat.S_ISREG(status.st_mode):
                    raise Rejected("unreadable", "is no file")
                if status.st_size > max_bytes:
                    raise Rejected("too_large", f"{status.st_size:,} bytes; max_bytes is {max_bytes:,}")
                return _fingerprint(status), file.read(max_bytes)
        except OSError as error:
            raise _unreadable(error) from error

    def _walk(self) -> Iterator[tuple[str, str | Rejected]]:
        unreadable: list[OSError] = []
        for folder, names, files in os.walk(self.root, onerror=unreadable.append):
            below = Path(folder).relative_to(self.root)
            names[:] = [n for n in names if not HIDDEN.search(n) and self._may_lead(below / _shown(n))]
            files = [n for n in files if not HIDDEN.search(n) and self._is_wanted(below / _shown(n))]
            for name in (*names, *files):
                if not is_utf8(name):
                    detail = "its name is not UTF-8, shown as cp949: convmv -f cp949 -t utf-8 renames it"
                    yield (below / _shown(name)).as_posix(), Rejected("file_name", detail)
            names[:] = filter(is_utf8, names)
            # Links to folders are not followed; what lies below this one is found where it is.
            for name in filter(partial(self._leads_out, below), names):
                yield (below / name).as_posix(), Rejected("unsafe_path", _OUTSIDE)
            for name in filter(is_utf8, files):
                yield from self._look_at((below / name).as_posix())
        for error in unreadable:
            yield Path(error.filename).relative_to(self.root).as_posix(), _unreadable(error)

    def _is_wanted(self, path: Path) -> bool:
        return self.pattern is None or _matches(_parts(path), self.pattern)

    def _may_lead(self, folder: Path) -> bool:
        """Whether something below this folder may be wanted."""
        return self.pattern is None or _begins(_parts(folder), self.pattern)

    def _leads_out(self, below: Path, name: str) -> bool:
        path = self.root / below / name
        return path.is_symlink() and not Path(os.path.realpath(path)).is_relative_to(self.root)

    def _look_at(self, path: str) -> Iterator[tuple[str, str | Rejected]]:
        kind = path.lower()
        if kind.endswith(".zip"):
            yield path, Rejected("archive", "photos in a zip are not looked at: unpack it")
        elif kind.endswith(OTHER_PHOTO_SUFFIXES):
            yield (
                path,
                Rejected("unreadable", "of a kind that is not read: convert it to JPEG or PNG"),
            )
        elif kind.endswith(PHOTO_SUFFIXES):
            below, _, name = path.rpartition("/")
            if self._leads_out(Path(below), name):
                yield path, Rejected("unsafe_path", _OUTSIDE)
                return
            try:
                yield path, _fingerprint((self.root / path).stat())
            except OSError as error:
                yield path, _unreadable(error)


def name_order(photo: str) -> tuple[str, str]:
    """Orders names the same whichever form of Unicode a file system gives."""
    return composed(photo), photo


def _existing(path: Path) -> Path | None:
    forms = (str(path), unicodedata.normalize("NFC", str(path)), unicodedata.normalize("NFD", str(path)))
    return next((Path(form) for form in forms if Path(form).exists()), None)


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return any(_matches(parts[i:], pattern[1:]) for i in range(len(parts) + 1))
    return bool(parts) and fnmatchcase(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _begins(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Whether a longer path that begins with these parts may match."""
    if not parts or not pattern or pattern[0] == "**":
        return bool(pattern)
    return fnmatchcase(parts[0], pattern[0]) and _begins(parts[1:], pattern[1:])


def _parts(path: Path) -> tuple[str, ...]:
    return PurePosixPath(composed(path.as_posix())).parts


def _named(root: Path) -> Path:
    if is_utf8(str(root)):
        return root
    raise ValueError(
        f"the path of the folder {_shown(str(root))} (shown as cp949) is not UTF-8, and no report could name "
        "it: convmv -f cp949 -t utf-8 renames it"
    )


def _shown(name: str) -> str:
    """A name as it is, or as Windows wrote it in Korean."""
    return name if is_utf8(name) else os.fsencode(name).decode("cp949", "replace")


def _fingerprint(status: os.stat_result) -> str:
    # The last cannot be set back: exiftool -P turns a photo and keeps size and time.
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"


def _unreadable(error: OSError) -> Rejected:
    return Rejected("unreadable", f"cannot be read: {error.strerror}")
