import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lng_kedro.geometry import Frame
from lng_kedro.report import (
    answer_slice,
    confidence_spans,
    parse_report,
    to_finding,
    to_json,
    to_objects,
)

CRACK = {
    "label": "crack",
    "bbox": [10, 20, 110, 120],
    "tank_type": "B",
    "location": "Inside",
    "sub_location": "Floor",
    "part": "Joint",
    "quality": "Good",
}
SCRATCH = CRACK | {"label": "scratch", "bbox": [200, 210, 300, 310], "quality": "Defective"}
ONE, TWO = json.dumps([CRACK]), json.dumps([CRACK, SCRATCH])
DEEP = 100_000


@pytest.mark.parametrize(
    ("text", "valid", "found", "labels"),
    [
        pytest.param("[]", True, True, [], id="empty"),
        pytest.param(TWO, True, True, ["crack", "scratch"], id="strict"),
        pytest.param(f" \n{json.dumps([CRACK], indent=2)}\n", True, True, ["crack"], id="lines"),
        pytest.param(f"```json\n{ONE}\n```", False, True, ["crack"], id="fence"),
        pytest.param(f"{ONE} as asked", False, True, ["crack"], id="text behind"),
        pytest.param(f"The report [of 1]: {ONE}", False, True, ["crack"], id="text before"),
        pytest.param(f"{ONE}{TWO}", False, True, ["crack"], id="two arrays"),
        pytest.param(TWO[:-40], False, True, ["crack"], id="cut within the second"),
        pytest.param(TWO[:-1], False, True, ["crack", "scratch"], id="cut behind the second"),
        pytest.param(ONE[:-2], False, True, [], id="cut within the first"),
        pytest.param(f"{ONE[:-1]},]", False, True, ["crack"], id="trailing comma"),
        pytest.param(ONE.replace('"', "'"), False, True, [], id="Python's quotes"),
        pytest.param(f"\ufeff{ONE}", False, True, ["crack"], id="byte order mark"),
        pytest.param(json.dumps(CRACK), False, False, [], id="single object"),
        pytest.param("", False, False, [], id="nothing"),
        pytest.param("I see no defect.", False, False, [], id="prose"),
        pytest.param("5", False, False, [], id="number"),
        pytest.param("null", False, False, [], id="null"),
        pytest.param('"[]', False, True, [], id="open string"),
        pytest.param("[", False, False, [], id="bracket"),
        pytest.param('[1, "a", null, [], true, {}]', True, True, [None] * 6, id="no objects"),
        pytest.param(f"<answer>{ONE}</answer>", True, True, ["crack"], id="answer"),
        pytest.param(f"<answer>\n{ONE}\n</answer>\n", True, True, ["crack"], id="answer of lines"),
        pytest.param(f"<answer>{ONE}", True, True, ["crack"], id="answer not closed"),
        pytest.param(
            f"<answer>{TWO}</answer><answer>{ONE}</answer>", True, True, ["crack"], id="two answers"
        ),
        pytest.param(f"<answer>{ONE}</answer><answer>none</answer>", False, False, [], id="last answer"),
        pytest.param(f"{ONE}<answer>none</answer>", False, False, [], id="array before the answer"),
        pytest.param(f"<think>{ONE}</think><answer>[]</answer>", True, True, [], id="array in think"),
        pytest.param(f"<think>{TWO}</think>{ONE}", True, True, ["crack"], id="think without answer"),
        pytest.param(f"<think>{ONE}</think>", False, False, [], id="think alone"),
        pytest.param('[{"label":"crack","bbox":[NaN,0,1,1]}]', False, True, [], id="NaN"),
        pytest.param('[{"label":"crack","bbox":[0,0,1,Infinity]}]', False, True, [], id="Infinity"),
        pytest.param(f'[{{"label":"crack","bbox":[0,0,{"9" * 5000},1]}}]', False, True, [], id="5000 digits"),
        pytest.param('[{"label":"crack","label":"scratch"}]', True, True, ["scratch"], id="key twice"),
        pytest.param("[" * DEEP, False, False, [], id="deep, open"),
        pytest.param("[" * DEEP + "]" * DEEP, False, True, [], id="deep, closed"),
        pytest.param('[{"label":' * DEEP, False, True, [], id="deep objects"),
        pytest.param(
            f'{ONE[:-1]},{{"label":{"[" * DEEP}', False, True, ["crack"], id="deep behind the first"
        ),
        pytest.param('[{"label":"\ud800"}]', True, True, [None], id="lone surrogate"),
    ],
)
def test_parse(taxonomy, text, valid, found, labels):
    report = parse_report(text, taxonomy)
    assert (report.valid_json, report.found) == (valid, found)
    assert [finding.label for finding in report.findings] == labels


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[]", None),
        ("<answer></answer>", ""),
        ("<answer>[]</answer> and more", "[]"),
        ("<answer>[", "["),
        ("</answer><answer>[]", "[]"),
        ("<answer>1</answer><answer>2</answer>", "2"),
        ("<answer><answer>[]</answer></answer>", "[]"),
    ],
)
def test_answer_slice(text, expected):
    assert answer_slice(text) == expected


