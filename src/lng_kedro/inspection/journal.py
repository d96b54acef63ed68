"""Reports on disk while they are made: what was cut off goes on, and no photo is asked about twice."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, NamedTuple, TextIO

from lng_kedro.files import cut_half_line, held, write_whole
from lng_kedro.inspection.engine import InspectionStopped
from lng_kedro.inspection.photos import name_order
from lng_kedro.inspection.record import MadeBy, PhotoReport
from lng_kedro.taxonomy import Taxonomy

logger = logging.getLogger(__name__)

SOURCE = "photos.json"
"""File beside the reports that says of which folder's photos they are, and is held by who writes them."""

TAXONOMY = "taxonomy.json"
"""File beside the reports with what they may say."""

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
        """The reports, one at a time: of each photo the last line that can be read.

        Half a line at the end, of a command at work or killed, is none.
        """
        if not self.path.is_file():
            return
        with self.path.open("rb") as lines:
            last = {report.photo: place for place, report in _read(lines) if report}
            for place in sorted(last.values()):
                lines.seek(place)
                yield PhotoReport.model_validate_json(lines.readline())

    def keep_taxonomy(self, taxonomy: Taxonomy) -> None:
        """Writes down what the reports may say; whoever reads the first of them can know it."""
        with _writable(self.path.parent):
            write_whole(self.path.with_name(TAXONOMY), [taxonomy.model_dump_json(indent=1)])

    @contextmanager
    def writing(self, photos: Path) -> Iterator["ReportJournal"]:
        """The journal that adds to them, for one command at a time.

        Args:
            photos: the folder of photos.

        Raises:
            InspectionStopped: another command is at it, the reports are of another folder, or nothing can be
                written there.
        """
        source = self.path.with_name(SOURCE)
        busy = InspectionStopped(f"Another command is writing reports to {self.path.parent}.")
        with ExitStack() as stack:
            with _writable(self.path.parent):
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._keep_source(stack.enter_context(held(source, busy)), source, photos)
                cut_half_line(self.path)
                self.path.touch()
                lines = stack.enter_context(self.path.open("rb"))
            yield ReportJournal(self, lines)

    def _keep_source(self, file: TextIO, source: Path, photos: Path) -> None:
        file.seek(0)
        said = file.read()
        if not said.endswith("\n"):
            file.truncate(0)
            os.write(file.fileno(), (json.dumps({"photos": str(photos)}, ensure_ascii=False) + "\n").encode())
        elif (known := json.loads(said)["photos"]) != str(photos):
            raise InspectionStopped(
                f"{self.path.parent} holds reports of the photos in {known}; those of {photos} need "
                f"another place: --params reports=PATH. If the folder was only moved, say so in {source}."
            )


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
        unreadable = 0
        for place, report in _read(self.lines):
            if report:
                self._note(place, report)
            else:
                unreadable += 1
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
        # Opened each time: what a full disk did not take must not be tried again when it is closed.
        with _writable(self.reports.path), self.reports.path.open("ab") as file:
            place = file.tell()
            file.write(report.model_dump_json().encode() + b"\n")
        self._note(place, report)

    def finish(self) -> None:
        """Leaves one line a photo, sorted by name, and beside them a file a photo."""
        with _writable(self.reports.path):
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
            if not path.is_file() or path.read_bytes() != text.encode():
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
    """A photo's own file below the folder of files: its name with ``.json``.

    Names that are too long then, and folders whose names end as files' do, become hashes.
    """
    *folders, name = photo.split("/")
    parts = [_digest(folder) if folder.lower().endswith(".json") else folder for folder in folders]
    too_long = len(name.encode()) + len(".json") > LONGEST_NAME
    return "/".join([*parts, f"{_digest(name) if too_long else name}.json"])


def _digest(name: str) -> str:
    return sha256(name.encode()).hexdigest()


def _read(lines: BinaryIO) -> Iterator[tuple[int, PhotoReport | None]]:
    """Where each whole line begins, and its report; None for what is none."""
    place = lines.seek(0)
    for line in lines:
        try:
            yield place, PhotoReport.model_validate_json(line) if line.endswith(b"\n") else None
        except ValueError:  # a power cut may leave anything there, another version other keys
            yield place, None
        place += len(line)


@contextmanager
def _writable(place: Path) -> Iterator[None]:
    """A full disk, or a place that cannot be written to, is said in a sentence."""
    try:
        yield
    except OSError as error:
        raise InspectionStopped(
            f"{place} cannot be written: {error.strerror}. Make room there, or name another place by "
            "--params reports=PATH. What was reported is kept; the same command goes on from there."
        ) from error
