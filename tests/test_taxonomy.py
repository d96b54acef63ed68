import json
import unicodedata
from pathlib import Path

import pytest
from pydantic import ValidationError

from lng_kedro.prompts import chat_prompt
from lng_kedro.taxonomy import Taxonomy, fold, load_taxonomy

SMALL = {
    "labels": [{"name": "crack", "defective_id": 2}, {"name": "dent", "defective_id": 4, "good_id": 3}],
    "negative_ids": [9],
    "fields": {"quality": {"values": {"Good": ["양품"], "Defective": []}}},
}
CRACK = {
    "label": "crack",
    "bbox": [10, 20, 110, 120],
    "tank_type": "B",
    "location": "Inside",
    "sub_location": "Floor",
    "part": "Joint",
    "quality": "Good",
}


def follows(schema, value):
    """The part of JSON Schema that `json_schema` uses."""
    if "enum" in schema:
        return value in schema["enum"]
    if schema["type"] == "number":
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return is_number and value >= schema["minimum"]
    if schema["type"] == "array":
        fits = isinstance(value, list) and schema.get("minItems", 0) <= len(value)
        return (
            fits
            and len(value) <= schema.get("maxItems", len(value))
            and all(follows(schema["items"], item) for item in value)
        )
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    return (
        isinstance(value, dict)
        and set(schema["required"]) <= value.keys() <= schema["properties"].keys()
        and all(follows(schema["properties"][key], item) for key, item in value.items())
    )


def test_fifteen_labels_in_order(taxonomy):
    assert len(taxonomy.label_names) == 15
    assert taxonomy.label_names[:2] == ("welding", "weld blowhole")
    assert taxonomy.label_names[-1] == "foam spray"
    assert taxonomy.choices("label") == taxonomy.label_names


def test_twenty_three_ids(taxonomy):
    defective = [label.defective_id for label in taxonomy.labels]
    good = [label.good_id for label in taxonomy.labels if label.good_id]
    assert (len(defective), len(good), len(taxonomy.negative_ids)) == (15, 7, 1)
    assert len({*defective, *good, *taxonomy.negative_ids}) == 23
    assert {i % 10 for i in defective} == {2}
    assert {i % 10 for i in (*good, *taxonomy.negative_ids)} == {1}
    assert {2702, 6102} <= set(taxonomy.boxless_ids) <= {*defective, *good}


@pytest.mark.parametrize(
    ("identifier", "expected"),
    [
        (1102, ("welding", "Defective")),
        (1101, ("welding", "Good")),
        (1202, ("weld blowhole", "Defective")),
        (2702, ("tank cleaning", "Defective")),
        (4301, ("cable binding", "Good")),
        (6102, ("foam spray", "Defective")),
        (6101, ("foam spray", "Good")),
        (2101, None),
        (1201, None),
    ],
)
def test_id_names_label_and_quality(taxonomy, identifier, expected):
    assert taxonomy.by_id.get(identifier) == expected


def test_fields_and_values_are_the_papers(taxonomy):
    assert {name: taxonomy.choices(name) for name in taxonomy.field_names} == {
        "tank_type": ("B", "C"),
        "location": ("Outer wall", "Inside", "Outside"),
        "sub_location": ("Dished end", "Body", "Floor", "Bulkhead", "Support", "Platform"),
        "part": ("Joint", "Coating", "Insulation", "Base Material", "Cable", "Cable Tie"),
        "quality": ("Good", "Defective"),
    }
    assert taxonomy.allowed["quality"] == {"Good", "Defective"}
    assert taxonomy.allowed["label"] == set(taxonomy.label_names)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(
    ("field", "spelling", "value"),
    [
        ("sub_location", "경판", "Dished end"),
        ("part", "케이블타이", "Cable Tie"),
        ("part", "케이블 타이", "Cable Tie"),
        ("part", "케이블", "Cable"),
        ("part", "CABLE TIE", "Cable Tie"),
        ("part", "13", "Insulation"),
        ("part", "파이프", "Pipe"),
        ("tank_type", "b형", "B"),
        ("quality", "정상", "Good"),
        ("location", " outer wall ", "Outer wall"),
    ],
)
def test_spellings(taxonomy, form, field, spelling, value):
    assert taxonomy.fields[field].spellings[fold(unicodedata.normalize(form, spelling))] == value


