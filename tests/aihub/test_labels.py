"""Label files -> manifest rows and quarantine rows."""

import json
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lng_kedro.aihub.folder import stem
from lng_kedro.aihub.labels import LabelReader, Row
from lng_kedro.quarantine import REASONS
from lng_kedro.taxonomy import Taxonomy
from tests.raw import ENGLISH, KOREAN, annotation, encoded, label

STEM = "2102_12_a"
POLYGON = [[10, 20, 40, 25.5, 30, 60]]
ZIP = f"TL_표면처리_균열_도장.zip!/{STEM}.json"


def read(
    taxonomy: Taxonomy, content: Any, locator: str = ZIP, has_photo: bool = True, **options: bool
) -> tuple[list[Row], list[Row]]:
    content = content if isinstance(content, bytes) else encoded(content)
    return LabelReader(taxonomy, **options).read(locator, content, has_photo)


def one_row(taxonomy: Taxonomy, content: Any, locator: str = ZIP, **options: bool) -> Row:
    rows, rejected = read(taxonomy, content, locator, **options)
    assert rejected == []
    assert len(rows) == 1
    return rows[0]


def reasons(taxonomy: Taxonomy, content: Any, locator: str = ZIP, **options: bool) -> list[str]:
    rows, rejected = read(taxonomy, content, locator, **options)
    assert rows == []
    assert all(row["label_file"] == locator and row["detail"] for row in rejected)
    assert {row["photo_id"] for row in rejected} == {stem(locator)}
    return [row["reason"] for row in rejected]


def test_a_whole_row(taxonomy: Taxonomy) -> None:
    assert one_row(taxonomy, label(annotation(bbox=(10, 20.5, 30, 40)), width=200, height=100)) == {
        "photo_id": STEM,
        "label_file": ZIP,
        "photo_category_id": 2102,
        "width": 200,
        "height": 100,
        "category_id": 2102,
        "label": "crack",
        "x": 10.0,
        "y": 20.5,
        "w": 30.0,
        "h": 40.0,
        "box_source": "label",
        "clipped": False,
        **ENGLISH,
        "material": None,
        "filled": "",
    }


def test_objects_of_other_categories_than_the_photos(taxonomy: Taxonomy) -> None:
    rows, rejected = read(taxonomy, label(annotation(2102), annotation(2502), annotation(1101)))
    assert rejected == []
    assert [(r["label"], r["category_id"], r["photo_category_id"]) for r in rows] == [
        ("crack", 2102, 2102),
        ("scratch", 2502, 2102),
        ("welding", 1101, 2102),
    ]


# --- where metadata sit and how they are spelled --------------------------------------------------------


def put(content: dict[str, Any], place: str, values: dict[str, Any]) -> None:
    match place:
        case "annotations[].attributes":
            content["annotations"][0]["attributes"] = values
        case "annotations[]":
            content["annotations"][0] |= values
        case "images[0]":
            content["images"][0] |= values
        case "top level":
            content |= values
        case _:
            content[place] = values


PLACES = ["annotations[].attributes", "annotations[]", "images[0]", "info", "metadata", "top level"]


@pytest.mark.parametrize("place", PLACES)
def test_metadata_are_found_wherever_they_sit(taxonomy: Taxonomy, place: str) -> None:
    content = label(annotation(attributes={}))
    put(content, place, KOREAN)
    row = one_row(taxonomy, content)
    assert {name: row[name] for name in ENGLISH} == ENGLISH
    assert row["filled"] == ""


@pytest.mark.parametrize(("near", "far"), pairwise(PLACES))
def test_the_place_nearest_to_the_object_wins(taxonomy: Taxonomy, near: str, far: str) -> None:
    content = label(annotation(attributes={}))
    put(content, far, KOREAN | {"location": "외벽"})
    put(content, near, {"location": "외부", "sub_location": " ", "part": None})
    row = one_row(taxonomy, content)
    # What the nearer place leaves blank is taken from the other.
    assert (row["location"], row["sub_location"], row["part"]) == ("Outside", "Floor", "Coating")


KEYS = {"탱크타입": "C형", "위치": "내부", "세부 위치": "바닥", "부위": "도장", "품질": "불량", "재질": "SUS"}


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("place", PLACES)
def test_keys_may_be_korean(taxonomy: Taxonomy, place: str, form: Any) -> None:
    content = label(annotation(attributes={}))
    put(content, place, {unicodedata.normalize(form, key): value for key, value in KEYS.items()})
    row = one_row(taxonomy, content)
    assert {name: row[name] for name in ENGLISH} == ENGLISH
    assert (row["material"], row["filled"]) == ("SUS", "")


