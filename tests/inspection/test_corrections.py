"""What Label Studio gives back -> label files, and what is refused; a real server is in test_studio.py."""

import json
from copy import deepcopy
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.geometry import upright_box, upright_size
from lng_kedro.imaging import photo_header
from lng_kedro.inspection.corrections import Corrections, LabelFile, corrected_photos
from lng_kedro.inspection.label_folder import LabelFolder
from lng_kedro.inspection.label_studio import labelling_config, review_task, review_taxonomy
from lng_kedro.pipelines.reviewed.nodes import take_corrections
from lng_kedro.quarantine import Rejected
from lng_kedro.taxonomy import Taxonomy
from tests.inspection.reports import FIELDS, finding, report, turned
from tests.raw import scene

PHOTO = scene(1, 400, 300)
DIGEST = sha256(PHOTO).hexdigest()


@pytest.fixture
def originals(tmp_path):
    folder = tmp_path / "originals"
    folder.mkdir()
    (folder / DIGEST).write_bytes(PHOTO)
    return folder


def region(*, label="crack", x=10.0, y=20.0, width=30.0, height=40.0, name="r", size=(400, 300), **values):
    """Results of one box: its label, and a choice of each field."""
    place = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    shared = {"id": name, "to_name": "photo", "original_width": size[0], "original_height": size[1]}
    shared["image_rotation"] = 0
    box = shared | {"from_name": "label", "type": "rectanglelabels"}
    box["value"] = place | {"rectanglelabels": [label]}
    chosen = FIELDS | values
    return [
        box,
        *(
            shared | {"from_name": field, "type": "choices", "value": place | {"choices": [value]}}
            for field, value in chosen.items()
        ),
    ]


def annotation(result, at="2026-11-26T10:00:00Z", number=1, **other):
    return {"id": number, "result": result, "was_cancelled": False, "updated_at": at, **other}


def task(*annotations, number=7, digest=DIGEST):
    data = {"photo": "line 3/a.jpg", "sha256": digest, "taxonomy": "known"}
    return {"id": number, "data": data, "annotations": list(annotations), "drafts": []}


def corrected(taxonomy, originals, *tasks):
    return Corrections(tasks, originals, {"known": review_taxonomy(taxonomy)})


def outcome(taxonomy, originals, *tasks):
    """What became of the one photo of some tasks."""
    (found,) = corrected_photos(corrected(taxonomy, originals, *tasks), {}.get)
    return found.outcome


def labelled(taxonomy, originals, result):
    return outcome(taxonomy, originals, task(annotation(result)))


def test_a_correction_is_a_label_as_ai_hub_writes_it(taxonomy, originals):
    files = labelled(
        taxonomy, originals, region() + region(name="s", label="welding", quality="Good", part="Cable")
    )
    assert files.stem == f"2102_14_{DIGEST[:32]}" and files.suffix == ".jpg" and files.photo == PHOTO
    assert files.label["images"] == [{"id": 1, "file_name": f"{files.stem}.jpg", "width": 400, "height": 300}]
    first, second = files.label["annotations"]
    assert (first["category_id"], first["bbox"], first["attributes"]) == (
        2102,
        [40.0, 60.0, 120.0, 120.0],
        FIELDS,
    )
    assert second["category_id"] == 1101
    assert second["attributes"] == FIELDS | {"quality": "Good", "part": "Cable"}
    assert files.label["info"]["reviewed_at"] == "2026-11-26T10:00:00Z"


def test_nothing_marked_is_a_negative(taxonomy, originals):
    files = labelled(taxonomy, originals, [])
    assert files.stem == f"2101_00_{DIGEST[:32]}" and files.label["annotations"] == []


def test_values_that_only_the_raw_format_knows_can_be_chosen(taxonomy, originals):
    files = labelled(taxonomy, originals, region(part="Pipe"))
    assert files.stem.startswith("2102_15_")
    assert labelled(taxonomy, originals, region(part="Urethane Foam")).stem.startswith("2102_00_")


def test_labels_without_boxes_mean_the_whole_photo_once(taxonomy, originals):
    files = labelled(taxonomy, originals, region(label="tank cleaning"))
    assert files.label["annotations"][0]["bbox"] == [0.0, 0.0, 400.0, 300.0]
    twice = labelled(
        taxonomy, originals, region(label="tank cleaning") + region(label="tank cleaning", name="s")
    )
    assert twice.reason == "contradiction" and "whole photo" in twice.detail


