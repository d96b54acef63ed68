"""Puts reports before a person in Label Studio, and fetches what the person made of them."""

import logging
from collections import Counter
from collections.abc import Container, Iterable, Sequence
from hashlib import file_digest, sha256
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lng_kedro.files import make_whole, write_whole
from lng_kedro.imaging import upright_jpeg
from lng_kedro.inspection.corrections import Corrections, Task
from lng_kedro.inspection.label_studio import labelling_config, review_task, review_taxonomy
from lng_kedro.inspection.order import worst_first
from lng_kedro.inspection.record import PhotoReport
from lng_kedro.inspection.studio import TITLE, Studio, StudioFolder
from lng_kedro.quarantine import Rejected, counted
from lng_kedro.taxonomy import Taxonomy, load_taxonomy

logger = logging.getLogger(__name__)

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
    name = sha256(config.encode()).hexdigest()[:8]
    write_whole(folder.taxonomies / f"{name}.json", [taxonomy.model_dump_json(indent=1)])
    tasks: dict[str, dict[str, Any]] = {}
    left_out: Counter[str] = Counter()
    ordered = sorted({r.photo: r for r in reports}.values(), key=worst_first)
    for report in tqdm(ordered, desc="Photos", unit="photo"):
        try:
            image = _serve(report, photos, folder)
        except Rejected as problem:
            left_out[problem.detail] += 1
            continue
        tasks.setdefault(str(report.sha256), review_task(report, image, taxonomy, name))
    _stop_showing_others(folder, set(tasks))
    project = studio.project(f"{TITLE} {name}", config, folder.photos)
    open_tasks, done = studio.replace_untouched(project, list(tasks.values()))
    said = f"{open_tasks} photos to look at, the worst first; {done} worked on."
    return project, said + (f" Left out: {counted(left_out)}." if left_out else "")


def fetch(studio: Studio, folder: StudioFolder) -> Corrections:
    """All that people made of reports, in whatever project."""
    tasks = [task for project in studio.projects() for task in studio.exported(int(project["id"]))]
    return corrections(tasks, folder)


def corrections(tasks: Sequence[Task], folder: StudioFolder) -> Corrections:
    """Exported tasks with the photos and the taxonomies that they speak of."""
    taxonomies = {path.stem: load_taxonomy(path) for path in folder.taxonomies.glob("*.json")}
    return Corrections(tasks, folder.originals, taxonomies)


def _serve(report: PhotoReport, photos: Path, folder: StudioFolder) -> str:
    """Lets the server show one photo, and no other file; its path below the document root.

    Of a photo that lies turned, and of one that it cannot show, a browser gets an upright copy: it reads
    fewer ways to say how a photo lies than we do.
    """
    if report.sha256 is None or not report.width or not report.height:
        raise Rejected("unreadable", "could not be read when it was inspected")
    original = (photos / report.photo).resolve()
    if not (original.is_relative_to(photos.resolve()) and original.is_file()):
        raise Rejected("unreadable", "is not in the folder of photos any more")
    if not _holds(original, report.sha256):
        raise Rejected("unreadable", "is another photo than was inspected, or cannot be read")
    make_whole(folder.originals / report.sha256, lambda link: link.symlink_to(original))
    shown = folder.photos / f"{report.sha256}.jpg"
    with original.open("rb") as file:
        start = file.read(2)
    if report.orientation == 1 and start not in _TIFF:
        make_whole(shown, lambda link: link.symlink_to(original))
    elif shown.is_symlink() or not shown.is_file():
        width, height = report.width, report.height
        copy = upright_jpeg(original.read_bytes(), max(width, height), _QUALITY, width * height)
        make_whole(shown, lambda place: place.write_bytes(copy))
    return f"{folder.photos.name}/{shown.name}"


def _stop_showing_others(folder: StudioFolder, seen: Container[str]) -> None:
    """Takes away links to files that have become other photos: boxes would be drawn on these."""
    for link in folder.photos.glob("*.jpg"):
        gone_or_seen = not link.is_file() or link.stem in seen
        if link.is_symlink() and not gone_or_seen and not _holds(link, link.stem):
            link.unlink()


def _holds(path: Path, digest: str) -> bool:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest() == digest
    except OSError:
        return False