def test_a_key_of_the_configurations_own(taxonomy: Taxonomy) -> None:
    content = taxonomy.model_dump()
    content["fields"]["location"]["keys"] = ("Where is it",)
    values = without("location") | {"WHERE is it": "외벽"}
    assert one_row(Taxonomy(**content), label(annotation(attributes=values)))["location"] == "Outer wall"


def test_a_blank_key_leaves_the_word_to_another_one(taxonomy: Taxonomy) -> None:
    values = without("location") | {"location": " ", "위치": "외벽"}
    assert one_row(taxonomy, label(annotation(attributes=values)))["location"] == "Outer wall"


@pytest.mark.parametrize(
    ("field", "spelled", "value"),
    [
        ("location", "외벽", "Outer wall"),
        ("location", unicodedata.normalize("NFD", "외벽"), "Outer wall"),
        ("location", " OUTER  wall ", "Outer wall"),
        ("sub_location", "dished end", "Dished end"),
        ("sub_location", "경판", "Dished end"),
        ("tank_type", "b", "B"),
        ("tank_type", "B타입", "B"),
        ("part", "11", "Base Material"),
        ("part", 16, "Cable"),
        ("part", "케이블 타이", "Cable Tie"),
        ("part", "파이프", "Pipe"),
        ("part", "18", "Cable Gland"),
        ("part", "우레탄폼", "Urethane Foam"),
        ("quality", 1, "Good"),
        ("quality", "2", "Defective"),
        ("quality", "정상", "Good"),
        ("material", " SUS304 ", "SUS304"),
    ],
)
def test_spellings(taxonomy: Taxonomy, field: str, spelled: Any, value: str) -> None:
    category_id = 1101 if value == "Good" else 1102
    row = one_row(taxonomy, label(annotation(category_id, attributes=KOREAN | {field: spelled})))
    assert row[field] == value
    assert row["filled"] == ""


def without(*fields: str) -> dict[str, str]:
    return {name: value for name, value in KOREAN.items() if name not in fields}


@pytest.mark.parametrize(
    ("locator", "part", "filled"),
    [
        (f"x/TL_케이블_바인딩불량_케이블타이.zip!/{STEM}.json", "Cable Tie", "part:zip"),
        (
            f"x/{unicodedata.normalize('NFD', 'TL_표면처리_균열_보온재.ZIP')}!/{STEM}.json",
            "Insulation",
            "part:zip",
        ),
        (f"TL_표면처리_균열_모재.zip!/inside/{STEM}.json", "Base Material", "part:zip"),
        (f"TL_표면처리_균열_조인트/{STEM}.json", "Joint", "part:zip"),
        (f"TL_표면처리_균열_모름.zip!/{STEM}.json", "Coating", "part:name"),
        (f"2024_03_14/{STEM}.json", "Coating", "part:name"),
        ("2102_15_a.json", "Pipe", "part:name"),
    ],
)
def test_a_missing_part_is_filled_from_the_zip_then_from_the_name(
    taxonomy: Taxonomy, locator: str, part: str, filled: str
) -> None:
    row = one_row(taxonomy, label(annotation(attributes=without("part"))), locator)
    assert (row["part"], row["filled"]) == (part, filled)


@pytest.mark.parametrize(("category_id", "quality"), [(1101, "Good"), (1102, "Defective")])
def test_a_missing_quality_is_filled_from_the_id(taxonomy: Taxonomy, category_id: int, quality: str) -> None:
    row = one_row(taxonomy, label(annotation(category_id, attributes=without("quality", "part"))))
    assert (row["quality"], row["filled"]) == (quality, "part:zip,quality:id")


@pytest.mark.parametrize(
    ("category_id", "stated", "detail"),
    [
        (1101, "불량", "id 1101 is Good, the label says Defective"),
        (1102, "양품", "id 1102 is Defective, the label says Good"),
        (6101, "Defective", "id 6101 is Good, the label says Defective"),
    ],
)
def test_a_quality_that_is_not_its_ids_is_refused(
    taxonomy: Taxonomy, category_id: int, stated: str, detail: str
) -> None:
    content = label(annotation(category_id, attributes=KOREAN | {"quality": stated}))
    _, (problem,) = read(taxonomy, content)
    assert (problem["reason"], problem["detail"]) == ("contradiction", detail)


# --- photos without boxes, photos without objects -------------------------------------------------------


