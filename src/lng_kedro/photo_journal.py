"""Which photos of a folder are finished, so that no photo is decoded twice."""

import json
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from lng_kedro.imaging import PhotoFolder
from lng_kedro.quarantine import Rejected

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


class PhotoJournal:
    """A folder of processed photos with a line for each that is finished, or was rejected.

    Lines are only added, each after its photo is whole; the last line of a photo counts. A line that was cut
    off is dropped, and its photo done again. Photos that are chosen no more stay, so that the way back costs
    nothing; to make room delete the folder, and it is filled with what is chosen then.
    """

    def __init__(self, path: Path) -> None:
        """Reads what is there.

        Args:
            path: of the journal, which lies in the photos' folder; neither need exist.
        """
        self.path = path
        self.folder = PhotoFolder(path.parent)
        self._finished: dict[str, tuple[str, Outcome]] = {}
        if not path.is_file():
            return
        lines = path.read_bytes().splitlines(keepends=True)
        if lines and not lines[-1].endswith(b"\n"):
            with path.open("r+b") as file:
                file.truncate(sum(map(len, lines[:-1])))
            del lines[-1]
        for line in lines:
            photo_id, key, reason, *found = json.loads(line)
            outcome = Rejected(reason, *found) if reason else PhotoFacts(*found)
            self._finished[photo_id] = (key, outcome)

    def outcome(self, photo_id: str, key: str) -> Outcome | None:
        """What became of a photo, or None if that is not known of this raw file and these settings.

        Args:
            photo_id: the photo.
            key: see `key_of`.
        """
        known, outcome = self._finished.get(photo_id, ("", None))
        if known != key:
            return None
        if isinstance(outcome, PhotoFacts):
            try:
                if self.folder.path(photo_id).stat().st_size != outcome.size:
                    return None
            except FileNotFoundError:
                return None
        return outcome

    def add(self, photo_id: str, key: str, outcome: Outcome, jpeg: bytes = b"") -> None:
        """Keeps a finished photo, or that it was rejected.

        Args:
            photo_id: the photo.
            key: see `key_of`.
            outcome: what became of it.
            jpeg: the processed photo, if it is one.
        """
        self.folder.root.mkdir(parents=True, exist_ok=True)
        if isinstance(outcome, Rejected):
            line = [photo_id, key, outcome.reason, outcome.detail]
        else:
            unfinished = self.folder.root / f".{photo_id}.part"
            unfinished.write_bytes(jpeg)
            unfinished.replace(self.folder.path(photo_id))
            line = [photo_id, key, "", *asdict(outcome).values()]
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._finished[photo_id] = (key, outcome)


def key_of(fingerprint: str, *settings: object) -> str:
    """Stands for a raw file as it is and for how it is processed.

    Args:
        fingerprint: of the raw file; changes when the file changes.
        settings: all that decides how its processed photo looks.
    """
    return sha256(json.dumps([FORMAT, fingerprint, *settings]).encode()).hexdigest()[:32]
