"""Which photos of a folder are finished, so that no photo is decoded twice."""

import json
import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from lng_kedro.files import cut_half_line, make_whole, write_whole
from lng_kedro.imaging import PhotoFolder
from lng_kedro.quarantine import Rejected

logger = logging.getLogger(__name__)

FORMAT = 2
"""To be raised when the same raw photo and settings give another processed photo or other facts."""


@dataclass(frozen=True)
class PhotoFacts:
    """What a raw photo was found to be.

    Attributes:
        width: of its pixels as they are stored, before they were turned upright.
        height: likewise.
        orientation: EXIF's, 1 to 8.
        sha256: of the raw file's bytes, in hexadecimal digits.
        dhash: difference hash of the upright photo, in hexadecimal digits.
        size: bytes of the processed photo.
    """

    width: int
    height: int
    orientation: int
    sha256: str
    dhash: str
    size: int


Outcome = PhotoFacts | Rejected


class Finished(NamedTuple):
    """What the journal says of a photo.

    Attributes:
        fingerprint: of its raw file; changes when the file changes.
        recipe: see `recipe_of`.
        sha256: of the raw file's bytes, in hexadecimal digits.
        outcome: what became of it.
    """

    fingerprint: str
    recipe: str
    sha256: str
    outcome: Outcome


class PhotoJournal:
    """A folder of processed photos with a line for each that is finished, or was rejected.

    Lines are only added, each after its photo is whole; the last line of a photo counts. A line that cannot
    be read is taken out, and its photo done again. Photos that are chosen no more stay, so that the way
    back costs nothing; to make room delete the folder, and it is filled with what is chosen then.
    """

    def __init__(self, path: Path) -> None:
        """Reads what is there.

        Args:
            path: of the journal, which lies in the photos' folder; neither need exist.
        """
        self.path = path
        self.folder = PhotoFolder(path.parent)
        self._finished: dict[str, Finished] = {}
        if not path.is_file():
            return
        cut_half_line(path)
        lines, unreadable = [], 0
        for line in path.read_bytes().splitlines():
            try:
                photo_id, finished = _parsed(line)
                lines.append(f"{line.decode()}\n")
            except (ValueError, TypeError):  # a power cut may leave anything there
                unreadable += 1
            else:
                self._finished[photo_id] = finished
        if unreadable:
            logger.warning("%s: %d lines cannot be read; their photos are done again.", path, unreadable)
            write_whole(path, lines)

    def finished(self, photo_id: str, recipe: str) -> Finished | None:
        """What became of a photo by this recipe, of whichever raw file; None where that is not known.

        Args:
            photo_id: the photo.
            recipe: see `recipe_of`.
        """
        known = self._finished.get(photo_id)
        if known is None or known.recipe != recipe:
            return None
        if isinstance(known.outcome, PhotoFacts):
            try:
                if self.folder.path(photo_id).stat().st_size != known.outcome.size:
                    return None
            except FileNotFoundError:
                return None
        return known

    def add(self, photo_id: str, finished: Finished, jpeg: bytes = b"") -> None:
        """Keeps what became of a photo.

        Args:
            photo_id: the photo.
            finished: what became of it.
            jpeg: the processed photo, if it is one and is not there already.
        """
        self.folder.root.mkdir(parents=True, exist_ok=True)
        fingerprint, recipe, content, outcome = finished
        if jpeg:
            make_whole(self.folder.path(photo_id), lambda unfinished: unfinished.write_bytes(jpeg))
        if isinstance(outcome, Rejected):
            found = [outcome.reason, outcome.detail, content]
        else:
            found = ["", *asdict(outcome).values()]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([photo_id, fingerprint, recipe, *found], ensure_ascii=False) + "\n")
        self._finished[photo_id] = finished


def _parsed(line: bytes) -> tuple[str, Finished]:
    photo_id, fingerprint, recipe, reason, *found = json.loads(line)
    if reason:
        detail, content = found
        return photo_id, Finished(fingerprint, recipe, content, Rejected(reason, detail))
    facts = PhotoFacts(*found)
    return photo_id, Finished(fingerprint, recipe, facts.sha256, facts)


def recipe_of(*settings: object) -> str:
    """Stands for how photos are processed: all that decides how a processed photo looks."""
    return "-".join(map(str, (FORMAT, *settings)))