@pytest.mark.parametrize("category_id", [2702, 6101, 6102])
@pytest.mark.parametrize(
    "more", [{"bbox": None}, {"bbox": []}, {"bbox": (1, 2, 3, 4)}, {"segmentation": None}]
)
def test_a_boxless_object_gets_the_whole_photo(
    taxonomy: Taxonomy, category_id: int, more: dict[str, Any]
) -> None:
    found = annotation(category_id, **more)
    if "segmentation" in more:
        del found["bbox"], found["segmentation"]
    row = one_row(taxonomy, label(found, width=300, height=200))
    assert (row["x"], row["y"], row["w"], row["h"]) == (0.0, 0.0, 300.0, 200.0)
    assert row["box_source"] == "image"


@pytest.mark.parametrize(
    ("category_id", "quality"), [(2702, "Defective"), (6101, "Good"), (6102, "Defective")]
)
@pytest.mark.parametrize("annotations", [[], None])
def test_a_photo_of_an_id_without_boxes_needs_no_annotation(
    taxonomy: Taxonomy, category_id: int, quality: str, annotations: Any
) -> None:
    content = label(width=300, height=200) | {"annotations": annotations}
    content["images"][0] |= without("quality")
    row = one_row(taxonomy, content, f"{category_id}_12_a.json")
    assert (row["x"], row["y"], row["w"], row["h"], row["box_source"]) == (0.0, 0.0, 300.0, 200.0, "image")
    assert (row["category_id"], row["label"]) == (category_id, taxonomy.by_id[category_id][0])
    assert (row["location"], row["quality"], row["filled"]) == ("Inside", quality, "quality:id")
    _, (problem,) = read(taxonomy, content, f"{category_id}_12_a.json", skip_boxless=True)
    assert problem["reason"] == "boxless"


def test_a_boxless_object_can_be_skipped(taxonomy: Taxonomy) -> None:
    content = label(annotation(2702, bbox=None), annotation(2102))
    rows, rejected = read(taxonomy, content, skip_boxless=True)
    assert rows == []
    assert [row["reason"] for row in rejected] == ["boxless"]
    assert "2702" in rejected[0]["detail"]


@pytest.mark.parametrize(
    "content",
    [
        label(),
        label() | {"annotations": None},
        {"images": label()["images"]},
        label(annotation(2101, bbox=None)),
    ],
)
def test_a_negative_is_a_row_without_label(taxonomy: Taxonomy, content: dict[str, Any]) -> None:
    row = one_row(taxonomy, content, "2101_12_a.json")
    assert (row["category_id"], row["label"], row["filled"]) == (2101, None, "")
    assert "box_source" not in row


def test_a_photo_named_negative_that_shows_something_is_told(taxonomy: Taxonomy) -> None:
    # It is neither a negative nor of a label's photos: no split could take it.
    content = label(annotation(2101, bbox=None), annotation(2502), annotation(2102))
    _, (problem,) = read(taxonomy, content, "2101_12_a.json")
    assert (problem["reason"], problem["detail"]) == (
        "not_negative",
        "id 2101 in its name, yet it shows: crack, scratch",
    )


@pytest.mark.parametrize("content", [label(annotation()), label()])
def test_a_photo_whose_name_has_an_unknown_id_is_told(taxonomy: Taxonomy, content: Any) -> None:
    _, (problem,) = read(taxonomy, content, "9999_12_a.json")
    assert (problem["reason"], problem["detail"]) == ("unknown_id", "id 9999 in its name")


# --- boxes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        (POLYGON, (10.0, 20.0, 30.0, 40.0)),
        ([[10, 20, 40, 25, 30, 60], [5, 70, 6, 70, 6, 80]], (5.0, 20.0, 35.0, 60.0)),
        (POLYGON[0], (10.0, 20.0, 30.0, 40.0)),
        ([[10, 20], [40, 25.5], [30, 60]], (10.0, 20.0, 30.0, 40.0)),
    ],
)
@pytest.mark.parametrize("bbox", [None, []])
def test_a_missing_box_is_put_around_the_segmentation(
    taxonomy: Taxonomy, bbox: Any, segmentation: Any, box: tuple[float, ...]
) -> None:
    row = one_row(taxonomy, label(annotation(bbox=bbox, segmentation=segmentation)))
    assert (row["x"], row["y"], row["w"], row["h"]) == box
    assert (row["box_source"], row["clipped"]) == ("segmentation", False)


@pytest.mark.parametrize("segmentation", [None, [], POLYGON, "missing", {"counts": 1}])
@pytest.mark.parametrize("area", [None, 0, "missing", "many"])
def test_a_box_needs_neither_segmentation_nor_area(taxonomy: Taxonomy, segmentation: Any, area: Any) -> None:
    more = {k: v for k, v in {"segmentation": segmentation, "area": area}.items() if v != "missing"}
    row = one_row(taxonomy, label(annotation(bbox=(1, 2, 3, 4), **more)))
    assert (row["x"], row["y"], row["w"], row["h"], row["box_source"]) == (1.0, 2.0, 3.0, 4.0, "label")


