"""One label file -> rows of the manifest; what cannot be used becomes refusals with a reason."""

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, NamedTuple, TypeGuard

from lng_kedro.aihub.folder import context, is_utf8, stem
from lng_kedro.quarantine import Rejected
from lng_kedro.taxonomy import Taxonomy, fold

Row = dict[str, Any]
Box = tuple[float, float, float, float]

_PHOTO_NAME = re.compile(r"^(?P<id>\d{4})_(?P<part>\d{2})_", re.ASCII)
_DIGITS = re.compile(r"\d{1,9}", re.ASCII)
_fold = lru_cache(maxsize=4096)(fold)  # a dataset spells few words, many times


class _Photo(NamedTuple):
    """What a label file says of one photo."""

    photo_id: str
    image: Mapping[str, Any]
    annotations: list[Any]


@dataclass(frozen=True)
class _File:
    """A label file, and what all its photos share."""

    locator: str
    label: Mapping[str, Any]

    @cached_property
    def places(self) -> list[Mapping[str, Any]]:
        """Where metadata of all photos have been seen, nearest to the object first."""
        return [_mapping(self.label.get("info")), _mapping(self.label.get("metadata")), self.label]

    @cached_property
    def category_names(self) -> dict[Any, str]:
        """Names that the file gives to its own ids."""
        categories = map(_mapping, _listed(self.label, "categories"))
        return {_key(c.get("id")): c["name"] for c in categories if isinstance(c.get("name"), str)}


