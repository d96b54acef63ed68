"""Label files -> manifest rows and quarantine rows."""

import json
import unicodedata
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lng_kedro.aihub.labels import LabelReader, Row
from lng_kedro.taxonomy import Taxonomy
from tests.raw import ENGLISH, KOREAN, annotation, encoded, label

STEM = "2102_12_a"
ZIP = f"TL_표면처리_균열_도장.zip!/{STEM}.json"


def read(
    taxonomy: Taxonomy, content: Any, locator: str = ZIP, skip_boxless: bool = False
) -> tuple[list[Row], list[Row]]:
    content = content if isinstance(content, bytes) else encoded(content)
    return LabelReader(taxonomy, skip_boxless).read(locator, content, "photos/a.jpg")


def one_row(taxonomy: Taxonomy, content: Any, locator: str = ZIP) -> Row:
    rows, rejected = read(taxonomy, content, locator)
    assert rejected == []
    assert len(rows) == 1
    return rows[0]


def reasons(taxonomy: Taxonomy, content: Any, locator: str = ZIP) -> list[str]:
    rows, rejected = read(taxonomy, content, locator)
    assert rows == []
    assert all(row["file"] == locator and row["detail"] for row in rejected)
    return [row["reason"] for row in rejected]


def test_a_whole_row(taxonomy: Taxonomy) -> None:
    assert one_row(taxonomy, label(annotation(bbox=(10, 20.5, 30, 40)), width=200, height=100)) == {
        "photo_id": STEM,
        "photo": "photos/a.jpg",
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
    row = one_row(taxonomy, label(annotation(attributes=KOREAN | {field: spelled})))
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


def test_a_photo_named_negative_may_still_show_something(taxonomy: Taxonomy) -> None:
    row = one_row(taxonomy, label(annotation(2101, bbox=None), annotation(2102)), "2101_12_a.json")
    assert row["label"] == "crack"


# --- what cannot be used --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "content"),
    [
        ("json", b""),
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
        ("annotation", label("x")),
        ("annotation", label(None)),
        ("annotation", label() | {"annotations": {}}),
        ("annotation", label() | {"annotations": 5}),
        ("unknown_id", label(annotation(9999))),
        ("unknown_id", label(annotation(None))),
        ("unknown_id", label(annotation("2102"))),
        ("unknown_id", label(annotation([2102]))),
        ("unknown_id", label(annotation({}))),
        ("unknown_id", label(annotation(True))),
        ("box", label(annotation(bbox=None))),
        ("box", label(annotation(bbox=[]))),
        ("box", label(annotation(bbox=(1, 2, 3)))),
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
        ("missing_value", label(annotation(attributes=without("tank_type")))),
        ("missing_value", label(annotation(attributes=KOREAN | {"location": "  "}))),
        ("missing_value", label(annotation(attributes=None))),
        ("no_object", label()),
        ("no_object", label(annotation(2101, bbox=None))),
    ],
)
def test_each_reason_of_the_quarantine(taxonomy: Taxonomy, reason: str, content: Any) -> None:
    assert reasons(taxonomy, content) == [reason]


def test_a_part_that_nothing_tells_is_missing(taxonomy: Taxonomy) -> None:
    content = label(annotation(attributes=without("part")))
    assert reasons(taxonomy, content, "2102_99_a.json") == ["missing_value"]


@pytest.mark.parametrize("name", ["a.json", "210_12_a.json", "2102-12-a.json", "2102_12.json"])
def test_a_name_without_id_and_part_code(taxonomy: Taxonomy, name: str) -> None:
    assert reasons(taxonomy, label(annotation()), name) == ["file_name"]


def test_a_label_without_photo(taxonomy: Taxonomy) -> None:
    rows, rejected = LabelReader(taxonomy).read(ZIP, encoded(label(annotation())), None)
    assert rows == []
    assert [(r["file"], r["reason"]) for r in rejected] == [(ZIP, "label_without_photo")]


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


# --- any JSON at all ------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
words = st.sampled_from(["2102_12_a", "C", "Inside", "Floor", "Coating", 2102, 2101, 2702, 100, 5, 0.5])
keys = st.sampled_from(
    [
        "images",
        "annotations",
        "info",
        "metadata",
        "attributes",
        "category_id",
        "bbox",
        "width",
        "height",
        *KOREAN,
    ]
)
values = st.recursive(
    scalars | words,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(keys, inner, max_size=8),
    max_leaves=30,
)
labels = values | st.builds(
    lambda image, annotations, more: more | {"images": [image], "annotations": annotations},
    st.fixed_dictionaries({"width": words, "height": words}, optional=dict.fromkeys(KOREAN, values)),
    st.lists(
        st.fixed_dictionaries(
            {"category_id": words, "bbox": st.lists(words, max_size=5)}, optional={"attributes": values}
        )
        | values,
        max_size=3,
    ),
    st.dictionaries(keys, values, max_size=3),
)


@settings(max_examples=200, deadline=None)
@given(content=labels, skip=st.booleans(), name=st.sampled_from(["2102_12_a", "2101_12_a", "x"]))
def test_any_json_gives_rows_or_quarantine(taxonomy: Taxonomy, content: Any, skip: bool, name: str) -> None:
    rows, rejected = read(taxonomy, json.dumps(content).encode(), f"z_도장.zip!/{name}.json", skip)
    assert bool(rows) != bool(rejected)
    for row in rows:
        assert row["width"] >= 1
        if row["label"] is not None:
            assert row["x"] >= 0
            assert row["w"] > 0
            assert row["x"] + row["w"] <= row["width"]
            assert row["y"] + row["h"] <= row["height"]
            assert all(row[name] in taxonomy.fields[name].spellings.values() for name in KOREAN)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_rejected(taxonomy: Taxonomy, content: bytes) -> None:
    assert len(reasons(taxonomy, content)) == 1
