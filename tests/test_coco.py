"""COCO's files as pycocotools reads them."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lng_kedro.coco import coco_results, coco_truth
from lng_kedro.metrics import evaluate
from tests.test_metrics import CRACK, SCRATCH, photos_at_random


def test_truth_by_hand(taxonomy):
    found = coco_truth(["a", "b"], [[], [CRACK, SCRATCH]], taxonomy)
    assert found["images"] == [
        {"id": 1, "file_name": "a.jpg", "width": 512, "height": 512},
        {"id": 2, "file_name": "b.jpg", "width": 512, "height": 512},
    ]
    assert {"id": 2102, "name": "crack"} in found["categories"]
    assert len(found["categories"]) == 15
    crack = {
        "id": 1,
        "image_id": 2,
        "category_id": 2102,
        "bbox": [10, 20, 100, 100],
        "area": 10000,
        "iscrowd": 0,
    }
    assert found["annotations"][0] == crack
    assert [a["category_id"] for a in found["annotations"]] == [2102, 2502]


def test_results_by_hand(taxonomy):
    nameless = {"label": None, "bbox": None, "score": -2.0}
    assert coco_results([[CRACK | {"score": -0.5}], [nameless]], taxonomy) == [
        {"image_id": 1, "category_id": 2102, "bbox": [10, 20, 100, 100], "score": -0.5},
        {"image_id": 2, "category_id": 0, "bbox": [0, 0, 0, 0], "score": -2.0},
    ]


def test_pycocotools_finds_our_map_50_in_the_files(taxonomy, tmp_path):
    predictions, truths = photos_at_random(1, taxonomy.label_names[:6])
    predictions[0].append({"label": None, "bbox": None, "score": 9.0})
    (tmp_path / "truth.json").write_text(json.dumps(coco_truth(list(map(str, range(40))), truths, taxonomy)))
    (tmp_path / "results.json").write_text(json.dumps(coco_results(predictions, taxonomy)))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(tmp_path / "truth.json")
        evaluation = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    expected = evaluate(predictions, truths, taxonomy)["map_50"]
    assert precision[precision > -1].mean() == pytest.approx(expected, abs=1e-9)