def test_a_whole_finding(taxonomy):
    (finding,) = parse_report(ONE, taxonomy).findings
    assert finding.label == "crack"
    assert finding.bbox == (10, 20, 110, 120)
    assert finding.values == {name: CRACK[name] for name in taxonomy.field_names}
    assert finding.schema_share == 1
    assert parse_report(ONE, taxonomy).schema_true


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", "rust"),
        ("label", "Crack"),
        ("label", " crack"),
        ("label", 5),
        ("label", None),
        ("label", ["crack"]),
        ("label", {"crack": 1}),
        ("quality", True),
        ("quality", ""),
        ("tank_type", "A"),
        ("tank_type", "Good"),
        ("part", "Pipe"),
        ("sub_location", "Inside"),
    ],
)
def test_values_that_are_not_allowed(taxonomy, field, value):
    finding = to_finding(CRACK | {field: value}, taxonomy)
    stated = {"label": finding.label, **finding.values}
    assert stated == {key: CRACK[key] for key in stated} | {field: None}
    assert finding.bbox == (10, 20, 110, 120)
    assert finding.schema_share == pytest.approx(6 / 7)


@pytest.mark.parametrize("field", list(CRACK))
def test_a_missing_key_costs_its_share(taxonomy, field):
    item = {key: value for key, value in CRACK.items() if key != field}
    assert to_finding(item, taxonomy).schema_share == pytest.approx(6 / 7)
    report = parse_report(json.dumps([item]), taxonomy)
    assert report.valid_json
    assert not report.schema_true


@pytest.mark.parametrize(
    "box",
    [
        None,
        5,
        "10,20,110,120",
        [],
        [10, 20, 110],
        [10, 20, 110, 120, 130],
        ["10", 20, 110, 120],
        [10, 20, 110, None],
        [10, 20, 110, [120]],
        [False, 20, 110, 120],
        {"x": 10, "y": 20, "w": 100, "h": 100},
        [110, 20, 10, 120],
        [10, 120, 110, 20],
        [10, 20, 10, 120],
        [10, 20, 110, 20],
        [10, 20, float("inf"), 120],
        [float("-inf"), 20, 110, 120],
        [10, float("nan"), 110, 120],
        [10, 20, 10**400, 120],
        [-(10**400), 20, 110, 120],
    ],
)
def test_what_is_no_box(taxonomy, box):
    finding = to_finding(CRACK | {"bbox": box}, taxonomy)
    assert finding.bbox is None
    assert finding.label == "crack"
    assert finding.schema_share == pytest.approx(6 / 7)


@pytest.mark.parametrize(
    ("box", "inside"),
    [
        ([0, 0, 512, 512], True),
        ([0.5, 0.25, 511.5, 511.75], True),
        ([-1, 20, 110, 120], False),
        ([10, -0.5, 110, 120], False),
        ([10, 20, 513, 120], False),
        ([10, 20, 110, 512.1], False),
        ([0, 0, 10**300, 10**300], False),
    ],
)
def test_a_box_outside_the_frame_is_kept_and_costs_its_share(taxonomy, box, inside):
    finding = to_finding(CRACK | {"bbox": box}, taxonomy)
    assert finding.bbox == tuple(map(float, box))
    assert all(type(side) is float for side in finding.bbox)
    assert finding.schema_share == pytest.approx(1 if inside else 6 / 7)


def test_the_frame_says_what_is_inside(taxonomy):
    item = CRACK | {"bbox": [0, 0, 900, 300]}
    assert to_finding(item, taxonomy, Frame(1000, 1000)).schema_share == 1
    assert to_finding(item, taxonomy, Frame(1000, 200)).schema_share < 1
    assert to_finding(item, taxonomy, Frame(800, 1000)).schema_share < 1


@pytest.mark.parametrize("item", [None, 1, "crack", [], ["label", "crack"], True, {}, 1.5])
def test_what_is_no_finding(taxonomy, item):
    finding = to_finding(item, taxonomy)
    assert (finding.label, finding.bbox, finding.schema_share) == (None, None, 0)
    assert finding.values == dict.fromkeys(taxonomy.field_names)
    (parsed,) = parse_report(json.dumps([item]), taxonomy).findings
    assert parsed == finding


def test_unknown_keys_are_passed_over(taxonomy):
    assert to_finding(CRACK | {"remark": "x", "score": 0.1}, taxonomy) == to_finding(CRACK, taxonomy)


