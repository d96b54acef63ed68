"""Model text -> findings, findings -> JSON. Reading never raises, whatever the text."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any, NamedTuple

from lng_kedro.geometry import PROCESSED, PROCESSED_SIZE, Box, Frame
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy

THINK_OPEN, THINK_CLOSE = "<think>", "</think>"
ANSWER_OPEN, ANSWER_CLOSE = "<answer>", "</answer>"

# An array of objects, or an empty one, somewhere in other text.
_ARRAY_START = re.compile(r"\[\s*(?=[{\]])")
# The values of an object whose tokens tell how sure the model is of it.
_SCORED_VALUE = re.compile(r'"(?:label"\s*:\s*"([^"]*)"|bbox"\s*:\s*\[([^\]]*)\])')
_SEPARATOR = re.compile(r"\s*,\s*")


class Finding(NamedTuple):
    """One object of a report, reduced to what the taxonomy allows.

    Attributes:
        label: an allowed label, or None.
        bbox: four finite numbers with x_min < x_max and y_min < y_max, in the frame of the text, or None.
        values: metadata field -> allowed value, or None; every field of the taxonomy is a key.
        schema_share: share of the required keys (label, bbox, fields) that are present and allowed;
            the box must also lie inside the frame.
    """

    label: str | None
    bbox: Box | None
    values: Mapping[str, str | None]
    schema_share: float


@dataclass(frozen=True, slots=True)
class Report:
    """What a model's text says.

    Attributes:
        findings: one per array element, well-formed or not.
        valid_json: the answer is one strict JSON array and nothing else.
        found: an array was found, strict or not; False means "no report", which is not an empty report.
    """

    findings: tuple[Finding, ...]
    valid_json: bool
    found: bool

    @property
    def schema_true(self) -> bool:
        """Strict JSON whose every finding has all required keys with allowed values."""
        return self.valid_json and all(f.schema_share == 1.0 for f in self.findings)


def answer_slice(text: str) -> str | None:
    """The text between the last ``<answer>`` and its ``</answer>`` (or the end); None without a tag."""
    start = text.rfind(ANSWER_OPEN)
    if start < 0:
        return None
    start += len(ANSWER_OPEN)
    end = text.find(ANSWER_CLOSE, start)
    return text[start:] if end < 0 else text[start:end]


def parse_report(text: str, taxonomy: Taxonomy, frame: Frame = PROCESSED) -> Report:
    """Reads a report from a model's text; any text gives a report, none raises.

    The report is looked for in the answer slice, or in the whole text (without its ``<think>`` part)
    where there is no ``<answer>``. Strict JSON is read as it is. Otherwise the first array of objects
    is read as far as its objects are whole, so that a fence, a remark or a cut-off end costs
    `valid_json` but not the findings.

    Args:
        text: the completion.
        taxonomy: labels, fields and values that are allowed.
        frame: the coordinate frame in which the text speaks.
    """
    answer = answer_slice(text)
    if answer is None:
        answer = text.rpartition(THINK_CLOSE)[2]
    items = _strict_array(answer)
    valid = items is not None
    if items is None:
        items = _lenient_array(answer)
    nothing = to_finding(None, taxonomy)  # one for all elements that say nothing: they may be many
    findings = tuple(
        to_finding(item, taxonomy, frame) if item and isinstance(item, dict) else nothing
        for item in items or ()
    )
    return Report(findings=findings, valid_json=valid, found=items is not None)


def to_finding(item: Any, taxonomy: Taxonomy, frame: Frame = PROCESSED) -> Finding:
    """One element of a report's array, of any type, reduced to what is allowed."""
    if not isinstance(item, Mapping):
        return Finding(None, None, dict.fromkeys(taxonomy.field_names), 0.0)
    allowed = taxonomy.allowed
    stated = {name: item.get(name) for name in allowed}
    values = {
        name: value if isinstance(value, str) and value in allowed[name] else None
        for name, value in stated.items()
    }
    good = len(values) - list(values.values()).count(None)
    box = _box(item.get(BBOX))
    if box is not None and is_inside(box, frame):
        good += 1
    return Finding(values.pop(LABEL), box, values, good / (len(allowed) + 1))


