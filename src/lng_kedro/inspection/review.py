"""Puts reports before a person in Label Studio, and fetches what the person made of them."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

from lng_kedro.imaging import upright_jpeg
from lng_kedro.inspection.corrections import Corrections
from lng_kedro.inspection.label_studio import labelling_config, review_task, review_taxonomy
from lng_kedro.inspection.order import worst_first
from lng_kedro.inspection.record import PhotoReport
from lng_kedro.inspection.studio import TITLE, Studio, StudioFolder
from lng_kedro.quarantine import Rejected, counted
from lng_kedro.taxonomy import Taxonomy, load_taxonomy

logger = logging.getLogger(__name__)

_JPEG = b"\xff\xd8"
_TIFF = (b"II", b"MM")
_QUALITY = 95


def offer(
    studio: Studio, folder: StudioFolder, reports: Iterable[PhotoReport], photos: Path, taxonomy: Taxonomy
) -> tuple[int, str]:
    """Makes a task of every report, the worst first, but for photos that somebody has worked on already.

    Args:
        studio: the server.
        folder: its folder.
        reports: any number of a photo; the last counts.
        photos: the folder that was inspected.
        taxonomy: of the reports.

    Returns:
        Id of the project, and what is open, done and left out, for people.
    """
    taxonomy = review_taxonomy(taxonomy)
    config = labelling_config(taxonomy)
    (folder.root / "taxonomy.json").write_text(taxonomy.model_dump_json(indent=1), encoding="utf-8")
    tasks: dict[str, dict[str, Any]] = {}
    left_out: Counter[str] = Counter()
    for report in sorted({r.photo: r for r in reports}.values(), key=worst_first):
        try:
            image = _serve(report, photos, folder)
        except Rejected as problem:
            left_out[problem.detail] += 1
            continue
        tasks.setdefault(str(report.sha256), review_task(report, image, taxonomy))
    title = f"{TITLE} {sha256(config.encode()).hexdigest()[:8]}"
    project = studio.project(title, config, folder.photos)
    open_tasks, done = studio.replace_untouched(project, list(tasks.values()))
    said = f"{open_tasks} photos to look at, the worst first; {done} worked on."
    return project, said + (f" Left out: {counted(left_out)}." if left_out else "")


def fetch(studio: Studio, folder: StudioFolder) -> Corrections:
    """All that people made of reports, in whatever project."""
    tasks = [task for project in studio.projects() for task in studio.exported(int(project["id"]))]
    return corrections(tasks, folder)


def corrections(tasks: list[dict[str, Any]], folder: StudioFolder) -> Corrections:
    """Exported tasks with the photos and the taxonomy that they speak of."""
    return Corrections(tasks, folder.originals, load_taxonomy(folder.root / "taxonomy.json"))


def _serve(report: PhotoReport, photos: Path, folder: StudioFolder) -> str:
    """Lets the server show one photo, and no other file; its path below the document root.

    A browser turns a JPEG upright as its EXIF says. Of other photos that lie turned, and of those that it
    cannot show, it gets a copy.
    """
    if report.sha256 is None or not report.width or not report.height:
        raise Rejected("unreadable", "could not be read when it was inspected")
    original = (photos / report.photo).resolve()
    if not (original.is_relative_to(photos.resolve()) and original.is_file()):
        raise Rejected("unreadable", "is not in the folder of photos any more")
    _place(folder.originals / report.sha256, lambda link: link.symlink_to(original))
    shown = folder.photos / f"{report.sha256}.jpg"
    with original.open("rb") as file:
        start = file.read(2)
    if start == _JPEG or (report.orientation == 1 and start not in _TIFF):
        _place(shown, lambda link: link.symlink_to(original))
    elif not shown.is_file():
        copy = upright_jpeg(original.read_bytes(), max(report.width, report.height), _QUALITY)
        _place(shown, lambda place: place.write_bytes(copy))
    return f"{folder.photos.name}/{shown.name}"


def _place(path: Path, make: Callable[[Path], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.unlink(missing_ok=True)
    make(unfinished)
    unfinished.replace(path)
