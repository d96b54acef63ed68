"""The report schema: labels, metadata fields and their allowed values (paper, section III.A).

Everything that spells a label or a field value is derived from one `Taxonomy`, read from
``conf/base/parameters/taxonomy.yml``.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

LABEL = "label"
BBOX = "bbox"

_TAG = re.compile("</?(think|answer)>")
"""What answers are divided by: a name that holds one would divide them too."""


class Label(BaseModel):
    """An inspected item: its name in reports and its ids and spellings in the raw dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    defective_id: int
    good_id: int | None = None
    korean: tuple[str, ...] = ()


class Field(BaseModel):
    """A categorical metadata field of a finding.

    `values` are allowed in every report. `from_data` are spellings of further values, allowed in the
    runs whose data hold them. An `optional` field exists only in runs that ask for it. `keys` are other
    names that raw labels give to the field.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    values: dict[str, tuple[str, ...]] = {}
    from_data: dict[str, tuple[str, ...]] = {}
    optional: bool = False
    keys: tuple[str, ...] = ()

    @cached_property
    def spellings(self) -> dict[str, str]:
        """Folded spelling -> value, for every spelling known."""
        known = self.values | self.from_data
        return {fold(s): value for value, others in known.items() for s in (value, *others)}


class Taxonomy(BaseModel):
    """Labels and fields of a report; immutable."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    labels: tuple[Label, ...]
    negative_ids: tuple[int, ...] = ()
    boxless_ids: tuple[int, ...] = ()
    fields: dict[str, Field]

    @model_validator(mode="after")
    def _unambiguous(self) -> Self:
        ids = [i for label in self.labels for i in (label.defective_id, label.good_id) if i]
        ids += self.negative_ids
        keys = [fold(key) for name, field in self.fields.items() for key in (name, *field.keys)]
        for what, items in (("label", self.label_names), ("id", ids), ("key", keys)):
            repeated = {str(item) for item in items if list(items).count(item) > 1}
            if repeated:
                raise ValueError(f"taxonomy: {what} given twice: {', '.join(sorted(repeated))}")
        if {LABEL, BBOX} & self.fields.keys():
            raise ValueError(f"taxonomy: '{LABEL}' and '{BBOX}' cannot be metadata fields")
        values = [value for field in self.fields.values() for value in field.values | field.from_data]
        for name in (*self.label_names, *self.fields, *values):
            if _TAG.search(name):
                raise ValueError(f"taxonomy: '{name}' holds a tag that divides answers: take another name")
        return self

    @cached_property
    def label_names(self) -> tuple[str, ...]:
        """Names of the labels, in the taxonomy's order."""
        return tuple(label.name for label in self.labels)

    @cached_property
    def boxless_labels(self) -> tuple[str, ...]:
        """Labels whose defects carry no boxes in the raw dataset."""
        return tuple(label.name for label in self.labels if label.defective_id in self.boxless_ids)

    @cached_property
    def field_names(self) -> tuple[str, ...]:
        """Names of the metadata fields of a report, in order (label and bbox not among them)."""
        return tuple(name for name, field in self.fields.items() if field.values)

    @cached_property
    def field_of_key(self) -> dict[str, str]:
        """Folded key of raw labels -> the field that it states."""
        return {fold(key): name for name, field in self.fields.items() for key in (name, *field.keys)}

    @cached_property
    def allowed(self) -> dict[str, frozenset[str]]:
        """Allowed values of `label` and of each metadata field."""
        values = {name: frozenset(self.fields[name].values) for name in self.field_names}
        return {LABEL: frozenset(self.label_names), **values}

    @cached_property
    def by_id(self) -> dict[int, tuple[str, str]]:
        """AI-Hub id -> (label, quality); negatives are not in it."""
        found = {label.defective_id: (label.name, "Defective") for label in self.labels}
        return found | {label.good_id: (label.name, "Good") for label in self.labels if label.good_id}

    def choices(self, field: str) -> tuple[str, ...]:
        """Allowed values of `label` or of a metadata field, in the taxonomy's order."""
        return self.label_names if field == LABEL else tuple(self.fields[field].values)

    def with_data_values(self, observed: Mapping[str, Iterable[str]]) -> "Taxonomy":
        """The taxonomy of one run: `observed` values of its data are allowed beside the listed ones.

        Args:
            observed: field -> values met in the data. An optional field joins the report if it has
                any here.
        """
        fields = dict(self.fields)
        for name, values in observed.items():
            field = fields[name]
            known = field.values | field.from_data
            extra = {v: known.get(v, ()) for v in sorted(set(values) - field.values.keys())}
            fields[name] = field.model_copy(update={"values": field.values | extra})
        return Taxonomy(**{**self.model_dump(), "fields": {n: f.model_dump() for n, f in fields.items()}})

    def json_schema(self) -> dict[str, Any]:
        """JSON Schema of a report: an array of findings whose keys are all required."""
        number = {"type": "number", "minimum": 0}
        properties: dict[str, Any] = {
            LABEL: {"enum": list(self.label_names)},
            BBOX: {"type": "array", "items": number, "minItems": 4, "maxItems": 4},
        }
        properties |= {name: {"enum": list(self.choices(name))} for name in self.field_names}
        finding = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return {"type": "array", "items": finding}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of what a report may say."""
        return sha256(json.dumps(self.json_schema()).encode()).hexdigest()


def fold(text: str) -> str:
    """A spelling with Unicode form, case and white space evened out (zips mix NFC and NFD)."""
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


def load_taxonomy(path: str | Path) -> Taxonomy:
    """Reads a taxonomy from its parameters file (key ``taxonomy``) or from a run's JSON artifact.

    Raises:
        ValueError: the file is not a taxonomy; the message names the file.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
        content = json.loads(text) if Path(path).suffix == ".json" else yaml.safe_load(text)
        if not isinstance(content, dict):
            raise ValueError("a mapping with 'labels' and 'fields' is expected")
        return Taxonomy.model_validate(content.get("taxonomy", content))
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not a taxonomy: {error}") from error