@dataclass(frozen=True)
class LabelReader:
    """Reads label files by one taxonomy.

    Attributes:
        taxonomy: ids, labels, fields and spellings.
        skip_boxless: leave objects of image-level ids out instead of giving them the whole photo.
        clip_boxes: cut boxes that reach out of their photo instead of refusing them.
    """

    taxonomy: Taxonomy
    skip_boxless: bool = False
    clip_boxes: bool = False
    _parts: dict[str, str | None] = field(default_factory=dict, init=False, repr=False, compare=False)

    def read(self, locator: str, content: bytes, has_photo: bool) -> tuple[list[Row], list[Row]]:
        """What one label file says of its photo, or of each of its photos.

        A file of one photo means the photo of its own name; where there is none, and in a merged file,
        `file_name` names the photo.

        Args:
            locator: of the label file; its folders may tell the part.
            content: of the label file, JSON.
            has_photo: whether some photo has the label file's name.

        Returns:
            Manifest rows without the photo's locator (one an object; one without label for a photo
            that shows nothing to report), and refusals: photo_id (None where no photo is named),
            label_file, reason and detail. A photo is in one of the two. A part that the label and its
            folders do not tell may be told by the photo's: such a row is filled by the rule `name`, or has
            no part yet and the rule `photo`.
        """
        own = stem(locator)
        try:
            file = _File(locator, _document(content))
            annotations = _annotations(file.label)
        except Rejected as problem:
            return [], [refusal(own if has_photo else None, locator, problem)]
        images = [_mapping(image) for image in _listed(file.label, "images")]
        if len(images) > 1:
            photos, lost = _by_image(images, annotations)
        else:
            image = images[0] if images else {}
            name = own if has_photo else _named(image) or own
            photos, lost = [_Photo(name, image, annotations)], []
        rows: list[Row] = []
        refused = [refusal(photo_id, locator, problem) for photo_id, problem in lost]
        for photo in photos:
            found, problems = self._read_photo(file, photo)
            rows += found
            refused += [refusal(photo.photo_id, locator, problem) for problem in problems]
        return rows, refused

    def _read_photo(self, file: _File, photo: _Photo) -> tuple[list[Row], list[Rejected]]:
        try:
            base = _photo_row(file, photo)
        except Rejected as problem:
            return [], [problem]
        category = base["photo_category_id"]
        negative = category in self.taxonomy.negative_ids
        if not negative and category not in self.taxonomy.by_id:
            return [], [Rejected("unknown_id", f"id {category} in its name")]
        # A photo of an id without boxes may have no annotation: its name says it all.
        implied = [{"category_id": category}] if category in self.taxonomy.boxless_ids else []
        rows: list[Row] = []
        problems: list[Rejected] = []
        for annotation in photo.annotations or implied:
            if self._says_nothing(annotation):
                continue
            try:
                rows.append(base | self._object_row(file, photo, annotation, base))
            except Rejected as problem:
                problems.append(problem)
        if problems:  # a photo of which one object is lost would teach that the object is not there
            return [], problems
        if rows and negative:
            shown = ", ".join(sorted({row["label"] for row in rows}))
            return [], [Rejected("not_negative", f"id {category} in its name, yet it shows: {shown}")]
        if rows:
            return rows, []
        if not negative:
            return [], [Rejected("no_object", f"id {category} without annotations")]
        return [base | {"category_id": category, "label": None, "clipped": False, "filled": ""}], []

    def _object_row(self, file: _File, photo: _Photo, annotation: Any, base: Row) -> Row:
        if not isinstance(annotation, Mapping):
            raise Rejected("annotation", f"not an object: {annotation!r:.80}")
        own, meant = _key(photo.image.get("id")), _key(annotation.get("image_id"))
        if None not in (own, meant) and own != meant:
            raise Rejected(
                "annotation", f"belongs to photo {meant!r:.80} of the file, which has {own!r:.80} alone"
            )
        category, filled = self._category(file, annotation.get("category_id"))
        name, quality = self.taxonomy.by_id[category]
        box, source, clipped = self._box(annotation, category, base)
        place = dict(zip("xywh", box, strict=True)) | {"box_source": source, "clipped": clipped}
        values: Row = {}
        stated = self._stated([_mapping(annotation.get("attributes")), annotation, photo.image, *file.places])
        for key in self.taxonomy.fields:
            if key in stated:
                values[key] = self._value(key, stated[key])
                if key == "quality" and values[key] != quality:
                    raise Rejected(
                        "contradiction", f"id {category} is {quality}, the label says {values[key]}"
                    )
                continue
            values[key], rule = self._filled(key, file, photo, quality)
            if rule:
                filled.append(f"{key}:{rule}")
        return {"category_id": category, "label": name, **place, **values, "filled": ",".join(filled)}

    def _category(self, file: _File, stated: Any) -> tuple[int, list[str]]:
        """The AI-Hub id; an id of the file's own is known by the name that its `categories` give it."""
        key = _key(stated)
        if _number(key) and key in self.taxonomy.by_id:
            return int(key), []
        name = file.category_names.get(key) if _number(key) else None
        if name is None or _fold(name) not in self._ids_by_name:
            raise Rejected("unknown_id", f"category_id {stated!r:.80}" + (f" ({name!r:.80})" if name else ""))
        return self._ids_by_name[_fold(name)], ["category_id:name"]

    @cached_property
    def _ids_by_name(self) -> dict[str, int]:
        return {fold(n): o.defective_id for o in self.taxonomy.labels for n in (o.name, *o.korean)}

    def _box(self, annotation: Mapping[str, Any], category: int, photo: Row) -> tuple[Box, str, bool]:
        """The box, where it is from, and whether it was cut."""
        width, height = photo["width"], photo["height"]
        if category in self.taxonomy.boxless_ids:
            if self.skip_boxless:
                raise Rejected("boxless", f"category_id {category} carries no boxes")
            return (0.0, 0.0, float(width), float(height)), "image", False
        stated, source = annotation.get("bbox"), "label"
        if stated is None or stated == []:
            stated, source = _box_around(annotation.get("segmentation")), "segmentation"
        if not (isinstance(stated, list) and len(stated) == 4 and all(map(_number, stated))):
            raise Rejected("box", f"four finite numbers expected, found {annotation.get('bbox')!r:.80}")
        x, y, w, h = map(float, stated)
        if w <= 0 or h <= 0:
            raise Rejected("box_degenerate", f"{stated}")
        if x >= 0 and y >= 0 and x + w <= width and y + h <= height:
            return (x, y, w, h), source, False
        left, top, right, bottom = max(x, 0.0), max(y, 0.0), min(x + w, width), min(y + h, height)
        if not self.clip_boxes or left >= right or top >= bottom:
            raise Rejected("box_outside", f"{stated} in {width} x {height}")
        return (left, top, right - left, bottom - top), source, True

    def _stated(self, places: Sequence[Mapping[str, Any]]) -> Row:
        """What the nearest place that is not blank says of each field."""
        found: Row = {}
        for place in places:
            for key, value in place.items():
                name = self.taxonomy.field_of_key.get(_fold(key))
                if name and name not in found and not _blank(value):
                    found[name] = value
        return found

    def _value(self, key: str, stated: Any) -> str:
        """What the label states of a field, in the taxonomy's spelling."""
        value = None
        if isinstance(stated, str | int):
            known = self.taxonomy.fields[key]
            text = str(stated)
            if known.values:
                value = known.spellings.get(_fold(text))
            elif is_utf8(text):  # a field without listed values (material) takes what the data say
                value = text.strip()
        if value is None:
            raise Rejected("unknown_value", f"{key} {stated!r:.80}: add it to the taxonomy")
        return value

    def _filled(self, key: str, file: _File, photo: _Photo, quality: str) -> tuple[str | None, str | None]:
        """A field's value by rule, and the rule; a part may wait for where its photo lies."""
        if key == "quality":
            return quality, "id"
        if key == "part":
            if value := self.part_of_folders(context(file.locator)):
                return value, "zip"
            code = _PHOTO_NAME.match(photo.photo_id)
            if code and (value := self.taxonomy.fields["part"].spellings.get(code["part"])):
                return value, "name"
        if self.taxonomy.fields[key].optional:
            return None, None
        if key == "part":
            return None, "photo"
        raise missing(key)

    def part_of_folders(self, folders: str) -> str | None:
        """The part that the last word of a zip's or a folder's name tells, innermost first."""
        if folders not in self._parts:
            spellings = self.taxonomy.fields["part"].spellings
            names = reversed(folders.split("/"))
            words = (fold(name).removesuffix("!").removesuffix(".zip").rpartition("_")[2] for name in names)
            # A folder named by a date has no part code.
            found = (spellings[word] for word in words if word in spellings and not word.isdigit())
            self._parts[folders] = next(found, None)
        return self._parts[folders]

    def _says_nothing(self, annotation: Any) -> bool:
        """Some photos with nothing to report say so by an annotation with their own id."""
        category = _key(_mapping(annotation).get("category_id"))
        return _number(category) and category in self.taxonomy.negative_ids