def test_no_spelling_means_two_things(taxonomy):
    for field in taxonomy.fields.values():
        known = field.values | field.from_data
        assert len(field.spellings) == sum(1 + len(others) for others in known.values())
    spellings = [fold(s) for label in taxonomy.labels for s in (label.name, *label.korean)]
    assert len(spellings) == len(set(spellings))


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_both_names_of_the_blowhole(taxonomy, form):
    names = {fold(s): label.name for label in taxonomy.labels for s in label.korean}
    assert names[fold(unicodedata.normalize(form, "용접블로우홀"))] == "weld blowhole"
    assert names[fold(unicodedata.normalize(form, "용접블루홀"))] == "weld blowhole"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": [*SMALL["labels"], {"name": "crack", "defective_id": 6}]}, "label given twice: crack"),
        ({"labels": [*SMALL["labels"], {"name": "rust", "defective_id": 2}]}, "id given twice: 2"),
        ({"labels": [*SMALL["labels"], {"name": "rust", "defective_id": 3}]}, "id given twice: 3"),
        ({"negative_ids": [4]}, "id given twice: 4"),
        ({"negative_ids": [9, 9]}, "id given twice: 9"),
        ({"fields": {"label": {"values": {"a": []}}}}, "cannot be metadata fields"),
        ({"fields": {"bbox": {"values": {"a": []}}}}, "cannot be metadata fields"),
        ({"fields": {"a": {"keys": ["위 치"]}, "b": {"keys": ["위치"]}}}, "key given twice: 위치"),
        ({"fields": {"a": {}, "b": {"keys": ["A"]}}}, "key given twice: a"),
        ({"labels": [{"name": "a</answer>", "defective_id": 2}]}, "'a</answer>' holds a tag"),
        ({"fields": {"part": {"values": {"<think>": []}}}}, "'<think>' holds a tag"),
        ({"fields": {"part": {"from_data": {"<answer>": []}}}}, "'<answer>' holds a tag"),
        ({"colour": "red"}, "colour"),
        ({"labels": [{"name": "crack", "defective_id": 2, "colour": "red"}]}, "colour"),
        ({"fields": {"quality": {"values": {"Good": []}, "colour": "red"}}}, "colour"),
        ({"labels": [{"name": "crack", "defective_id": "two"}]}, "defective_id"),
        ({"fields": None}, "fields"),
    ],
)
def test_refused(change, message):
    Taxonomy.model_validate(SMALL)
    with pytest.raises(ValidationError, match=message):
        Taxonomy.model_validate(SMALL | change)


def test_is_immutable(taxonomy):
    with pytest.raises(ValidationError, match="frozen"):
        taxonomy.labels = ()


def test_loads_a_file_without_the_parameters_key(tmp_path):
    path = tmp_path / "taxonomy.json"
    path.write_text(json.dumps(SMALL), encoding="utf-8")
    assert load_taxonomy(str(path)) == Taxonomy.model_validate(SMALL)