@pytest.mark.parametrize(
    ("stated", "cut"),
    [
        ((-5, 10, 20, 30), (0.0, 10.0, 15.0, 30.0)),
        ((190, 90, 20, 30), (190.0, 90.0, 10.0, 10.0)),
        ((-1.5, -2, 300, 300), (0.0, 0.0, 200.0, 100.0)),
        ((10, 99.5, 20, 0.75), (10.0, 99.5, 20.0, 0.5)),
    ],
)
def test_a_box_that_reaches_outside_can_be_cut(
    taxonomy: Taxonomy, stated: tuple[float, ...], cut: tuple[float, ...]
) -> None:
    content = label(annotation(bbox=stated), width=200, height=100)
    row = one_row(taxonomy, content, clip_boxes=True)
    assert (row["x"], row["y"], row["w"], row["h"]) == cut
    assert (row["box_source"], row["clipped"]) == ("label", True)
    assert reasons(taxonomy, content) == ["box_outside"]


@pytest.mark.parametrize("stated", [(0, 0, 200, 100), (0.5, 0.25, 199.5, 99.75), (199, 99, 1, 1)])
def test_a_box_up_to_the_edge_is_not_cut(taxonomy: Taxonomy, stated: tuple[float, ...]) -> None:
    row = one_row(taxonomy, label(annotation(bbox=stated), width=200, height=100), clip_boxes=True)
    assert (row["x"], row["y"], row["w"], row["h"]) == stated
    assert row["clipped"] is False


@pytest.mark.parametrize("stated", [(200, 10, 5, 5), (-5, 10, 5, 5), (10, 100, 5, 5), (10, -9, 5, 8)])
def test_a_box_that_is_wholly_outside_stays_refused(taxonomy: Taxonomy, stated: tuple[float, ...]) -> None:
    content = label(annotation(bbox=stated), width=200, height=100)
    assert reasons(taxonomy, content, clip_boxes=True) == ["box_outside"]


# --- ids of the file's own ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["crack", "균열", unicodedata.normalize("NFD", "균열"), " CRACK "])
def test_an_id_of_the_files_own_is_known_by_its_name(taxonomy: Taxonomy, name: str) -> None:
    categories = [None, {"id": 1, "name": "scratch"}, {"id": 7, "name": name}, {"id": 8}]
    row = one_row(taxonomy, label(annotation(7, attributes=without("quality")), categories=categories))
    assert (row["category_id"], row["label"]) == (2102, "crack")
    assert (row["quality"], row["filled"]) == ("Defective", "category_id:name,quality:id")


@pytest.mark.parametrize("name", ["용접블로우홀", "용접블루홀"])
def test_both_spellings_of_blowholes(taxonomy: Taxonomy, name: str) -> None:
    row = one_row(taxonomy, label(annotation(3, attributes=KOREAN), categories=[{"id": 3, "name": name}]))
    assert row["label"] == "weld blowhole"


def test_an_id_of_ai_hub_means_what_it_means_there(taxonomy: Taxonomy) -> None:
    row = one_row(taxonomy, label(annotation(2102), categories=[{"id": 2102, "name": "scratch"}]))
    assert (row["label"], row["filled"]) == ("crack", "")


@pytest.mark.parametrize(
    "categories", [None, {}, "x", [5], [{"id": [7], "name": "crack"}], [{"name": "crack"}]]
)
def test_categories_that_do_not_tell_the_id(taxonomy: Taxonomy, categories: Any) -> None:
    assert reasons(taxonomy, label(annotation(7), categories=categories)) == ["unknown_id"]


def test_an_id_whose_name_is_unknown_is_shown_with_its_name(taxonomy: Taxonomy) -> None:
    _, (problem,) = read(taxonomy, label(annotation(7), categories=[{"id": 7, "name": "dent"}]))
    assert (problem["reason"], problem["detail"]) == ("unknown_id", "category_id 7 ('dent')")


# --- which photo a label is of --------------------------------------------------------------------------


def merged(*images: Any, annotations: Any = ()) -> dict[str, Any]:
    """A file of several photos; an image is its id and the file's name."""
    listed = [
        {"id": i[0], "file_name": i[1], "width": 200, "height": 100} if isinstance(i, tuple) else i
        for i in images
    ]
    return {"images": listed, "annotations": list(annotations)}


def of(image_id: Any, category_id: int = 2102, **more: Any) -> dict[str, Any]:
    return annotation(category_id, **more) | {"image_id": image_id}


