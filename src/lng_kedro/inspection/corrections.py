"""Label Studio -> label files: what a person made of a report, as the raw dataset would say it.

What it cannot say is refused with a sentence; nothing is guessed.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from lng_kedro.geometry import stored_box, upright_size
from lng_kedro.imaging import PhotoHeader, photo_header
from lng_kedro.quarantine import Rejected
from lng_kedro.taxonomy import LABEL, Taxonomy

NAME_DIGITS = 32
"""Hexadecimal digits of a photo's SHA-256 in the name of its files."""

_SHA256 = re.compile("[0-9a-f]{64}")
_PART_CODE = re.compile("[0-9]{2}")
_NO_PART = "00"
_ROUNDING = 1e-6
"""Per cent by which a box may reach out of its photo: what a browser's arithmetic leaves."""

Box = tuple[float, float, float, float]
Task = Mapping[str, Any]


@dataclass(frozen=True)
class Corrections:
    """What people made of reports.

    Attributes:
        tasks: as Label Studio exports them.
        originals: folder of the photos, each named by its SHA-256.
        taxonomies: what could be chosen from, by the name that each task says.
    """

    tasks: Sequence[Task]
    originals: Path
    taxonomies: Mapping[str, Taxonomy]


class LabelFile(NamedTuple):
    """A photo and its label, as AI-Hub names them.

    Attributes:
        stem: name of both files without suffix.
        suffix: of the photo's.
        photo: its original bytes.
        label: COCO's form, of this one photo.
    """

    stem: str
    suffix: str
    photo: bytes
    label: dict[str, Any]


class Corrected(NamedTuple):
    """What became of one photo that somebody submitted or skipped.

    Attributes:
        digest: SHA-256 of the photo; None where a task does not say it.
        photo: path of the photo, for people.
        outcome: its files, or why there are none.
        time: when a person last changed what counts; None for a photo that was only skipped.
    """

    digest: str | None
    photo: str
    outcome: LabelFile | Rejected
    time: str | None = None


class _Finding(NamedTuple):
    label: str
    box: Box  # x, y, width and height in per cent of the upright photo
    values: dict[str, str]


def corrected_photos(corrections: Corrections, copy_of: Callable[[str], bytes | None]) -> Iterator[Corrected]:
    """Every photo that somebody submitted or skipped, in the order of the tasks.

    Of several annotations of a photo, be they of several tasks, the one submitted last counts.

    Args:
        corrections: what people made of reports.
        copy_of: a photo by its SHA-256, for one whose original is gone; None where there is no copy.
    """
    of_photo: defaultdict[str, list[tuple[Task, Task]]] = defaultdict(list)
    for task in corrections.tasks:
        digest = task.get("data", {}).get("sha256")
        for annotation in task.get("annotations") or ():
            if isinstance(digest, str) and _SHA256.fullmatch(digest):
                of_photo[digest].append((task, annotation))
            else:
                refused = Rejected("annotation", f"task {task.get('id')} says no SHA-256 of its photo")
                yield Corrected(None, _photo_of(task), refused)
    for digest, found in of_photo.items():
        submitted = [pair for pair in found if not pair[1].get("was_cancelled")]
        task, annotation = max(submitted or found, key=lambda pair: (pair[1]["updated_at"], pair[1]["id"]))
        outcome: LabelFile | Rejected
        try:
            if not submitted:
                raise Rejected("skipped", "nobody has submitted it")
            photo = _original(corrections.originals / digest, digest, copy_of)
            outcome = _label_file(digest, photo, task, annotation, _taxonomy(task, corrections))
        except Rejected as problem:
            outcome = Rejected(problem.reason, f"task {task['id']}: {problem.detail}")
        yield Corrected(digest, _photo_of(task), outcome, annotation["updated_at"] if submitted else None)


def _taxonomy(task: Task, corrections: Corrections) -> Taxonomy:
    name = str(task["data"].get("taxonomy"))
    if name not in corrections.taxonomies:
        raise Rejected("annotation", f"its taxonomy is not known here: {name:.80}")
    return corrections.taxonomies[name]


def _photo_of(task: Task) -> str:
    return str(task.get("data", {}).get("photo", ""))


def _label_file(digest: str, photo: bytes, task: Task, annotation: Task, taxonomy: Taxonomy) -> LabelFile:
    header = photo_header(photo)
    findings = _findings(annotation, upright_size(header.width, header.height, header.orientation), taxonomy)
    _check_boxless(findings, taxonomy)
    categories = [_category(f, taxonomy) for f in findings]
    if categories:
        name = f"{categories[0]}_{_part_code(findings[0], taxonomy)}"
    elif taxonomy.negative_ids:
        name = f"{taxonomy.negative_ids[0]}_{_NO_PART}"
    else:
        raise Rejected("no_object", "nothing is marked, and the taxonomy has no negative id")
    stem, suffix = f"{name}_{digest[:NAME_DIGITS]}", ".png" if header.form == "PNG" else ".jpg"
    whole = (0.0, 0.0, float(header.width), float(header.height))
    boxless = taxonomy.boxless_ids
    boxes = [
        whole if category in boxless else _stored(f.box, header)
        for category, f in zip(categories, findings, strict=True)
    ]
    label = {
        "info": {"reviewed_photo": _photo_of(task), "reviewed_at": annotation["updated_at"]},
        "images": [{"id": 1, "file_name": stem + suffix, "width": header.width, "height": header.height}],
        "annotations": [
            {
                "id": i,
                "image_id": 1,
                "category_id": category,
                "bbox": list(box),
                "area": box[2] * box[3],
                "segmentation": [],
                "iscrowd": 0,
                "attributes": finding.values,
            }
            for i, (category, box, finding) in enumerate(zip(categories, boxes, findings, strict=True), 1)
        ],
    }
    return LabelFile(stem, suffix, photo, label)