@pytest.mark.parametrize("ensure_ascii", [True, False])
def test_loads_its_own_artifact(taxonomy, tmp_path, ensure_ascii):
    run = taxonomy.with_data_values({"part": ["Pipe", "Joint"], "material": ["steel"]})
    path = tmp_path / "taxonomy.json"
    text = json.dumps(run.model_dump(mode="json"), ensure_ascii=ensure_ascii, indent=1)
    path.write_text(text, encoding="utf-8")
    loaded = load_taxonomy(path)
    assert loaded == run
    assert loaded.field_names == run.field_names
    assert loaded.fields["part"].spellings == run.fields["part"].spellings


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- 1\n- 2\n",
        b"just text",
        b"a: [",
        b"\ttab",
        b"{",
        b"taxonomy: 5",
        b"taxonomy:",
        b"labels: 3",
        b"colour: red",
        b"\xff\xfe\x00\x01",
        b"\x89PNG\r\n\x1a\n\x00",
        b"taxonomy: {labels: [{name: a}], fields: {}}",
    ],
)
def test_garbage_is_refused_by_name(tmp_path, content):
    path = tmp_path / "garbage.yml"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"garbage\.yml is not a taxonomy: "):
        load_taxonomy(path)


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.yml"):
        load_taxonomy(Path(tmp_path / "nowhere.yml"))


def test_a_run_allows_values_of_its_data(taxonomy):
    run = taxonomy.with_data_values({"part": ["Pipe", "Joint", "Pipe"], "material": ["steel", "foam"]})
    assert run.choices("part") == (*taxonomy.choices("part"), "Pipe")
    assert run.fields["part"].spellings[fold("파이프")] == "Pipe"
    assert run.field_names == (*taxonomy.field_names, "material")
    assert run.choices("material") == ("foam", "steel")
    assert run.allowed["material"] == {"foam", "steel"}
    assert run.label_names == taxonomy.label_names


def test_keys_of_raw_labels_are_in_no_report(taxonomy):
    bare = taxonomy.model_copy(
        update={"fields": {n: f.model_copy(update={"keys": ()}) for n, f in taxonomy.fields.items()}}
    )
    assert all(field.keys for field in taxonomy.fields.values())
    assert bare.digest == taxonomy.digest
    for reasoning in (False, True):
        assert chat_prompt(bare, reasoning=reasoning) == chat_prompt(taxonomy, reasoning=reasoning)


def test_values_of_a_run_do_not_leak_back(taxonomy):
    before = taxonomy.model_dump_json()
    taxonomy.with_data_values({"part": ["Pipe"], "material": ["steel"]})
    assert taxonomy.model_dump_json() == before
    assert "material" not in taxonomy.field_names
    assert "Pipe" not in taxonomy.allowed["part"]


def test_an_optional_field_without_values_is_no_field(taxonomy):
    assert taxonomy.with_data_values({"material": []}).field_names == taxonomy.field_names


def test_values_of_an_unknown_field_are_refused(taxonomy):
    with pytest.raises(KeyError, match="colour"):
        taxonomy.with_data_values({"colour": ["red"]})


@pytest.mark.parametrize(
    "report", [[], [CRACK], [CRACK, CRACK | {"label": "scratch", "bbox": [0.5, 0, 1, 1]}]]
)
def test_json_schema_admits_true_reports(taxonomy, report):
    assert follows(taxonomy.json_schema(), report)


@pytest.mark.parametrize(
    "report",
    [
        CRACK,
        [1],
        [{}],
        [CRACK | {"label": "rust"}],
        [CRACK | {"quality": None}],
        [CRACK | {"part": "Pipe"}],
        [CRACK | {"colour": "red"}],
        [CRACK | {"material": "steel"}],
        [{key: value for key, value in CRACK.items() if key != "part"}],
        [CRACK | {"bbox": [1, 2, 3]}],
        [CRACK | {"bbox": [1, 2, 3, 4, 5]}],
        [CRACK | {"bbox": [-1, 2, 3, 4]}],
        [CRACK | {"bbox": ["1", 2, 3, 4]}],
    ],
)
def test_json_schema_refuses_others(taxonomy, report):
    assert not follows(taxonomy.json_schema(), report)


def test_json_schema_follows_the_run(taxonomy):
    run = taxonomy.with_data_values({"part": ["Pipe"], "material": ["steel"]})
    assert follows(run.json_schema(), [CRACK | {"part": "Pipe", "material": "steel"}])
    assert not follows(run.json_schema(), [CRACK])
    assert list(run.json_schema()["items"]["properties"]) == ["label", "bbox", *run.field_names]