def to_json(
    objects: Iterable[Mapping[str, Any]],
    taxonomy: Taxonomy,
    frame: Frame = PROCESSED,
    size: float = PROCESSED_SIZE,
) -> str:
    """The canonical text of a report: compact JSON, keys in the taxonomy's order.

    Args:
        objects: mappings with label, bbox (pixels of a photo `size` square) and the taxonomy's fields.
        taxonomy: gives the keys and their order.
        frame: the coordinate frame in which the text is to speak.
        size: side of the photo in which the boxes are given.
    """
    keys = taxonomy.field_names
    report = [
        {LABEL: o[LABEL], BBOX: list(frame.encode(o[BBOX], size)), **{key: o[key] for key in keys}}
        for o in objects
    ]
    return json.dumps(report, separators=(",", ":"))


def to_objects(findings: Iterable[Finding], frame: Frame = PROCESSED) -> list[dict[str, Any]]:
    """Findings as plain mappings, boxes in the processed frame; what is not allowed is None."""
    return [
        {LABEL: f.label, BBOX: list(frame.decode(f.bbox)) if f.bbox else None, **f.values} for f in findings
    ]


def confidence_spans(text: str) -> list[list[tuple[int, int]]]:
    """For each object of the array that `parse_report` reads: where its label and box stand in `text`.

    (start, end) of what is inside the quotes and brackets; the whole object where it has neither.
    """
    answer = answer_slice(text)
    offset = text.rfind(ANSWER_OPEN) + len(ANSWER_OPEN)
    if answer is None:
        answer = text.rpartition(THINK_CLOSE)[2]
        offset = len(text) - len(answer)
    spans = []
    for _, start, end in _walk_array(answer)[0]:
        values = [m.span(m.lastindex or 0) for m in _SCORED_VALUE.finditer(answer, start, end)]
        spans.append([(offset + s, offset + e) for s, e in values or [(start, end)]])
    return spans


def _strict_array(answer: str) -> list[Any] | None:
    try:
        value = _DECODER.decode(answer)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, list) else None


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _lenient_array(answer: str) -> list[Any] | None:
    spans, found = _walk_array(answer)
    return [item for item, _, _ in spans] if found else None


def _walk_array(answer: str) -> tuple[list[tuple[Any, int, int]], bool]:
    """(element, start, end) of the first array of objects, up to the first that is not whole."""
    opening = _ARRAY_START.search(answer)
    if opening is None:
        return [], False
    position, spans = opening.end(), []
    while position < len(answer) and answer[position] == "{":
        try:
            item, end = _DECODER.raw_decode(answer, position)
        except (ValueError, RecursionError):
            break
        spans.append((item, position, end))
        separator = _SEPARATOR.match(answer, end)
        position = separator.end() if separator else len(answer)
    return spans, True


def _box(value: Any) -> Box | None:
    if not isinstance(value, list | tuple) or len(value) != 4:
        return None
    # bool is an int, and no coordinate. Asking for the two types first is quicker.
    if not all(type(v) in (int, float) or (isinstance(v, Real) and not isinstance(v, bool)) for v in value):
        return None
    try:
        x_min, y_min, x_max, y_max = map(float, value)
    except OverflowError:  # an integer past the range of floats
        return None
    box = (x_min, y_min, x_max, y_max)
    return box if x_min < x_max and y_min < y_max and all(map(math.isfinite, box)) else None


def is_inside(box: Box, frame: Frame) -> bool:
    """Whether a box lies inside its frame."""
    return box[0] >= 0 and box[1] >= 0 and box[2] <= frame.width and box[3] <= frame.height