def outcome(found: tuple[list[Row], list[Row]]) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    rows, refused = found
    return (
        [(r["photo_id"], r["label"]) for r in rows],
        [(r["photo_id"], r["reason"]) for r in refused],
    )


def test_a_file_of_one_photo_means_the_photo_of_its_own_name(taxonomy: Taxonomy) -> None:
    content = label(annotation()) | {
        "images": [{"file_name": "2502_12_z.jpg", "width": 9999, "height": 9999}]
    }
    assert one_row(taxonomy, content)["photo_id"] == STEM
    rows, _ = read(taxonomy, content, has_photo=False)
    assert (rows[0]["photo_id"], rows[0]["photo_category_id"]) == ("2502_12_z", 2502)


@pytest.mark.parametrize("file_name", [None, "", " ", 5, "\ud800.jpg"])
def test_a_name_that_is_none_leaves_the_label_files_own(taxonomy: Taxonomy, file_name: Any) -> None:
    content = {
        "images": [{"file_name": file_name, "width": 200, "height": 100}],
        "annotations": [annotation()],
    }
    rows, _ = read(taxonomy, json.dumps(content).encode(), has_photo=False)
    assert rows[0]["photo_id"] == STEM


def test_a_merged_file_gives_each_photo_its_own_objects(taxonomy: Taxonomy) -> None:
    content = merged(
        (10, "photos/2102_12_a.jpg"),
        (20, r"C:\data\1102_14_b.JPG"),
        (30, "2101_12_c.png"),
        (40, "1102_14_d.jpg"),
        annotations=[of(20, 1102), of(10, 2102), of(20, 1101), of(10, 2502, bbox=None), of(40, 9999)],
    )
    assert outcome(read(taxonomy, content, "labels.json", has_photo=False)) == (
        [("1102_14_b", "welding"), ("1102_14_b", "welding"), ("2101_12_c", None)],
        [("2102_12_a", "box"), ("1102_14_d", "unknown_id")],
    )
    rows, _ = read(taxonomy, content, "labels.json", has_photo=False)
    assert {r["label_file"] for r in rows} == {"labels.json"}
    assert [r["photo_category_id"] for r in rows] == [1102, 1102, 2101]


def test_metadata_of_a_merged_file_are_each_photos_own(taxonomy: Taxonomy) -> None:
    content = merged((1, "2102_12_a.jpg"), (2, "2102_12_b.jpg"), annotations=[of(1), of(2)])
    for found in content["annotations"]:
        del found["attributes"]
    content |= {"info": KOREAN | {"location": "외벽"}}
    content["images"][1]["location"] = "외부"
    rows, _ = read(taxonomy, content, "labels.json", has_photo=False)
    assert [r["location"] for r in rows] == ["Outer wall", "Outside"]


@pytest.mark.parametrize("image_id", [99, None, "x", [1], {}])
def test_an_annotation_of_no_photo_of_a_merged_file(taxonomy: Taxonomy, image_id: Any) -> None:
    content = merged((1, "2102_12_a.jpg"), (2, "2102_12_b.jpg"), annotations=[of(1), of(2), of(image_id)])
    assert outcome(read(taxonomy, content, "labels.json", has_photo=False)) == (
        [("2102_12_a", "crack"), ("2102_12_b", "crack")],
        [(None, "annotation")],
    )
    content["annotations"][2] = "x"
    assert outcome(read(taxonomy, content, "labels.json", has_photo=False))[1] == [(None, "annotation")]


@pytest.mark.parametrize("image_id", [1, 1.0, "1", None, [1]])
def test_an_annotation_that_does_not_name_another_photo_is_of_a_files_only_one(
    taxonomy: Taxonomy, image_id: Any
) -> None:
    assert one_row(taxonomy, label(annotation() | {"image_id": image_id}))["label"] == "crack"
    nameless = label(annotation() | {"image_id": 77})
    del nameless["images"][0]["id"]
    assert one_row(taxonomy, nameless)["label"] == "crack"


def test_ids_may_be_digits_in_quotes(taxonomy: Taxonomy) -> None:
    assert one_row(taxonomy, label(annotation("2102")))["category_id"] == 2102
    own = label(annotation("7"), categories=[{"id": 7, "name": "crack"}])
    assert one_row(taxonomy, own)["category_id"] == 2102
    assert one_row(taxonomy, label(annotation("2101")), "2101_12_a.json")["label"] is None
    content = merged((1, "2102_12_a.jpg"), ("2", "2102_12_b.jpg"), annotations=[of("1"), of(2)])
    rows, refused = read(taxonomy, content, "labels.json", has_photo=False)
    assert ([r["photo_id"] for r in rows], refused) == (["2102_12_a", "2102_12_b"], [])


