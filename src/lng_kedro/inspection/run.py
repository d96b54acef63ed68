"""An inspection: photos that are new or changed go to the engine, and their reports into the journal."""

import logging
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import repeat
from typing import Any, Protocol

from tqdm import tqdm

from lng_kedro.compute import map_ahead
from lng_kedro.geometry import PROCESSED_SIZE, upright_size
from lng_kedro.imaging import ProcessedPhoto, process_photo
from lng_kedro.inspection.engine import Engine, Failure, InspectionStopped
from lng_kedro.inspection.journal import Reports
from lng_kedro.inspection.params import PhotoParams
from lng_kedro.inspection.photos import NewPhotos
from lng_kedro.inspection.record import MadeBy, PhotoReport
from lng_kedro.quarantine import Rejected
from lng_kedro.report import is_inside
from lng_kedro.taxonomy import BBOX
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import Answer

logger = logging.getLogger(__name__)

DECODERS = 4
"""Threads that decode photos, at most."""

FAILED = "engine"
"""Reason of an error: the photo got no answer."""


@dataclass(frozen=True)
class Counts:
    """What a command did.

    Attributes:
        found: photos of the folder, with those that cannot be used.
        new: those among them that were new, changed or had been errors.
        gone: photos that have a report and were not found this time.
    """

    found: int
    new: int
    gone: int


@dataclass(frozen=True)
class _Prepared:
    """A photo on its way to the engine, or an error."""

    name: str
    fingerprint: str
    sha256: str | None
    outcome: ProcessedPhoto | Rejected


def inspect_photos(photos: NewPhotos, reports: Reports, engine: Engine, params: PhotoParams) -> Counts:
    """Reports every photo that has no report of this engine yet, or another file than it had then.

    Reports of photos that are not found this time stay as they are.

    Args:
        photos: to inspect.
        reports: where their reports are added.
        engine: what answers.
        params: limits of photos, and how far they are decoded ahead.

    Raises:
        InspectionStopped: by Ctrl-C, another command is at it, the reports are of another folder, or nothing
            answers any more. What was reported until then is kept.
    """
    with reports.writing(photos.root) as journal:
        listing = photos.listing()
        reports.keep_taxonomy(engine.dialogue.taxonomy)
        made_by = _made_by(engine, params)
        todo = {
            name: found
            for name, found in listing.items()
            if isinstance(found, Rejected) or not journal.is_current(name, found, made_by)
        }
        logger.info("%d photos, of which %d are new, changed or were errors", len(listing), len(todo))
        done = 0
        try:
            with tqdm(total=len(todo), desc="Photos", unit="photo") as bar:
                for report in reports_of(photos, todo, engine, params):
                    journal.add(report)
                    bar.update()
                    done += 1
        except KeyboardInterrupt as error:
            said = f"Interrupted after {done} of {len(todo)} photos"
            raise InspectionStopped(f"{said}. The same command goes on from there.") from error
        journal.finish()
        return Counts(len(listing), len(todo), len(journal.names - listing.keys()))


class Source(Protocol):
    """Where encoded photos are read."""

    def read(self, photo: str, max_bytes: int) -> tuple[str, bytes]:
        """Fingerprint and content of one photo, by its name; `Rejected` where it cannot be used."""
        ...


def reports_of(
    photos: Source, todo: Mapping[str, str | Rejected], engine: Engine, params: PhotoParams
) -> Iterator[PhotoReport]:
    """A report each, in order; what is waiting for an answer is all that is in memory.

    Args:
        photos: where they are read.
        todo: name of each photo -> its fingerprint, or why it cannot be used.
        engine: what answers.
        params: limits of photos, and how far they are decoded ahead.

    Raises:
        InspectionStopped: nothing answers any more.
    """
    waiting: deque[_Prepared] = deque()

    def usable() -> Iterator[bytes]:
        threads = min(DECODERS, os.cpu_count() or 1)
        prepare = _Preparation(photos, params)
        for photo in map_ahead(prepare, todo.items(), threads, params.look_ahead):
            waiting.append(photo)
            if isinstance(photo.outcome, ProcessedPhoto):
                yield photo.outcome.jpeg

    made_by = _made_by(engine, params)
    for answer in engine.answers(usable()):
        yield from _errors(waiting, made_by)
        yield _report(waiting.popleft(), answer, engine.dialogue, made_by)
    yield from _errors(waiting, made_by)