def missing(field: str) -> Rejected:
    """A field that nothing tells."""
    return Rejected("missing_value", f"{field} is nowhere in the label")


def refusal(photo_id: str | None, locator: str, problem: Rejected) -> Row:
    """A photo, or with None a file or a part of one, that cannot be used."""
    return {
        "photo_id": photo_id,
        "label_file": locator,
        "reason": problem.reason,
        "detail": problem.detail,
    }


def _document(content: bytes) -> Mapping[str, Any]:
    if not content:
        raise Rejected("empty", "a label file of zero bytes")
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


def _by_image(
    images: list[Mapping[str, Any]], annotations: list[Any]
) -> tuple[list[_Photo], list[tuple[str | None, Rejected]]]:
    """The photos of a merged file, and what belongs to none of them or cannot be told apart."""
    lost: list[tuple[str | None, Rejected]] = []
    ids = Counter(_key(image.get("id")) for image in images)
    names = Counter(map(_named, images))
    of_id: dict[Any, list[Any]] = {key: [] for key in ids}
    for annotation in annotations:
        key = _key(_mapping(annotation).get("image_id"))
        if key is None or key not in of_id:
            problem = Rejected("annotation", f"belongs to no photo of the file: {annotation!r:.80}")
            lost.append((None, problem))
        else:
            of_id[key].append(annotation)
    photos = []
    for image in images:
        key, name = _key(image.get("id")), _named(image)
        if name is None:
            lost.append((None, Rejected("file_name", f"file_name {image.get('file_name')!r:.80}")))
        elif names[name] > 1 or (key is not None and ids[key] > 1):
            lost.append((name, Rejected("annotation", "the file gives its name or id to several photos")))
        else:
            photos.append(_Photo(name, image, of_id[key] if key is not None else []))
    return photos, lost


def _photo_row(file: _File, photo: _Photo) -> Row:
    width, height = photo.image.get("width"), photo.image.get("height")
    if not (_whole(width) and _whole(height)):
        raise Rejected("photo_size", f"width {width!r:.80}, height {height!r:.80}")
    name = _PHOTO_NAME.match(photo.photo_id)
    if name is None:
        raise Rejected("file_name", "does not begin with an id and a part code")
    return {
        "photo_id": photo.photo_id,
        "label_file": file.locator,
        "photo_category_id": int(name["id"]),
        "width": int(width),
        "height": int(height),
    }


def _box_around(segmentation: Any) -> list[float] | None:
    """COCO's x, y, width and height around all polygons; None where there is no polygon.

    Args:
        segmentation: COCO's list of polygons ``[[x, y, x, y, …], …]``; one polygon or a list of points too.
    """
    if not (isinstance(segmentation, list) and segmentation):
        return None
    polygons = segmentation if isinstance(segmentation[0], list) else [segmentation]
    if not all(isinstance(polygon, list) and len(polygon) % 2 == 0 for polygon in polygons):
        return None
    numbers = [number for polygon in polygons for number in polygon]
    if len(numbers) < 6 or not all(map(_number, numbers)):
        return None
    xs, ys = numbers[::2], numbers[1::2]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]


def _named(image: Mapping[str, Any]) -> str | None:
    """The photo that `file_name` names."""
    name = image.get("file_name")
    return stem(name) if isinstance(name, str) and name.strip() and is_utf8(name) else None


def _key(value: Any) -> Any:
    """An id that can be compared; digits are the number."""
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return value if isinstance(value, str | int | float) else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _listed(label: Mapping[str, Any], key: str) -> list[Any]:
    value = label.get(key)
    return value if isinstance(value, list) else []


def _number(value: Any) -> TypeGuard[float]:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e9 and math.isfinite(value)


def _whole(value: Any) -> TypeGuard[float]:
    return _number(value) and value >= 1 and value == int(value)


def _blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