def test_photos_of_a_merged_file_that_cannot_be_told_apart(taxonomy: Taxonomy) -> None:
    same_id = merged(
        (1, "2102_12_a.jpg"), (1, "2102_12_b.jpg"), (2, "2102_12_c.jpg"), annotations=[of(1), of(2)]
    )
    assert outcome(read(taxonomy, same_id, "labels.json", has_photo=False)) == (
        [("2102_12_c", "crack")],
        [("2102_12_a", "annotation"), ("2102_12_b", "annotation")],
    )
    same_name = merged((1, "2102_12_a.jpg"), (2, "2102_12_a.jpg"), annotations=[of(1), of(2)])
    assert outcome(read(taxonomy, same_name, "labels.json", has_photo=False)) == (
        [],
        [("2102_12_a", "annotation")] * 2,
    )


def test_images_of_a_merged_file_without_a_name_or_an_id(taxonomy: Taxonomy) -> None:
    content = merged(
        (1, None),
        "x",
        (None, "2102_12_a.jpg"),
        (None, "2101_12_b.jpg"),
        ([1], "2102_12_c.jpg"),
        annotations=[of(None)],
    )
    assert outcome(read(taxonomy, content, "labels.json", has_photo=False)) == (
        [("2101_12_b", None)],
        [
            (None, "annotation"),
            (None, "file_name"),
            (None, "file_name"),
            ("2102_12_a", "no_object"),
            ("2102_12_c", "no_object"),
        ],
    )


@pytest.mark.parametrize("content", [b"", b"{", b"[]", {"annotations": 5}])
def test_a_file_without_a_photo_of_its_name_that_cannot_be_read_is_of_no_photo(
    taxonomy: Taxonomy, content: Any
) -> None:
    rows, (problem,) = read(taxonomy, content, "labels.json", has_photo=False)
    assert rows == []
    assert problem["photo_id"] is None


# --- what cannot be used --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "content"),
    [
        ("empty", b""),
        ("json", b" "),
        ("json", '{"images": "균열"}'.encode("cp949")),
        ("json", '{"images": []}'.encode("utf-16")),
        ("json", b"\xff\xfe\x00 not UTF-8"),
        ("json", b'{"images": ['),
        ("json", b"[" * 100_000),
        ("json", b'{"images": ' + b"9" * 10_000 + b"}"),
        ("json", []),
        ("json", "text"),
        ("photo_size", {}),
        ("photo_size", label() | {"images": None}),
        ("photo_size", label() | {"images": ["x"]}),
        ("photo_size", label(annotation(), width=0)),
        ("photo_size", label(annotation(), height=-5)),
        ("photo_size", label(annotation(), width="1920")),
        ("photo_size", label(annotation(), width=True)),
        ("photo_size", label(annotation(), width=0.5)),
        ("photo_size", b'{"images": [{"width": NaN, "height": 1}]}'),
        ("annotation", label(annotation() | {"image_id": 77})),
        ("annotation", label(annotation(), annotation() | {"image_id": "77"})),
        ("annotation", label("x")),
        ("annotation", label(None)),
        ("annotation", label() | {"annotations": {}}),
        ("annotation", label() | {"annotations": 5}),
        ("unknown_id", label(annotation(9999))),
        ("unknown_id", label(annotation(None))),
        ("unknown_id", label(annotation("2102.0"))),
        ("unknown_id", label(annotation("crack"))),
        ("unknown_id", label(annotation([2102]))),
        ("unknown_id", label(annotation({}))),
        ("unknown_id", label(annotation(True))),
        ("box", label(annotation(bbox=None))),
        ("box", label(annotation(bbox=[]))),
        ("box", label(annotation(bbox=(1, 2, 3)))),
        ("box", label(annotation(bbox="1,2,3,4"))),
        ("box", label(annotation(bbox=(1, 2, 3, float("nan"))))),
        ("box", label(annotation(bbox=(1, None, 3, 4), segmentation=POLYGON))),
        ("box", label(annotation(bbox=None, segmentation=None))),
        ("box", label(annotation(bbox=None, segmentation=[]))),
        ("box", label(annotation(bbox=None, segmentation=[[]]))),
        ("box", label(annotation(bbox=None, segmentation=[[1, 2, 3, 4]]))),
        ("box", label(annotation(bbox=None, segmentation=[[1, 2, 3, 4, 5, 6, 7]]))),
        ("box", label(annotation(bbox=None, segmentation=[[1, 2, 3], [4, 5, 6]]))),
        ("box", label(annotation(bbox=None, segmentation=[[1, 2, 3, 4, 5, "6"]]))),
        ("box", label(annotation(bbox=None, segmentation=[[1, 2, 3, 4, 5, None]]))),
        ("box", label(annotation(bbox=None, segmentation=[[1, 2, 3, 4, 5, 6], {}]))),
        ("box", label(annotation(bbox=None, segmentation={"counts": "abc", "size": [100, 200]}))),
        ("box_degenerate", label(annotation(bbox=None, segmentation=[[1, 2, 1, 4, 1, 6]]))),
        ("box_outside", label(annotation(bbox=None, segmentation=[[190, 2, 201, 4, 195, 6]]))),
        ("box", label(annotation(bbox=(1, 2, 3, "4")))),
        ("box", label(annotation(bbox=(1, 2, 3, True)))),
        ("box", label(annotation(bbox=(1, 2, 3, 1e300)))),
        ("box", label(annotation(bbox=(1, 2, 3, float("inf"))))),
        ("box_degenerate", label(annotation(bbox=(1, 2, 0, 4)))),
        ("box_degenerate", label(annotation(bbox=(1, 2, 3, -4)))),
        ("box_outside", label(annotation(bbox=(-1, 2, 3, 4)))),
        ("box_outside", label(annotation(bbox=(1, 2, 200, 4)))),
        ("box_outside", label(annotation(bbox=(1, 98.5, 3, 2)))),
        ("unknown_value", label(annotation(attributes=KOREAN | {"location": "달"}))),
        ("unknown_value", label(annotation(attributes=KOREAN | {"quality": ["Good"]}))),
        ("unknown_value", label(annotation(attributes=KOREAN | {"material": {"a": 1}}))),
        ("unknown_value", label(annotation(attributes=KOREAN | {"part": "19"}))),
        ("unknown_value", label(annotation(attributes=KOREAN | {"part": 1.5}))),
        ("missing_value", label(annotation(attributes=without("tank_type")))),
        ("missing_value", label(annotation(attributes=KOREAN | {"location": "  "}))),
        ("missing_value", label(annotation(attributes=None))),
        ("no_object", label()),
        ("no_object", label(annotation(2101, bbox=None))),
    ],
)
def test_each_reason_of_the_quarantine(taxonomy: Taxonomy, reason: str, content: Any) -> None:
    assert reasons(taxonomy, content) == [reason]


