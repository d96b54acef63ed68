"""One label file -> rows of the manifest; what cannot be used becomes rows of the quarantine."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from lng_kedro.aihub.folder import context, stem
from lng_kedro.quarantine import Rejected
from lng_kedro.taxonomy import Taxonomy, fold

Row = dict[str, Any]

_PHOTO_NAME = re.compile(r"^(?P<id>\d{4})_(?P<part>\d{2})_")


@dataclass(frozen=True)
class LabelReader:
    """Reads label files by one taxonomy.

    Attributes:
        taxonomy: ids, labels, fields and spellings.
        skip_boxless: leave objects of image-level ids out instead of giving them the whole photo.
    """

    taxonomy: Taxonomy
    skip_boxless: bool = False

    def read(self, locator: str, content: bytes, photo: str | None) -> tuple[list[Row], list[Row]]:
        """Rows of one label file.

        Args:
            locator: of the label file; its name carries the photo's id, its folders the part.
            content: of the label file, JSON.
            photo: locator of its photo, or None if there is none.

        Returns:
            Manifest rows (one an object; one without label for a photo that shows nothing to report)
            and quarantine rows.
        """
        try:
            if photo is None:
                raise Rejected("label_without_photo", "no photo has this name")
            label = _document(content)
            base = self._photo_row(locator, label, photo)
            annotations = _annotations(label)
        except Rejected as problem:
            return [], [problem.row(locator)]
        rows, rejected = [], []
        for annotation in annotations:
            if self._says_nothing(annotation):
                continue
            try:
                rows.append(base | self._object_row(locator, label, annotation, base))
            except Rejected as problem:
                rejected.append(problem.row(locator))
        if not rows and not rejected:
            return self._negative(locator, base)
        # A photo of which one object is lost would teach that the object is not there.
        return ([], rejected) if rejected else (rows, [])

    def _photo_row(self, locator: str, label: Mapping[str, Any], photo: str) -> Row:
        images = _listed(label, "images")
        image = images[0] if images and isinstance(images[0], Mapping) else {}
        width, height = image.get("width"), image.get("height")
        if not (_whole(width) and _whole(height)):
            raise Rejected("photo_size", f"width {width!r}, height {height!r}")
        name = _PHOTO_NAME.match(stem(locator))
        if name is None:
            raise Rejected("file_name", "does not begin with an id and a part code")
        return {
            "photo_id": stem(locator),
            "photo": photo,
            "label_file": locator,
            "photo_category_id": int(name["id"]),
            "width": width,
            "height": height,
        }

    def _object_row(self, locator: str, label: Mapping[str, Any], annotation: Any, base: Row) -> Row:
        if not isinstance(annotation, Mapping):
            raise Rejected("annotation", f"not an object: {annotation!r:.80}")
        category = annotation.get("category_id")
        if not _number(category) or category not in self.taxonomy.by_id:
            raise Rejected("unknown_id", f"category_id {category!r:.80}")
        name, quality = self.taxonomy.by_id[category]
        box, source = self._box(annotation.get("bbox"), category, base)
        fields, filled = self._fields(locator, label, annotation, quality)
        x, y, w, h = box
        place = {"x": x, "y": y, "w": w, "h": h, "box_source": source}
        return {"category_id": category, "label": name, **place, **fields, "filled": filled}

    def _box(self, box: Any, category: int, photo: Row) -> tuple[Sequence[float], str]:
        if category in self.taxonomy.boxless_ids:
            if self.skip_boxless:
                raise Rejected("boxless", f"category_id {category} carries no boxes")
            return (0.0, 0.0, float(photo["width"]), float(photo["height"])), "image"
        if not (isinstance(box, list) and len(box) == 4 and all(map(_number, box))):
            raise Rejected("box", f"four finite numbers expected, found {box!r:.80}")
        x, y, w, h = box
        if w <= 0 or h <= 0:
            raise Rejected("box_degenerate", f"{box}")
        if x < 0 or y < 0 or x + w > photo["width"] or y + h > photo["height"]:
            raise Rejected("box_outside", f"{box} in {photo['width']} x {photo['height']}")
        return [float(side) for side in box], "label"

    def _fields(
        self, locator: str, label: Mapping[str, Any], annotation: Mapping[str, Any], quality: str
    ) -> tuple[Row, str]:
        """Values of all fields, and which of them were filled by rule: ``field:rule,…``."""
        sources = list(_metadata_sources(label, annotation))
        values: Row = {}
        filled: list[str] = []
        for name, field in self.taxonomy.fields.items():
            stated = next((s[name] for s in sources if not _blank(s.get(name))), None)
            if stated is not None:
                # A field without listed values (material) takes what the data say.
                known = field.spellings.get(fold(str(stated))) if field.values else str(stated).strip()
                value = known if isinstance(stated, str | int) else None
                if value is None:
                    raise Rejected("unknown_value", f"{name} {stated!r:.80}: add it to the taxonomy")
            elif name == "quality":
                value, rule = quality, "id"
                filled.append(f"{name}:{rule}")
            elif name == "part" and (found := self._part_of_name(locator)):
                value, rule = found
                filled.append(f"{name}:{rule}")
            elif field.optional:
                value = None
            else:
                raise Rejected("missing_value", f"{name} is nowhere in the label")
            values[name] = value
        return values, ",".join(filled)

    def _part_of_name(self, locator: str) -> tuple[str, str] | None:
        spellings = self.taxonomy.fields["part"].spellings
        for name in reversed(PurePosixPath(context(locator)).parts):
            word = fold(name).removesuffix("!").removesuffix(".zip").rpartition("_")[2]
            if word in spellings and not word.isdigit():  # a folder named by a date has no part code
                return spellings[word], "zip"
        code = _PHOTO_NAME.match(stem(locator))
        value = spellings.get(code["part"]) if code else None
        return (value, "name") if value else None

    def _says_nothing(self, annotation: Any) -> bool:
        """Some photos with nothing to report say so by an annotation with their own id."""
        category = annotation.get("category_id") if isinstance(annotation, Mapping) else None
        return _number(category) and category in self.taxonomy.negative_ids

    def _negative(self, locator: str, base: Row) -> tuple[list[Row], list[Row]]:
        if base["photo_category_id"] in self.taxonomy.negative_ids:
            return [base | {"category_id": base["photo_category_id"], "label": None, "filled": ""}], []
        problem = Rejected("no_object", f"id {base['photo_category_id']} without annotations")
        return [], [problem.row(locator)]


def _document(content: bytes) -> Mapping[str, Any]:
    try:
        label = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise Rejected("json", str(error)[:200]) from error
    if not isinstance(label, Mapping):
        raise Rejected("json", f"an object expected, found {type(label).__name__}")
    return label


def _annotations(label: Mapping[str, Any]) -> list[Any]:
    annotations = label.get("annotations")
    if annotations is not None and not isinstance(annotations, list):
        raise Rejected("annotation", f"a list expected, found {annotations!r:.80}")
    return annotations or []


def _listed(label: Mapping[str, Any], key: str) -> list[Any]:
    value = label.get(key)
    return value if isinstance(value, list) else []


def _metadata_sources(label: Mapping[str, Any], annotation: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Where metadata have been seen, nearest to the object first."""
    images = _listed(label, "images")
    places = [annotation.get("attributes"), annotation, images[0] if images else None]
    places += [label.get("info"), label.get("metadata"), label]
    return (place for place in places if isinstance(place, Mapping))


def _number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e9 and math.isfinite(value)


def _whole(value: Any) -> bool:
    return _number(value) and value >= 1 and value == int(value)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
