"""What is made of all reports: a table of findings, a table of errors, COCO's form, and a summary."""

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lng_kedro.inspection.record import PhotoReport
from lng_kedro.inspection.run import Counts
from lng_kedro.quarantine import harmless
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy

SIDES = ("x_min", "y_min", "x_max", "y_max")

NOT_TRUE = "not_schema_true"
"""Reason beside those of errors: the model wrote what no report may say, or was cut off."""

CRAMPED = "cramped"
"""Reason beside those of errors: findings may be missing, as there was no room for more."""


def findings_csv(reports: Iterable[PhotoReport], taxonomy: Taxonomy) -> str:
    """One row a finding: photo, number, label, box in pixels of the upright photo, score, fields.

    A text that a spreadsheet would take for a formula has an apostrophe before it.

    Args:
        reports: of all photos, to be read twice.
        taxonomy: gives the fields; those that only reports of another one have come last.
    """
    others = {name for found in _findings(reports) for name in found} - {LABEL, BBOX, "score"}
    fields = (*taxonomy.field_names, *sorted(others - {*taxonomy.field_names}))
    header = ("photo", "number", LABEL, *SIDES, "score", *fields)
    rows = (
        (
            report.photo,
            number,
            found[LABEL],
            *(found[BBOX] or [None] * 4),
            found["score"],
            *(found.get(name) for name in fields),
        )
        for report in reports
        for number, found in enumerate(report.findings, 1)
    )
    return _csv(header, rows)


def errors_csv(reports: Iterable[PhotoReport]) -> str:
    """One row a photo that has no report, or one that is not to be trusted: photo, reason, detail."""
    return _csv(
        ("photo", "reason", "detail"), ((r.photo, *problem) for r in reports if (problem := _problem(r)))
    )


def reports_coco(reports: Iterable[PhotoReport], taxonomy: Taxonomy) -> dict[str, Any]:
    """COCO's form: photos that were looked at, in their upright size, and findings with a label and a box.

    A category is the AI-Hub id of the label's defect, as in `coco`; fields are attributes. Labels that only
    reports of another taxonomy have are numbered after all of this one's.

    Args:
        reports: of all photos, to be read twice.
        taxonomy: labels and their ids.
    """
    ids = {label.name: label.defective_id for label in taxonomy.labels}
    others = sorted({found[LABEL] for found in _findings(reports)} - {None, *ids})
    ids |= {name: number for number, name in enumerate(others, max(ids.values()) + 1)}
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for report in reports:
        if report.error:
            continue
        images.append(
            {"id": len(images) + 1, "file_name": report.photo, "width": report.width, "height": report.height}
        )
        for found in report.findings:
            if found[BBOX] and found[LABEL]:
                place = {
                    "id": len(annotations) + 1,
                    "image_id": len(images),
                    "category_id": ids[found[LABEL]],
                }
                annotations.append(place | _annotation(found))
    categories = [{"id": number, "name": name} for name, number in ids.items()]
    return {"images": images, "categories": categories, "annotations": annotations}


def summary(reports: Iterable[PhotoReport], counts: Counts) -> dict[str, Any]:
    """How many there are of what.

    Args:
        reports: of all photos.
        counts: what this command did.

    Returns:
        ``photos`` (all, with findings, without, and errors), ``errors`` by reason, ``findings`` by label,
        ``this_command``, and ``made_by``: each maker with its number of photos.
    """
    kinds: Counter[str] = Counter()
    errors: Counter[str] = Counter()
    labels: Counter[str] = Counter()
    makers: Counter[str] = Counter()
    for report in reports:
        problem = _problem(report)
        kinds["errors" if problem else "with_findings" if report.findings else "without_findings"] += 1
        errors.update([problem[0]] if problem else [])
        labels.update(str(found[LABEL]) for found in report.findings)
        makers[report.made_by.model_dump_json()] += 1
    photos = {kind: kinds[kind] for kind in ("with_findings", "without_findings", "errors")}
    command = {"photos": counts.found, "new": counts.new, "not_found_any_more": counts.gone}
    return {
        "photos": {"all": kinds.total(), **photos},
        "errors": dict(errors.most_common()),
        "findings": {"all": labels.total(), **dict(labels.most_common())},
        "this_command": command,
        "made_by": [{"photos": number, **json.loads(maker)} for maker, number in makers.most_common()],
    }


def told(summary: Mapping[str, Any]) -> str:
    """A summary in a sentence or two."""
    photos, command = summary["photos"], summary["this_command"]
    said = (
        f"{photos['all']} photos: {summary['findings']['all']} findings on {photos['with_findings']}, "
        f"none on {photos['without_findings']}, {photos['errors']} errors. "
        f"New in this command: {command['new']}."
    )
    if gone := command["not_found_any_more"]:
        said += f" Reports of {gone} photos that were not found this time stay."
    return said


def _problem(report: PhotoReport) -> tuple[str, str] | None:
    if report.error:
        return report.error["reason"], report.error["detail"]
    if not report.schema_true:
        return NOT_TRUE, "the report has what the schema forbids" if report.finished else "it was cut off"
    if report.cramped:
        return CRAMPED, "findings may be missing: the model had no room for more (max_new_tokens)"
    return None


def _findings(reports: Iterable[PhotoReport]) -> Iterator[Mapping[str, Any]]:
    return (found for report in reports for found in report.findings)


def _annotation(found: Mapping[str, Any]) -> dict[str, Any]:
    x_min, y_min, x_max, y_max = found[BBOX]
    width, height = round(x_max - x_min, 2), round(y_max - y_min, 2)
    return {
        "bbox": [x_min, y_min, width, height],
        "area": round(width * height, 2),
        "iscrowd": 0,
        "score": found["score"],
        "attributes": {name: value for name, value in found.items() if name not in (LABEL, BBOX, "score")},
    }


def _csv(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(header)
    writer.writerows(map(_harmless, rows))
    return buffer.getvalue()


def _harmless(row: Iterable[Any]) -> Iterator[Any]:
    for cell in row:
        yield harmless(cell) if isinstance(cell, str) else cell
