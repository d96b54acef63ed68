"""Reports on disk while they are made: what was cut off goes on, and no photo is asked about twice."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple

from lng_kedro.files import cut_half_line, held, write_whole
from lng_kedro.inspection.engine import InspectionStopped
from lng_kedro.inspection.photos import name_order
from lng_kedro.inspection.record import MadeBy, PhotoReport

logger = logging.getLogger(__name__)

SOURCE = "photos.json"
"""File beside the reports that says of which folder's photos they are, and is held by who writes them."""

LONGEST_NAME = 255
"""Bytes of a file's name."""


@dataclass(frozen=True)
class Reports:
    """Reports of one folder of photos: one line a photo, sorted by name once a command has come to its end.

    Attributes:
        path: of the file of lines, which need not exist.
    """

    path: Path

    @property
    def photos(self) -> Path:
        """Folder of the photos that they are of.

        Raises:
            FileNotFoundError: no photo was ever reported here.
        """
        said = json.loads(self.path.with_name(SOURCE).read_text(encoding="utf-8"))
        return Path(said["photos"])

    @property
    def files(self) -> Path:
        """Folder of a file a photo."""
        return self.path.with_suffix("")

    def __iter__(self) -> Iterator[PhotoReport]:
        """The reports, one at a time; half a line at the end, of a command at work or killed, is none."""
        if self.path.is_file():
            with self.path.open("rb") as lines:
                yield from (PhotoReport.model_validate_json(line) for line in lines if line.endswith(b"\n"))

    @contextmanager
    def writing(self, photos: Path) -> Iterator["ReportJournal"]:
        """The journal that adds to them, for one command at a time.

        Args:
            photos: the folder of photos.

        Raises:
            InspectionStopped: another command is at it, or the reports are of another folder.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        source = self.path.with_name(SOURCE)
        busy = InspectionStopped(f"Another command is writing reports to {self.path.parent}.")
        with held(source, busy) as file:
            file.seek(0)
            said = file.read()
            if not said.endswith("\n"):
                file.truncate(0)
                file.write(json.dumps({"photos": str(photos)}, ensure_ascii=False) + "\n")
                file.flush()
            elif (known := json.loads(said)["photos"]) != str(photos):
                raise InspectionStopped(
                    f"{self.path.parent} holds reports of the photos in {known}; those of {photos} need "
                    f"another place: --params reports=PATH. If the folder was only moved, say so in {source}."
                )
            cut_half_line(self.path)
            with self.path.open("a+b") as lines:
                yield ReportJournal(self, lines)


class Known(NamedTuple):
    """What the journal knows of a photo without its report.

    Attributes:
        place: where its last line begins in the file.
        fingerprint: of its file.
        made_by: who made the report.
        error: None, or why there is none.
    """

    place: int
    fingerprint: str
    made_by: MadeBy
    error: dict[str, str] | None


@dataclass
class ReportJournal:
    """Reports that are being written; the last line of a photo counts."""

    reports: Reports
    lines: BinaryIO
    _known: dict[str, Known] = field(default_factory=dict)
    _makers: dict[MadeBy, MadeBy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reads what is there; little of each report is kept: memory must not grow with their texts."""
        unreadable = place = 0
        self.lines.seek(0)
        for line in self.lines:
            try:
                self._note(place, PhotoReport.model_validate_json(line))
            except ValueError:  # a power cut may leave anything there, another version other keys
                unreadable += 1
            place += len(line)
        if unreadable:
            said = "%s: %d lines cannot be read; their photos are asked about again."
            logger.warning(said, self.reports.path, unreadable)

    @property
    def names(self) -> frozenset[str]:
        """Photos that have a report."""
        return frozenset(self._known)

    def is_current(self, photo: str, fingerprint: str, made_by: MadeBy) -> bool:
        """Whether a photo's report is still that of its file, its model and its question, and no error."""
        known = self._known.get(photo)
        return known is not None and known[1:] == (fingerprint, made_by, None)

    def add(self, report: PhotoReport) -> None:
        """Keeps a report in place of the photo's last; an error that is the same as before is there."""
        known = self._known.get(report.photo)
        if report.error and known and known[1:] == (report.fingerprint, report.made_by, report.error):
            return
        place = self.lines.seek(0, 2)
        self.lines.write(report.model_dump_json().encode() + b"\n")
        self.lines.flush()
        self._note(place, report)

    def finish(self) -> None:
        """Leaves one line a photo, sorted by name, and beside them a file a photo."""
        write_whole(self.reports.path, (line.decode() for line in self._sorted()))
        self._write_files()

    def _write_files(self) -> None:
        """A file a photo, written where it says something new; those of photos without a line go."""
        folder = self.reports.files
        wanted = set()
        for line in self._sorted():
            report = PhotoReport.model_validate_json(line)
            path = folder / file_name(report.photo)
            wanted.add(path)
            text = report.model_dump_json(indent=1) + "\n"
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                write_whole(path, [text])
        for path in set(folder.rglob("*.json")) - wanted:
            with suppress(ValueError):  # it is somebody else's
                PhotoReport.model_validate_json(path.read_bytes())
                path.unlink()

    def _note(self, place: int, report: PhotoReport) -> None:
        made_by = self._makers.setdefault(report.made_by, report.made_by)
        self._known[report.photo] = Known(place, report.fingerprint, made_by, report.error)

    def _sorted(self) -> Iterator[bytes]:
        for name in sorted(self._known, key=name_order):
            self.lines.seek(self._known[name].place)
            yield self.lines.readline()


def file_name(photo: str) -> str:
    """A photo's own file below the folder of files: its name with ``.json``, or a hash if too long."""
    folder, slash, name = photo.rpartition("/")
    if len(name.encode()) + len(".json") > LONGEST_NAME:
        name = sha256(name.encode()).hexdigest()
    return f"{folder}{slash}{name}.json"
