"""Reports -> Label Studio: the labelling configuration, and tasks with what the model found filled in.

Label Studio counts boxes in per cent of the photo as a browser shows it, which is upright.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from lng_kedro.inspection.colours import label_colours
from lng_kedro.inspection.record import PhotoReport
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy

PHOTO = "photo"
"""Name of the photo in the configuration. Labels are named `LABEL`, fields as the taxonomy names them."""

PHOTOS_URL = "/data/local-files/?d="
"""What Label Studio serves files under, by their paths below its document root."""


def review_taxonomy(taxonomy: Taxonomy) -> Taxonomy:
    """What a person may say: the reports' values, and those that the raw format knows besides."""
    return taxonomy.with_data_values({name: f.from_data for name, f in taxonomy.fields.items() if f.values})


def labelling_config(taxonomy: Taxonomy) -> str:
    """Label Studio's XML: boxes of each label, and of each box the value of every field."""
    view = Element("View", style="display: flex; gap: 1rem; align-items: flex-start")
    left = SubElement(view, "View", style="flex: 1 1 auto; min-width: 0")
    SubElement(left, "Header", value="$says", size="5")
    SubElement(
        left, "Image", name=PHOTO, value="$image", zoom="true", zoomControl="true", rotateControl="false"
    )
    right = SubElement(view, "View", style="flex: 0 0 17rem")
    labels = SubElement(right, "RectangleLabels", name=LABEL, toName=PHOTO, canRotate="false")
    for name, colour in label_colours(taxonomy).items():
        SubElement(labels, "Label", value=name, background=colour)
    fields = SubElement(right, "View", visibleWhen="region-selected")
    for name in taxonomy.field_names:
        SubElement(fields, "Header", value=name, size="6")
        lacking = f"A box lacks its {name}"
        how = {"perRegion": "true", "required": "true", "requiredMessage": lacking}
        shape = {"choice": "single-radio", "showInline": "true"}
        choices = SubElement(fields, "Choices", {"name": name, "toName": PHOTO, **how, **shape})
        for value in taxonomy.choices(name):
            SubElement(choices, "Choice", value=value)
    indent(view)
    return tostring(view, encoding="unicode")


def review_task(report: PhotoReport, image: str, taxonomy: Taxonomy, name: str) -> dict[str, Any]:
    """A task, as Label Studio imports it: where its photo is, and the report as a prediction.

    Args:
        report: of a photo that could be read.
        image: path of the photo below Label Studio's document root.
        taxonomy: what the configuration was made of.
        name: by which the taxonomy is found again.
    """
    results, lost, whole = [], [], set()
    for i, finding in enumerate(report.findings):
        label, box = finding.get(LABEL), _percent(finding, report, taxonomy)
        if label is None or box is None or label in whole:
            lost.append(f"{label or 'no label'} at {finding.get(BBOX)}")
            continue
        results += _region(f"finding-{i}", finding, box, report, taxonomy)
        whole |= {label} & {*taxonomy.boxless_labels}
    made_by = report.made_by
    score = 0.0 if report.error or report.score is None else report.score
    return {
        "data": {
            "image": f"{PHOTOS_URL}{image}",
            "says": _says(report, lost),
            "photo": report.photo,
            "sha256": report.sha256,
            "reported": report.time.isoformat(),
            "taxonomy": name,
        },
        "predictions": [
            {
                "model_version": f"{made_by.model} {(made_by.adapter_sha256 or '')[:8]}".strip(),
                "score": score,
                "result": results,
            }
        ],
    }


def _says(report: PhotoReport, lost: Sequence[str]) -> str:
    """What a person should know of the photo before the boxes."""
    score = "unknown score" if report.score is None else f"score {report.score:.2f}"
    said = [report.photo, score if report.findings else "no findings"]
    if report.error:
        said.append(f"no report: {report.error.get('reason')}, {report.error.get('detail')}")
    if lost:
        said.append(f"not drawn: {', '.join(lost)}")
    return "; ".join(said)


def _percent(finding: Mapping[str, Any], report: PhotoReport, taxonomy: Taxonomy) -> dict[str, float] | None:
    """A box in per cent of the upright photo, cut at its edges; None where nothing is left.

    The raw dataset has no boxes of some labels: for these a box means the whole photo.
    """
    assert report.width and report.height  # noqa: S101  the photo could be read
    if finding.get(LABEL) in taxonomy.boxless_labels:
        return {"x": 0.0, "y": 0.0, "width": 100.0, "height": 100.0, "rotation": 0.0}
    if not finding.get(BBOX):
        return None
    x_min, y_min, x_max, y_max = finding[BBOX]
    left, right = (100 * min(max(v / report.width, 0.0), 1.0) for v in (x_min, x_max))
    top, bottom = (100 * min(max(v / report.height, 0.0), 1.0) for v in (y_min, y_max))
    if left >= right or top >= bottom:
        return None
    return {"x": left, "y": top, "width": right - left, "height": bottom - top, "rotation": 0.0}


def _region(
    name: str, finding: Mapping[str, Any], box: Mapping[str, float], report: PhotoReport, taxonomy: Taxonomy
) -> list[dict[str, Any]]:
    """One finding: its box with the label, and a value of each field that is known."""
    shared = {
        "id": name,
        "to_name": PHOTO,
        "original_width": report.width,
        "original_height": report.height,
        "image_rotation": 0,
    }
    known = {field: finding.get(field) for field in taxonomy.field_names}
    label = {
        "from_name": LABEL,
        "type": "rectanglelabels",
        "value": {**box, "rectanglelabels": [finding[LABEL]]},
    }
    if finding.get("score") is not None:
        label["score"] = finding["score"]
    return [
        shared | label,
        *(
            shared | {"from_name": field, "type": "choices", "value": {**box, "choices": [value]}}
            for field, value in known.items()
            if value is not None
        ),
    ]