def changed(result, place, **value):
    found = deepcopy(result)
    found[place]["value"] |= value
    return found


WRONG = {
    "unknown label": (changed(region(), 0, rectanglelabels=["dent"]), "unknown_value", "label 'dent'"),
    "two labels": (changed(region(), 0, rectanglelabels=["crack", "welding"]), "contradiction", "label"),
    "no label": (changed(region(), 0, rectanglelabels=[]), "missing_value", "label"),
    "unknown value": (region(part="Hull"), "unknown_value", "part 'Hull'"),
    "no value": (region()[:-1], "missing_value", "crack lacks quality"),
    "rotated": (changed(region(), 0, rotation=12.5), "box", "rotated"),
    "turned": ([r | {"image_rotation": 90} for r in region()], "box", "rotated"),
    "outside": (region(x=80.0), "box_outside", "reaches out"),
    "negative": (region(y=-0.1), "box_outside", "reaches out"),
    "flat": (region(width=0), "box_degenerate", "no width"),
    "nan": (region(x=float("nan")), "box", "four finite numbers"),
    "text": (region(x="10"), "box", "four finite numbers"),
    "truth": (region(x=True), "box", "four finite numbers"),
    "good without an id": (region(quality="Good"), "contradiction", "crack cannot be Good"),
    "another tool": (
        [{"id": "r", "from_name": "label", "type": "polygonlabels", "value": {}}],
        "annotation",
        "what",
    ),
    "a relation": ([*region(), {"type": "relation", "from_id": "r", "to_id": "s"}], "annotation", "what"),
    "twice": (region() + region(), "annotation", "what"),
    "values of no box": (region()[1:], "annotation", "of no box"),
    "shown otherwise": (region(size=(300, 400)), "size_mismatch", "upright photo has"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_the_raw_format_cannot_say_is_refused_with_a_sentence(case, taxonomy, originals):
    result, reason, detail = WRONG[case]
    refused = labelled(taxonomy, originals, result)
    assert isinstance(refused, Rejected)
    assert refused.reason == reason and detail in refused.detail and refused.detail.startswith("task 7: ")


def test_the_last_submitted_annotation_counts(taxonomy, originals):
    first = annotation(region(), "2026-11-26T10:00:00Z", 1)
    last = annotation(region(label="scratch"), "2026-11-26T12:00:00Z", 2)
    skipped = annotation([], "2026-11-26T13:00:00Z", 3, was_cancelled=True)
    assert outcome(taxonomy, originals, task(last, first, skipped)).stem.startswith("2502_")
    assert outcome(taxonomy, originals, task(first), task(last, number=8)).stem.startswith("2502_")
    assert outcome(taxonomy, originals, task(skipped)).reason == "skipped"


def test_a_photo_that_is_gone_or_another_is_refused(taxonomy, originals):
    (originals / DIGEST).write_bytes(scene(2))
    assert "another one now" in labelled(taxonomy, originals, []).detail
    (originals / DIGEST).unlink()
    assert labelled(taxonomy, originals, []).reason == "label_without_photo"


@pytest.mark.parametrize("digest", [None, "../../etc/passwd", DIGEST[:-1], DIGEST.upper()])
def test_a_task_that_names_no_photo_reads_no_file(digest, taxonomy, originals):
    refused = outcome(taxonomy, originals, task(annotation([]), digest=digest))
    assert refused.reason == "annotation"


def test_untouched_tasks_change_nothing(taxonomy, originals):
    assert list(corrected_photos(corrected(taxonomy, originals, task()), {}.get)) == []


def test_a_correction_taken_back_takes_its_label_away(taxonomy, originals, tmp_path):
    folder = AIHubFolder(tmp_path / "reviewed")
    (tmp_path / "reviewed").mkdir()
    other = tmp_path / "reviewed" / f"2102_14_{'0' * 32}.json"
    other.write_text("{}")
    corrections = corrected(taxonomy, originals, task(annotation(region())))
    assert len(take_corrections(corrections, folder)) == 0
    names = {f"2102_14_{DIGEST[:32]}.jpg", f"2102_14_{DIGEST[:32]}.json"}
    assert {p.name for p in folder.root.iterdir()} == names | {other.name}
    back = annotation([], was_cancelled=True)
    quarantine = take_corrections(corrected(taxonomy, originals, task(back)), folder)
    assert quarantine.to_dict("records") == [
        {"file": "line 3/a.jpg", "reason": "skipped", "detail": "task 7: nobody has submitted it"}
    ]
    assert [p.name for p in folder.root.iterdir()] == [other.name]


def files_of(folder):
    return {path.name: path.read_bytes() for path in folder.root.iterdir()}


def test_a_correction_outlives_its_original_and_may_be_changed_then(taxonomy, originals, tmp_path):
    folder = AIHubFolder(tmp_path / "reviewed")
    first, later = annotation(region()), annotation(region(label="scratch"), "2026-11-27T10:00:00Z")
    take_corrections(corrected(taxonomy, originals, task(first)), folder)
    before = files_of(folder)
    (originals / DIGEST).unlink()
    assert take_corrections(corrected(taxonomy, originals, task(first)), folder).empty
    assert files_of(folder) == before
    (originals / DIGEST).write_bytes(scene(2))  # another photo of that name
    assert take_corrections(corrected(taxonomy, originals, task(later)), folder).empty
    assert {n: b for n, b in files_of(folder).items() if n.endswith("jpg")} == {
        f"2502_14_{DIGEST[:32]}.jpg": PHOTO
    }


def test_a_damaged_copy_stands_in_for_nothing(taxonomy, originals, tmp_path):
    folder = AIHubFolder(tmp_path / "reviewed")
    known = corrected(taxonomy, originals, task(annotation(region())))
    take_corrections(known, folder)
    (originals / DIGEST).unlink()
    next(folder.root.glob("*.jpg")).write_bytes(PHOTO[:100])
    assert list(take_corrections(known, folder)["reason"]) == ["label_without_photo"]


def test_a_correction_that_cannot_be_read_any_more_keeps_its_label(taxonomy, originals, tmp_path):
    folder = AIHubFolder(tmp_path / "reviewed")
    known = corrected(taxonomy, originals, task(annotation(region())))
    take_corrections(known, folder)
    before = files_of(folder)
    unknown = replace(known, taxonomies={"another": taxonomy})
    assert list(take_corrections(unknown, folder)["reason"]) == ["annotation"]
    assert files_of(folder) == before
    # A person has changed it since into what no label can say.
    changed = annotation(region(quality="Good"), "2026-11-27T10:00:00Z")
    quarantine = take_corrections(corrected(taxonomy, originals, task(changed)), folder)
    assert list(quarantine["reason"]) == ["contradiction"] and files_of(folder) == {}


def test_each_correction_is_read_by_the_taxonomy_it_was_made_with(taxonomy, originals):
    fewer = Taxonomy(**taxonomy.model_dump() | {"fields": dict(list(taxonomy.fields.items())[1:])})
    lacks = next(iter(taxonomy.field_names))
    old = [result for result in region() if result["from_name"] != lacks]
    assert fewer.field_names == taxonomy.field_names[1:]
    both = replace(corrected(taxonomy, originals), taxonomies={"known": taxonomy, "older": fewer})
    for name, refused in (("known", True), ("older", False)):
        done = task(annotation(old))
        done["data"]["taxonomy"] = name
        (found,) = corrected_photos(replace(both, tasks=[done]), {}.get)
        assert isinstance(found.outcome, Rejected) == refused
        assert refused or lacks not in found.outcome.label["annotations"][0]["attributes"]


def test_a_folder_in_which_a_command_was_killed_is_mended(tmp_path, monkeypatch):
    folder = LabelFolder(tmp_path)
    new = LabelFile(f"2102_14_{DIGEST[:32]}", ".jpg", PHOTO, {"images": []})
    with monkeypatch.context() as killed, pytest.raises(KeyboardInterrupt):
        killed.setattr(Path, "replace", Mock(side_effect=KeyboardInterrupt))
        folder.put(DIGEST, new)
    assert len(list(tmp_path.iterdir())) == 1
    (tmp_path / f"{new.stem}.jpg").write_bytes(PHOTO[:100])
    (tmp_path / f"1101_14_{DIGEST[:32]}.json").write_text("{}")
    assert folder.put(DIGEST, new) and not folder.put(DIGEST, new)
    assert {p.name for p in tmp_path.iterdir()} == {f"{new.stem}.jpg", f"{new.stem}.json"}
    assert (tmp_path / f"{new.stem}.jpg").read_bytes() == PHOTO


SIDES = {1: PHOTO} | {i: turned(PHOTO, i) for i in range(2, 9)}
corner = st.floats(0, 1)


@given(st.sampled_from(sorted(SIDES)), corner, corner, corner, corner)
@settings(max_examples=200, deadline=None)
def test_boxes_survive_the_way_through_label_studio(tmp_path_factory, orientation, a, b, c, d):
    """Report -> prediction -> label file -> raw reader: the same box, whichever way the photo lies."""
    from lng_kedro.taxonomy import load_taxonomy
    from tests.conftest import TAXONOMY_FILE

    taxonomy = load_taxonomy(TAXONOMY_FILE)
    photo = SIDES[orientation]
    digest = sha256(photo).hexdigest()
    originals = tmp_path_factory.getbasetemp() / "sides"
    originals.mkdir(exist_ok=True)
    (originals / digest).write_bytes(photo)
    header = photo_header(photo)
    width, height = upright_size(header.width, header.height, orientation)
    box = [*sorted((a * width, b * width)), *sorted((c * height, d * height))]
    corners = (box[0], box[2], box[1], box[3])
    made = review_task(report("p", photo, finding("scratch", corners)), "photos/p.jpg", taxonomy, "known")
    result = json.loads(json.dumps(made["predictions"][0]["result"]))
    if not result:  # a box without area is not drawn
        assert min(box[1] - box[0], box[3] - box[2]) < 1e-9 and "not drawn" in made["data"]["says"]
        return
    found = outcome(taxonomy, originals, task(annotation(result), digest=digest))
    content = json.dumps(found.label).encode()
    ((row,), refused) = LabelReader(taxonomy).read(f"{found.stem}.json", content, has_photo=True)
    assert refused == [] and (row["width"], row["height"]) == (header.width, header.height)
    x, y, w, h = upright_box([row[k] for k in "xywh"], header.width, header.height, orientation)
    assert (x, y, x + w, y + h) == pytest.approx(corners, abs=1e-9)


def test_the_configuration_offers_every_label_and_value(taxonomy):
    from xml.etree.ElementTree import fromstring

    view = fromstring(labelling_config(review_taxonomy(taxonomy)))
    assert [e.get("value") for e in view.iter("Label")] == list(taxonomy.label_names)
    choices = {e.get("name"): [c.get("value") for c in e] for e in view.iter("Choices")}
    assert choices.keys() == set(taxonomy.field_names)
    assert choices["part"] == [*taxonomy.choices("part"), "Cable Gland", "Pipe", "Urethane Foam"]
    assert choices["quality"] == ["Good", "Defective"]


def test_predictions_are_cut_at_the_photo_and_doubts_are_said(taxonomy):
    beyond = finding("crack", (-10, -20, 500, 150), None)
    again = [finding("foam spray", (1, 2, 30, 40), 0.4), finding("foam spray", (50, 60, 70, 80), 0.3)]
    made = review_task(report("a.jpg", PHOTO, beyond, *again), "photos/a.jpg", taxonomy, "known")
    result = made["predictions"][0]["result"]
    assert {k: result[0]["value"][k] for k in ("x", "y", "width", "height")} == {
        "x": 0,
        "y": 0,
        "width": 100,
        "height": 50,
    }
    assert "score" not in result[0]
    whole = [r for r in result if r["type"] == "rectanglelabels"][1]
    assert (whole["value"]["width"], whole["value"]["height"]) == (100, 100)
    assert made["data"]["says"].endswith("not drawn: foam spray at [50, 60, 70, 80]")
    failed = report("a.jpg", PHOTO, error={"reason": "engine", "detail": "timed out"})
    assert "no report: engine, timed out" in review_task(failed, "x", taxonomy, "known")["data"]["says"]
