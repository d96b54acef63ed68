import json
from itertools import islice

import numpy as np
import pytest
from PIL import Image

from lng_kedro.geometry import Frame, iou
from lng_kedro.pretraining.samples import NOTES, generic_samples
from lng_kedro.pretraining.scenes import (
    BARE,
    TEXTURES,
    _paint_object,
    _paint_shape,
    draw_scene,
    mirrored,
)
from lng_kedro.pretraining.shapes import SHAPES
from lng_kedro.report import parse_report


def test_boxes_are_inside_and_apart():
    rng = np.random.default_rng(0)
    counts = set()
    for _ in range(200):
        scene = draw_scene(rng, 128)
        counts.add(len(scene.objects))
        assert scene.image.size == (128, 128)
        for i, one in enumerate(scene.objects):
            assert 0 <= one.bbox[0] < one.bbox[2] <= 128
            assert 0 <= one.bbox[1] < one.bbox[3] <= 128
            assert all(iou(one.bbox, other.bbox) == 0 for other in scene.objects[i + 1 :])
    assert counts == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("texture", TEXTURES)
def test_box_is_tight_around_a_bare_shape(shape, texture):
    """Oracle: the pixels that differ from the untouched background."""
    image = Image.new("RGB", (200, 200), (0, 0, 0))
    box = _paint_shape(np.random.default_rng(1), image, (40, 50, 150, 130), "white", shape, texture)
    painted = np.argwhere(np.asarray(image).sum(axis=2) > 0)
    top, left = painted.min(axis=0)
    bottom, right = painted.max(axis=0) + 1
    assert np.abs(np.array(box) - [left, top, right, bottom]).max() <= 1


def test_the_box_of_a_shape_on_a_plate_is_the_plate():
    rng = np.random.default_rng(0)
    plates = 0
    for _ in range(100):
        image = Image.new("RGB", (200, 200), (255, 0, 255))
        found = _paint_object(rng, image, (40.0, 50.0, 150.0, 130.0), "purple")
        assert "purple" not in (found.colour, found.plate)
        assert found.colour != found.plate
        if found.plate != BARE:
            plates += 1
            assert found.bbox == (40, 50, 150, 130)
            inside = np.asarray(image)[50:130, 40:150]
            assert not (inside == (255, 0, 255)).all(axis=2).any()
    assert 35 < plates < 65


def test_a_mirrored_scene_shows_its_objects_where_its_boxes_are():
    rng = np.random.default_rng(4)
    scene = next(s for s in (draw_scene(rng, 128) for _ in range(20)) if s.objects)
    twice = mirrored(mirrored(scene))
    assert twice.objects == scene.objects
    assert twice.image.tobytes() == scene.image.tobytes()
    x_min, y_min, x_max, y_max = scene.objects[0].bbox
    assert (128 - x_max, y_min, 128 - x_min, y_max) in [o.bbox for o in mirrored(scene).objects]


def test_same_seed_same_stream(taxonomy):
    first, same, other = (
        [s.messages for s in islice(generic_samples(taxonomy, 128, seed, 0.5, 0.5), 20)] for seed in (1, 1, 2)
    )
    assert first == same != other


def reports(taxonomy, count):
    """Samples that fill in the report, with the notes in their prompts, if any, line by line."""
    for sample in islice(generic_samples(taxonomy, 128, 0, form_share=1.0, reasoning_share=0.5), count):
        _, _, notes = sample.messages[-2]["content"][1]["text"].partition(NOTES)
        report = parse_report(sample.messages[-1]["content"], taxonomy, Frame(128, 128))
        yield sample, notes.splitlines(), report


def test_reports_are_true_to_the_schema_in_both_forms(taxonomy):
    drawn = list(reports(taxonomy, 300))
    assert all(report.schema_true for _, _, report in drawn)
    thoughts = sum("<think>" in sample.messages[-1]["content"] for sample, _, _ in drawn)
    assert 0.4 < thoughts / len(drawn) < 0.6


def test_noted_reports_say_what_the_notes_say(taxonomy):
    noted = [(notes, report) for _, notes, report in reports(taxonomy, 300) if notes]
    assert 10 < len(noted) < 60
    for notes, report in noted:
        said = [", ".join((f.label, *f.values.values())) for f in report.findings]
        assert said == notes


def test_reports_without_notes_say_what_is_seen_by_one_code(taxonomy):
    labels, qualities = {}, {}
    for sample, notes, report in reports(taxonomy, 600):
        if notes:
            continue
        for o, finding in zip(sample.scene.objects, report.findings, strict=True):
            labels.setdefault((o.colour, o.shape), set()).add(finding.label)
            qualities.setdefault(o.texture, set()).add(finding.values["quality"])
    assert all(len(said) == 1 for said in (*labels.values(), *qualities.values()))
    assert set.union(*labels.values()) == set(taxonomy.label_names), "every label is seen"
    assert set.union(*qualities.values()) == {"Good", "Defective"}


def test_shapes_are_named_with_their_boxes(taxonomy):
    sample = next(
        s for s in generic_samples(taxonomy, 128, 3, form_share=0.0, reasoning_share=0.0) if s.length > 10
    )
    found = json.loads(sample.messages[-1]["content"])
    _, shape = found[0]["label"].split(" ")
    assert shape in SHAPES
    assert found[0].keys() == {"label", "bbox", "texture", "plate", "background", "pattern"}