def test_an_empty_report_is_schema_true_and_no_report_is_not(taxonomy):
    assert parse_report("[]", taxonomy).schema_true
    assert not parse_report("", taxonomy).schema_true
    assert not parse_report(f"```{ONE}```", taxonomy).schema_true


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ONE, [["crack", "10, 20, 110, 120"]]),
        (TWO, [["crack", "10, 20, 110, 120"], ["scratch", "200, 210, 300, 310"]]),
        (TWO[:-40], [["crack", "10, 20, 110, 120"]]),
        (f"```json\n{ONE}\n```", [["crack", "10, 20, 110, 120"]]),
        (f"균열 😀 <think>{TWO}</think>{ONE}", [["crack", "10, 20, 110, 120"]]),
        (f"<think>{TWO}</think><answer>\n{ONE}</answer>", [["crack", "10, 20, 110, 120"]]),
        (f"<answer>{TWO}</answer><answer>{ONE}", [["crack", "10, 20, 110, 120"]]),
        ('[{"bbox" : [1,2 ,3,4],"label":"rust"}]', [["1,2 ,3,4", "rust"]]),
        ('[{"part": "Joint"}, {"label": 5}, {}]', [['{"part": "Joint"}'], ['{"label": 5}'], ["{}"]]),
        ("[]", []),
        ("no report", []),
    ],
)
def test_confidence_spans(text, expected):
    spans = confidence_spans(text)
    assert [[text[start:end] for start, end in values] for values in spans] == expected


@pytest.mark.parametrize(
    "text", [ONE, TWO, TWO[:-40], "[]", "", "[{},{}]", f"<think>{TWO}</think><answer>{ONE}</answer>"]
)
def test_each_finding_has_its_spans(taxonomy, text):
    assert len(confidence_spans(text)) == len(parse_report(text, taxonomy).findings)


def test_json_is_compact_and_in_the_taxonomys_order(taxonomy):
    item = dict(reversed(CRACK.items())) | {"score": 0.5}
    assert to_json([item], taxonomy) == (
        '[{"label":"crack","bbox":[10,20,110,120],"tank_type":"B","location":"Inside",'
        '"sub_location":"Floor","part":"Joint","quality":"Good"}]'
    )
    assert to_json([], taxonomy) == "[]"


def test_json_speaks_the_frame(taxonomy):
    # 10, 20, 110, 120 in 256 pixels are 39.06, 78.1, 429.7, 468.75 thousandths
    text = to_json([CRACK], taxonomy, Frame(1000, 1000), size=256)
    assert json.loads(text)[0]["bbox"] == [39, 78, 430, 469]


def test_an_object_without_a_field_is_not_written(taxonomy):
    with pytest.raises(KeyError, match="quality"):
        to_json([{key: value for key, value in CRACK.items() if key != "quality"}], taxonomy)


def test_what_is_not_allowed_is_none_in_objects(taxonomy):
    text = '[{"label":"rust","bbox":[1,2],"quality":"Good"}]'
    (item,) = to_objects(parse_report(text, taxonomy).findings)
    assert item == dict.fromkeys(CRACK) | {"quality": "Good"}


def objects(taxonomy):
    side = st.floats(0, 500)
    box = st.tuples(side, side, st.floats(6, 512), st.floats(6, 512)).map(
        lambda b: [b[0], b[1], min(b[0] + b[2], 512), min(b[1] + b[3], 512)]
    )
    fields = {name: st.sampled_from(taxonomy.choices(name)) for name in ("label", *taxonomy.field_names)}
    return st.lists(st.fixed_dictionaries({"bbox": box, **fields}), max_size=4)


@pytest.mark.parametrize("frame", [Frame(), Frame(504, 504), Frame(1000, 1000), Frame(1, 1, decimals=2)])
@given(data=st.data())
def test_round_trip(taxonomy, frame, data):
    written = data.draw(objects(taxonomy))
    report = parse_report(to_json(written, taxonomy, frame), taxonomy, frame)
    assert report.schema_true
    assert [f.bbox for f in report.findings] == [frame.encode(o["bbox"]) for o in written]
    unit = 512 / frame.width / 10**frame.decimals
    for read, meant in zip(to_objects(report.findings, frame), written, strict=True):
        assert read["bbox"] == pytest.approx(meant["bbox"], abs=0.5 * unit + 1e-6)
        assert {**read, "bbox": None} == {**meant, "bbox": None}


fragments = st.sampled_from(
    [
        *("<think>", "</think>", "<answer>", "</answer>", "[", "]", "{", "}", ",", ":", '"', "\\", " ", "\n"),
        *('"label"', '"bbox"', '"crack"', "[1,2,3,4]", "[{},", "NaN", "1e999", "```", ONE),
    ]
)


@given(st.one_of(st.text(), st.lists(st.one_of(fragments, st.text(max_size=3)), max_size=25).map("".join)))
def test_any_text_gives_a_report(taxonomy, text):
    report = parse_report(text, taxonomy)
    assert report.found or not (report.findings or report.valid_json)
    assert all(0 <= finding.schema_share <= 1 for finding in report.findings)
    for values in confidence_spans(text):
        assert values
        assert all(0 <= start <= end <= len(text) for start, end in values)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64, np.uint8])
def test_numbers_of_numpy_are_numbers(taxonomy, kind):
    finding = to_finding(CRACK | {"bbox": [kind(side) for side in CRACK["bbox"]]}, taxonomy)
    assert finding == to_finding(CRACK, taxonomy)
    assert to_finding(CRACK | {"bbox": [np.False_, 20, 110, 120]}, taxonomy).bbox is None
