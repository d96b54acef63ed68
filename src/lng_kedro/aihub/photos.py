"""Raw photos -> processed photos and what they were found to be, each decoded once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import pandas as pd

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.compute import Processes, Ray, parallel_map
from lng_kedro.geometry import upright_size
from lng_kedro.imaging import process_photo
from lng_kedro.photo_journal import Outcome, PhotoFacts, PhotoJournal, key_of
from lng_kedro.quarantine import Rejected, check_share


class PhotoSettings(NamedTuple):
    """What decides how a processed photo looks.

    Attributes:
        size: side of the square in pixels.
        quality: of its JPEG.
        max_pixels: a raw photo of more pixels is rejected.
    """

    size: int
    quality: int
    max_pixels: int


@dataclass
class PhotoProcessor:
    """Processes the photos of a raw folder that its journal does not know, in parallel.

    Attributes:
        raw: the raw dataset.
        stated: what labels say: index photo_id; columns photo (its locator), width and height.
        journal: keeps finished photos.
        settings: of processed photos.
        compute: where photos are decoded.
        max_rejected_share: it stops if more of the photos looked at cannot be used.
    """

    raw: AIHubFolder
    stated: pd.DataFrame
    journal: PhotoJournal
    settings: PhotoSettings
    compute: Processes | Ray
    max_rejected_share: float
    _seen: dict[str, Outcome] = field(default_factory=dict)

    def look(self, photo_ids: Sequence[str]) -> list[Outcome]:
        """What photos were found to be; those that are not finished are processed first.

        Raises:
            ValueError: too many cannot be used.
        """
        unseen = [photo_id for photo_id in photo_ids if photo_id not in self._seen]
        stated = {str(row[0]): row[1:] for row in self.stated.loc[unseen].itertuples()}
        outcomes: dict[str, Outcome] = {}
        new: dict[str, str] = {}
        for photo_id in unseen:
            try:
                key = key_of(self.raw.fingerprint(stated[photo_id][0]), *self.settings)
            except Rejected as problem:
                outcomes[photo_id] = problem
                continue
            if (known := self.journal.outcome(photo_id, key)) is None:
                new[photo_id] = key
            else:
                outcomes[photo_id] = known
        work = partial(_process, self.raw, self.settings)
        locators = [stated[photo_id][0] for photo_id in new]
        done = parallel_map(work, locators, len(new), self.compute, "Photos")
        for (photo_id, key), (outcome, jpeg) in zip(new.items(), done, strict=True):
            if jpeg is not None:
                self.journal.add(photo_id, key, outcome, jpeg)
            outcomes[photo_id] = outcome
        self._seen |= {i: _as_stated(outcomes[i], *stated[i][1:]) for i in unseen}
        self._check_rejected()
        return [self._seen[photo_id] for photo_id in photo_ids]

    def _check_rejected(self) -> None:
        problems = {i: outcome for i, outcome in self._seen.items() if isinstance(outcome, Rejected)}
        locators = self.stated.loc[list(problems), "photo"]
        rows = [problem.row(file) for problem, file in zip(problems.values(), locators, strict=True)]
        what = "photos that were looked at"
        check_share(rows, len(problems), len(self._seen), what, self.max_rejected_share)


def _process(raw: AIHubFolder, settings: PhotoSettings, locator: str) -> tuple[Outcome, bytes | None]:
    """Outcome and processed photo of one raw photo.

    Without bytes where the file could not be read: a disk or a network may be there again the next time.
    """
    try:
        content = raw.read(locator)
    except Rejected as problem:
        return problem, None
    try:
        photo = process_photo(content, *settings)
    except Rejected as problem:
        return problem, b""
    digest = sha256(content).hexdigest()
    facts = PhotoFacts(photo.width, photo.height, photo.orientation, digest, photo.dhash, len(photo.jpeg))
    return facts, photo.jpeg


def _as_stated(outcome: Outcome, width: int, height: int) -> Outcome:
    """The outcome, or that the photo has neither stored nor upright the size that its label states."""
    if isinstance(outcome, Rejected):
        return outcome
    stored = (outcome.width, outcome.height)
    if (width, height) in (stored, upright_size(*stored, outcome.orientation)):
        return outcome
    found = f"{outcome.width} x {outcome.height}"
    return Rejected("size_mismatch", f"the label says {width} x {height}, the photo is {found}")