def test_a_part_that_no_label_tells_waits_for_its_photo(taxonomy: Taxonomy) -> None:
    row = one_row(taxonomy, label(annotation(attributes=without("part"))), "2102_99_a.json")
    assert (row["part"], row["filled"]) == (None, "part:photo")


@pytest.mark.parametrize("name", ["a.json", "210_12_a.json", "2102-12-a.json", "2102_12.json"])
def test_a_name_without_id_and_part_code(taxonomy: Taxonomy, name: str) -> None:
    assert reasons(taxonomy, label(annotation()), name) == ["file_name"]


def test_a_photo_of_which_one_object_is_lost_is_left_out(taxonomy: Taxonomy) -> None:
    content = label(annotation(), annotation(bbox=None), annotation(7777))
    assert reasons(taxonomy, content) == ["box", "unknown_id"]


def test_a_byte_order_mark_is_no_hindrance(taxonomy: Taxonomy) -> None:
    assert one_row(taxonomy, b"\xef\xbb\xbf" + encoded(label(annotation())))["label"] == "crack"


@pytest.mark.parametrize("depth", [500, 950, 980, 990, 995])
def test_deep_nesting_in_any_place_is_read_or_rejected(taxonomy: Taxonomy, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    whole = json.dumps(label(annotation(), extra="deep"))
    assert len(read(taxonomy, whole.replace('"deep"', deep).encode())[0]) <= 1
    for place in ('"bbox": [10, 20, 30, 40]', '"category_id": 2102', '"width": 200', '"location": "내부"'):
        text = json.dumps(label(annotation()), ensure_ascii=False)
        assert place in text
        key = place.partition(": ")[0]
        rows, rejected = read(taxonomy, text.replace(place, f"{key}: {deep}").encode())
        assert (len(rows), len(rejected)) == (0, 1)


def test_a_value_that_no_table_can_hold(taxonomy: Taxonomy) -> None:
    content = json.dumps(label(annotation(attributes=KOREAN | {"material": "\ud800"}))).encode()
    assert reasons(taxonomy, content) == ["unknown_value"]


# --- any JSON at all ------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
names = st.sampled_from(["2102_12_a.jpg", "2102_12_b.JPG", "2101_12_c.png", "x", ""])
ids = st.sampled_from([1, 2, "1", 1.0, None, True])
words = st.sampled_from(
    ["2102_12_a", "C", "Inside", "Floor", "Coating", 2102, 2101, 2702, 100, 5, 0.5, "\ud800"]
)
keys = st.sampled_from(
    [
        "images",
        "annotations",
        "info",
        "metadata",
        "attributes",
        "category_id",
        "bbox",
        "segmentation",
        "width",
        "height",
        "file_name",
        "id",
        "image_id",
        "categories",
        "name",
        "tank_type",
        "location",
        "sub_location",
        "part",
        "quality",
    ]
)
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=8),
    max_leaves=30,
)
sides = st.sampled_from([100, 200, 300.0, 0, "200", None, 33])
places = st.sampled_from([0, 10, 50.5, 99.9, 150, 250, -3, 0.1, 1e-9])
boxes = st.lists(places, min_size=4, max_size=4) | st.none() | st.lists(words, max_size=5) | values
metadata = st.just(KOREAN) | st.just(ENGLISH) | st.dictionaries(st.sampled_from([*KOREAN]), words) | values
images = st.fixed_dictionaries({"id": ids, "file_name": names, "width": sides, "height": sides}) | values
annotations = values | st.fixed_dictionaries(
    {"image_id": ids, "category_id": st.sampled_from([2102, 2101, 2702, 1, 9999]), "bbox": boxes},
    optional={
        "attributes": metadata,
        "segmentation": st.lists(st.lists(places, max_size=8), max_size=2) | values,
    },
)
labels = values | st.fixed_dictionaries(
    {"images": st.lists(images, max_size=4), "annotations": st.lists(annotations, max_size=5)},
    optional={
        "categories": st.just([{"id": 1, "name": "scratch"}]) | values,
        "info": metadata,
        "metadata": metadata,
    },
)