def _made_by(engine: Engine, params: PhotoParams) -> MadeBy:
    """With what decides the pixels that are shown; limits of photos decide whether they are."""
    return engine.made_by.model_copy(update={"jpeg_quality": params.jpeg_quality})


@dataclass(frozen=True)
class _Preparation:
    """Reads and processes one photo, as data_processing does before training."""

    photos: Source
    params: PhotoParams

    def __call__(self, item: tuple[str, str | Rejected]) -> _Prepared:
        name, found = item
        if isinstance(found, Rejected):
            return _Prepared(name, "", None, found)
        fingerprint, digest = found, None
        try:
            fingerprint, content = self.photos.read(name, self.params.max_bytes)
            digest = sha256(content).hexdigest()
            photo = process_photo(content, PROCESSED_SIZE, self.params.jpeg_quality, self.params.max_pixels)
        except Rejected as problem:
            return _Prepared(name, fingerprint, digest, problem)
        return _Prepared(name, fingerprint, digest, photo)


def _errors(waiting: deque[_Prepared], made_by: MadeBy) -> Iterator[PhotoReport]:
    """Of the photos before the next that was asked about."""
    while waiting and isinstance(problem := waiting[0].outcome, Rejected):
        photo = waiting.popleft()
        yield _made(photo, made_by, error={"reason": problem.reason, "detail": problem.detail})


def _report(photo: _Prepared, answer: Answer | Failure, dialogue: Dialogue, made_by: MadeBy) -> PhotoReport:
    assert isinstance(photo.outcome, ProcessedPhoto)  # noqa: S101  errors are not asked about
    width, height = upright_size(photo.outcome.width, photo.outcome.height, photo.outcome.orientation)
    size = {"width": width, "height": height, "orientation": photo.outcome.orientation}
    if isinstance(answer, Failure):
        return _made(photo, made_by, **size, error={"reason": FAILED, "detail": _utf8(answer.detail)})
    report, objects = dialogue.read(answer.text)
    scores = [*map(_chance, answer.scores), *repeat(None, len(objects))]
    # A box that reaches out of its photo is none: where else the model means, nobody knows.
    inside = [
        finding.bbox is not None and is_inside(finding.bbox, dialogue.frame) for finding in report.findings
    ]
    findings = [
        {**found, BBOX: _upright(found[BBOX], width, height) if is_box else None, "score": score}
        for found, is_box, score in zip(objects, inside, scores, strict=False)
    ]
    return _made(
        photo,
        made_by,
        **size,
        findings=findings,
        score=min((f["score"] for f in findings if f["score"] is not None), default=None),
        text=_utf8(answer.text),
        schema_true=report.schema_true,
        finished=answer.finished,
        cramped=answer.cramped,
        n_tokens=answer.n_tokens,
    )


def _made(photo: _Prepared, made_by: MadeBy, **found: Any) -> PhotoReport:
    return PhotoReport(
        photo=photo.name,
        fingerprint=photo.fingerprint,
        sha256=photo.sha256,
        made_by=made_by,
        time=datetime.now(UTC).replace(microsecond=0),
        **found,
    )


def _utf8(text: str) -> str:
    """Without halves of characters, which a server may send and no file can hold."""
    return text.encode(errors="replace").decode()


def _upright(box: Iterable[float], width: int, height: int) -> list[float]:
    """Corners in the processed photo -> in the upright one, to a hundredth of a pixel."""
    sides = (width, height, width, height)
    return [round(v / PROCESSED_SIZE * side, 2) for v, side in zip(box, sides, strict=True)]


def _chance(log_probability: float) -> float | None:
    """Mean log-probability -> 0 to 1, to four digits."""
    return None if math.isnan(log_probability) else round(math.exp(min(0.0, log_probability)), 4)