def _original(path: Path, digest: str, copy_of: Callable[[str], bytes | None]) -> bytes:
    photo, problem = None, "its photo's file is another one now"
    try:
        photo = path.read_bytes()
    except OSError as error:
        problem = f"its photo cannot be read: {error.strerror}"
    if photo is None or sha256(photo).hexdigest() != digest:
        photo = copy_of(digest)
    if photo is None:
        raise Rejected("label_without_photo", problem)
    return photo


def _findings(annotation: Task, size: tuple[int, int], taxonomy: Taxonomy) -> list[_Finding]:
    """Regions with their label and values, in the order in which they were drawn.

    Args:
        annotation: Label Studio's.
        size: of the upright photo.
        taxonomy: what is allowed.
    """
    labels: dict[str, Task] = {}
    values: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for result in annotation.get("result") or ():
        name, kind, region = result.get("from_name"), result.get("type"), str(result.get("id"))
        if kind == "rectanglelabels" and name == LABEL and region not in labels:
            labels[region] = result
        elif kind == "choices" and name in taxonomy.field_names and name not in values[region]:
            values[region][name] = _one(result.get("value", {}).get("choices"), name, taxonomy)
        else:
            raise Rejected("annotation", f"what is this: {result!r:.120}")
    if adrift := values.keys() - labels.keys():
        raise Rejected("annotation", f"values of no box: {', '.join(map(str, values[min(adrift)].items()))}")
    return [_finding(result, values[region], size, taxonomy) for region, result in labels.items()]


def _finding(result: Task, values: Mapping[str, str], size: tuple[int, int], taxonomy: Taxonomy) -> _Finding:
    label = _one(result.get("value", {}).get("rectanglelabels"), LABEL, taxonomy)
    missing = [name for name in taxonomy.field_names if name not in values]
    if missing:
        raise Rejected("missing_value", f"{label} lacks {', '.join(missing)}")
    shown = result.get("original_width"), result.get("original_height")
    if shown != size:
        raise Rejected("size_mismatch", f"{shown} where the boxes were drawn, the upright photo has {size}")
    ordered = {name: values[name] for name in taxonomy.field_names}
    return _Finding(label, _box(label, result), ordered)


def _one(chosen: Any, name: str, taxonomy: Taxonomy) -> str:
    """The single value chosen of a label or field."""
    if not isinstance(chosen, list) or len(chosen) != 1:
        raise Rejected(
            "missing_value" if not chosen else "contradiction", f"{name}: one expected, {chosen!r:.80}"
        )
    if chosen[0] not in taxonomy.choices(name):
        raise Rejected("unknown_value", f"{name} {chosen[0]!r:.80}")
    return str(chosen[0])


def _box(label: str, result: Task) -> Box:
    """x, y, width and height in per cent, cut by what arithmetic added."""
    value = result["value"]
    if value.get("rotation", 0) % 360 or result.get("image_rotation", 0) % 360:
        raise Rejected("box", f"the box of {label} is rotated; draw it upright")
    sides = [value.get(key) for key in ("x", "y", "width", "height")]
    if not all(type(side) in (int, float) and math.isfinite(side) for side in sides):
        raise Rejected("box", f"the box of {label}: four finite numbers expected, found {sides!r:.80}")
    x, y, w, h = map(float, sides)
    if w <= 0 or h <= 0:
        raise Rejected("box_degenerate", f"the box of {label} has no width or no height")
    if min(x, y) < -_ROUNDING or max(x + w, y + h) > 100 + _ROUNDING:
        raise Rejected("box_outside", f"the box of {label} reaches out of the photo: {sides} per cent")
    (left, w), (top, h) = _inside(x, w, 100.0), _inside(y, h, 100.0)
    return (left, top, w, h)


def _check_boxless(findings: Sequence[_Finding], taxonomy: Taxonomy) -> None:
    """The raw dataset has no boxes of some labels: each stands for the whole photo, once."""
    labels = [f.label for f in findings]
    for label in taxonomy.boxless_labels:
        if labels.count(label) > 1:
            raise Rejected(
                "contradiction", f"{label} means the whole photo, and is marked {labels.count(label)} times"
            )


def _category(finding: _Finding, taxonomy: Taxonomy) -> int:
    """The AI-Hub id of a label in that quality."""
    wanted = finding.label, finding.values["quality"]
    for category, meant in taxonomy.by_id.items():
        if meant == wanted:
            return category
    raise Rejected(
        "contradiction", f"{finding.label} cannot be {wanted[1]}: the raw dataset has no id for it"
    )


def _part_code(finding: _Finding, taxonomy: Taxonomy) -> str:
    """AI-Hub's two digits of the part; ``00`` where it has none."""
    known = taxonomy.fields["part"]
    spellings = (known.values | known.from_data).get(finding.values["part"], ())
    return next(filter(_PART_CODE.fullmatch, spellings), _NO_PART)


def _stored(percent: Box, header: PhotoHeader) -> Box:
    """COCO's box in pixels of the stored photo, not a rounding error outside."""
    width, height = upright_size(header.width, header.height, header.orientation)
    x, y, w, h = percent
    upright = (x * width / 100, y * height / 100, w * width / 100, h * height / 100)
    x, y, w, h = stored_box(upright, header.width, header.height, header.orientation)
    left, w = _inside(x, w, header.width)
    top, h = _inside(y, h, header.height)
    return (left, top, w, h)


def _inside(start: float, length: float, limit: float) -> tuple[float, float]:
    start = max(start, 0.0)
    while start + length > limit:
        length = math.nextafter(min(length, limit - start), 0)
    return start, length