@settings(max_examples=500, deadline=None)
@given(
    content=labels,
    skip=st.booleans(),
    clip=st.booleans(),
    has_photo=st.booleans(),
    name=st.sampled_from(["2102_12_a", "2101_12_a", "x"]),
)
def test_any_json_gives_rows_or_refusals(
    taxonomy: Taxonomy, content: Any, skip: bool, clip: bool, has_photo: bool, name: str
) -> None:
    reader = LabelReader(taxonomy, skip_boxless=skip, clip_boxes=clip)
    rows, refused = reader.read(f"z_도장.zip!/{name}.json", json.dumps(content).encode(), has_photo)
    taken, lost = {r["photo_id"] for r in rows}, {r["photo_id"] for r in refused}
    assert not taken & lost
    assert rows or refused
    assert {r["reason"] for r in refused} <= REASONS.keys()
    images = content.get("images") if isinstance(content, dict) else None
    if isinstance(images, list) and len(images) > 1 and isinstance(content.get("annotations"), list | None):
        named = [i.get("file_name") if isinstance(i, dict) else None for i in images]
        named = [n for n in named if isinstance(n, str) and n.strip() and n != "\ud800"]
        assert taken | lost - {None} == {stem(n) for n in named}
    elif has_photo:
        assert taken | lost == {name}
    for row in rows:
        json.dumps(row, ensure_ascii=False).encode()
        assert row["width"] >= 1
        if row["label"] is not None:
            assert row["x"] >= 0
            assert row["y"] >= 0
            assert min(row["w"], row["h"]) > 0
            assert row["x"] + row["w"] <= row["width"]
            assert row["y"] + row["h"] <= row["height"]
            assert clip or not row["clipped"]
            assert all(row[name] in taxonomy.fields[name].spellings.values() for name in KOREAN)
            assert "part:photo" not in row["filled"]  # its zip tells


@settings(max_examples=300, deadline=None)
@given(
    x=st.floats(-100, 5000),
    y=st.floats(-100, 5000),
    w=st.floats(1e-3, 9000),
    h=st.floats(1e-3, 9000),
    width=st.integers(1, 5000),
    height=st.integers(1, 5000),
)
def test_a_cut_box_is_inside_to_the_last_bit(
    taxonomy: Taxonomy, x: float, y: float, w: float, h: float, width: int, height: int
) -> None:
    content = label(annotation(bbox=[x, y, w, h]), width=width, height=height)
    rows, _ = read(taxonomy, content, clip_boxes=True)
    meets = x < width and y < height and x + w > 0 and y + h > 0
    assert bool(rows) == meets
    for row in rows:
        assert row["x"] >= 0
        assert row["y"] >= 0
        assert row["x"] + row["w"] <= width
        assert row["y"] + row["h"] <= height


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_rejected(taxonomy: Taxonomy, content: bytes) -> None:
    assert len(reasons(taxonomy, content)) == 1
