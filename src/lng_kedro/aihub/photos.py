"""Raw photos -> processed photos and what they were found to be, each decoded once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from typing import NamedTuple

import pandas as pd

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.among import among
from lng_kedro.compute import Processes, Ray, parallel_map
from lng_kedro.geometry import upright_size
from lng_kedro.imaging import process_photo
from lng_kedro.photo_journal import Finished, Outcome, PhotoFacts, PhotoJournal, recipe_of
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
        stated: what labels say, one row an object: columns photo_id, photo (its locator), width and height.
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
    _locators: dict[str, str] = field(default_factory=dict)

    def look(self, photo_ids: Sequence[str]) -> list[Outcome]:
        """What photos were found to be; those that are not finished are processed first.

        Raises:
            ValueError: too many cannot be used.
        """
        recipe = recipe_of(self.settings.size, self.settings.quality)
        unseen = [photo_id for photo_id in photo_ids if photo_id not in self._seen]
        stated = self._stated_of(unseen)
        self._locators |= {photo_id: photo for photo_id, (photo, _, _) in stated.items()}
        outcomes: dict[str, Outcome] = {}
        new: dict[str, tuple[str, Finished | None]] = {}
        for photo_id in unseen:
            known = self.journal.finished(photo_id, recipe)
            try:
                fingerprint = self.raw.fingerprint(stated[photo_id][0])
            except Rejected as problem:
                outcomes[photo_id] = problem
                continue
            if known and known.fingerprint == fingerprint:
                outcomes[photo_id] = known.outcome
            else:
                new[photo_id] = fingerprint, known
        work = partial(_process, self.raw, self.settings)
        items = [(stated[photo_id][0], known) for photo_id, (_, known) in new.items()]
        done = parallel_map(work, items, len(new), self.compute, "Photos")
        for (photo_id, (fingerprint, _)), (outcome, content, jpeg) in zip(new.items(), done, strict=True):
            if content:
                self.journal.add(photo_id, Finished(fingerprint, recipe, content, outcome), jpeg)
            outcomes[photo_id] = outcome
        self._seen |= {i: self._judged(outcomes[i], *stated[i][1:]) for i in unseen}
        self._check_rejected()
        return [self._seen[photo_id] for photo_id in photo_ids]

    def locator(self, photo_id: str) -> str:
        """Where a photo is that was looked at."""
        return self._locators[photo_id]

    def _stated_of(self, photo_ids: Sequence[str]) -> dict[str, tuple[str, int, int]]:
        """Locator, width and height. An index of millions of rows would take gigabytes."""
        wanted = among(self.stated["photo_id"], photo_ids)
        # A column at a time: to take rows of all at once, pandas copies all text first.
        columns = {name: self.stated[name][wanted] for name in ("photo_id", "photo", "width", "height")}
        rows = pd.DataFrame(columns).drop_duplicates("photo_id")
        return {row[0]: row[1:] for row in rows.itertuples(index=False, name=None)}

    def _judged(self, outcome: Outcome, width: int, height: int) -> Outcome:
        """The outcome, or that the photo has neither stored nor upright the size that its label states.

        One that was finished under a higher limit of pixels may be too large now.
        """
        if isinstance(outcome, Rejected):
            return outcome
        stored = (outcome.width, outcome.height)
        found = f"{outcome.width} x {outcome.height}"
        limit = self.settings.max_pixels
        if outcome.width * outcome.height > limit:
            return Rejected("too_large", f"{found} pixels; max_pixels is {limit}")
        if (width, height) in (stored, upright_size(*stored, outcome.orientation)):
            return outcome
        return Rejected("size_mismatch", f"the label says {width} x {height}, the photo is {found}")

    def _check_rejected(self) -> None:
        problems = {i: outcome for i, outcome in self._seen.items() if isinstance(outcome, Rejected)}
        rows = [problem.row(self.locator(photo_id)) for photo_id, problem in problems.items()]
        what = "photos that were looked at"
        check_share(rows, len(problems), len(self._seen), what, self.max_rejected_share)


def _process(
    raw: AIHubFolder, settings: PhotoSettings, item: tuple[str, Finished | None]
) -> tuple[Outcome, str, bytes]:
    """Outcome of one raw photo, SHA-256 of its bytes, and the processed photo if it is one and a new one.

    Without SHA-256 where the next time may tell something else: a disk or a network may be there again, and a
    photo that is too large now may be allowed.

    Args:
        raw: the raw dataset.
        settings: of processed photos.
        item: locator of the photo, and what became of a photo of its name before.
    """
    locator, known = item
    try:
        content = raw.read(locator)
    except Rejected as problem:
        return problem, "", b""
    digest = sha256(content).hexdigest()
    if known and known.sha256 == digest:
        return known.outcome, digest, b""
    try:
        photo = process_photo(content, *settings)
    except Rejected as problem:
        return problem, "" if problem.reason == "too_large" else digest, b""
    facts = PhotoFacts(photo.width, photo.height, photo.orientation, digest, photo.dhash, len(photo.jpeg))
    return facts, digest, photo.jpeg
