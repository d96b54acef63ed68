import contextlib
import io
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lng_kedro import average_precision
from lng_kedro.metrics import Scores, evaluate

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
FAR = CRACK | {"bbox": [400, 400, 450, 450]}
UNBOXED = {key: value for key, value in CRACK.items() if key != "bbox"}
RUST = FAR | {"label": "rust"}
FALSE = [CRACK | {"bbox": [300, 5 * k, 340, 5 * k + 40]} for k in range(10)]

DETECTION = ["map_50", "map_50_equal", "map_50_boxed", "ap_50_agnostic", "f1_50"]
FIELDS = ["label", "tank_type", "location", "sub_location", "part", "quality"]
KEYS = [*DETECTION, *(f"{kind}_{field}" for field in FIELDS for kind in ("f1", "macro_f1"))]


def fractions(found):
    """Figures without each label's own and without the error of count."""
    return {key: value for key, value in found.items() if "/" not in key and key != "count_error"}


def photos_at_random(seed, labels, n=40):
    """Truths, and predictions that jitter, confuse, miss, repeat and invent; all scores differ."""
    rng = np.random.default_rng(seed)

    def a_box(centre, sides):
        return [float(side) for side in (*(centre - sides / 2), *(centre + sides / 2))]

    predictions, truths = [], []
    for _ in range(n):
        true, predicted = [], []
        for _ in range(rng.integers(0, 6)):
            centre, sides = rng.uniform(100, 400, 2), rng.uniform(20, 90, 2)
            item = CRACK | {"label": str(rng.choice(labels)), "bbox": a_box(centre, sides)}
            true.append(item)
            for _ in range(rng.choice([0, 1, 1, 1, 2])):
                box = a_box(centre + rng.normal(0, 5, 2), sides * rng.uniform(0.75, 1.35, 2))
                label = item["label"] if rng.random() < 0.7 else str(rng.choice(labels))
                predicted.append(item | {"label": label, "bbox": box})
        for _ in range(rng.integers(0, 3)):
            box = a_box(rng.uniform(100, 400, 2), rng.uniform(20, 90, 2))
            predicted.append(CRACK | {"label": str(rng.choice(labels)), "bbox": box})
        truths.append(true)
        predictions.append([item | {"score": float(rng.normal(-1, 1))} for item in predicted])
    return predictions, truths


def ap_50_of_pycocotools(predictions, truths, classes):
    """COCO's own AP at IoU 0.5 with its default parameters."""

    def row(image, item):
        x_min, y_min, x_max, y_max = item["bbox"]
        box = [x_min, y_min, x_max - x_min, y_max - y_min]
        return {"image_id": image + 1, "category_id": classes[item["label"]], "bbox": box}

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        annotations = [row(i, item) for i, items in enumerate(truths) for item in items]
        coco.dataset = {
            "images": [{"id": i + 1} for i in range(len(truths))],
            "categories": [{"id": i} for i in sorted(set(classes.values()))],
            "annotations": [
                a | {"id": k + 1, "area": a["bbox"][2] * a["bbox"][3], "iscrowd": 0}
                for k, a in enumerate(annotations)
            ],
        }
        coco.createIndex()
        results = [
            row(i, item) | {"score": item.get("score", 1.0)}
            for i, items in enumerate(predictions)
            for item in items
        ]
        evaluation = COCOeval(coco, coco.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats[1]


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_pycocotools(taxonomy, seed):
    labels = taxonomy.label_names[: 3 + 4 * seed]
    predictions, truths = photos_at_random(seed, labels)
    found = evaluate(predictions, truths, taxonomy)
    by_label = {label: i + 1 for i, label in enumerate(labels)}
    expected = ap_50_of_pycocotools(predictions, truths, by_label)
    assert 0.05 < expected < 0.95
    assert found["map_50"] == pytest.approx(expected, abs=1e-9)
    as_one = ap_50_of_pycocotools(predictions, truths, dict.fromkeys(labels, 1))
    assert abs(as_one - expected) > 0.01
    assert found["ap_50_agnostic"] == pytest.approx(as_one, abs=1e-9)


@pytest.mark.parametrize("seed", [5, 8, 10])
def test_agrees_with_torchmetrics(taxonomy, seed):
    import torch
    from torchmetrics.detection import MeanAveragePrecision

    labels = taxonomy.label_names[:5]
    predictions, truths = photos_at_random(seed, labels)

    def tensors(items, number):
        found = {
            "boxes": torch.tensor([o["bbox"] for o in items], dtype=torch.float64).reshape(-1, 4),
            "labels": torch.tensor([number[o["label"]] for o in items], dtype=torch.int64),
        }
        if all("score" in o for o in items):
            found["scores"] = torch.tensor([o["score"] for o in items], dtype=torch.float64)
        return found

    # Its own are float32: where a recall is a whole hundredth, they fall on the other side of it.
    recalls = np.linspace(0, 1, 101).tolist()
    found = evaluate(predictions, truths, taxonomy)
    for key, number in (
        ("map_50", {label: i for i, label in enumerate(labels)}),
        ("ap_50_agnostic", dict.fromkeys(labels, 0)),
    ):
        oracle = MeanAveragePrecision(iou_thresholds=[0.5], rec_thresholds=recalls)
        oracle.update([tensors(p, number) for p in predictions], [tensors(t, number) for t in truths])
        assert found[key] == pytest.approx(float(oracle.compute()["map"]), abs=1e-4)


def test_keys_and_types(taxonomy):
    found = evaluate([[CRACK]], [[CRACK]], taxonomy)
    assert list(found) == [*KEYS, "count_error", "ap_50/crack"]
    assert all(type(value) is float for value in found.values())
    assert found == pytest.approx(dict.fromkeys(found, 1) | {"count_error": 0})


def test_material_has_its_metrics_where_the_data_carry_it(taxonomy):
    run = taxonomy.with_data_values({"material": ["steel", "foam"]})
    truth = [[CRACK | {"material": "steel"}]]
    found = evaluate([[CRACK | {"material": "foam"}]], truth, run)
    assert (found["f1_material"], found["macro_f1_material"]) == (0, 0)
    assert evaluate(truth, truth, run)["f1_material"] == 1


@pytest.mark.parametrize(
    ("predictions", "truths", "expected"),
    [
        ([], [], 1),
        ([[]], [[]], 1),
        ([[], [], []], [[], [], []], 1),
        ([[CRACK]], [[]], 0),
        ([[{}]], [[]], 0),
        ([[], [SCRATCH, CRACK]], [[], []], 0),
        ([[]], [[CRACK]], 0),
        ([[], []], [[CRACK, SCRATCH], []], 0),
        ([[FAR]], [[CRACK]], 0),
        ([[CRACK], []], [[], [CRACK]], 0),
        ([[CRACK, SCRATCH], []], [[SCRATCH, CRACK], []], 1),
    ],
)
def test_all_or_nothing(taxonomy, predictions, truths, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fractions(evaluate(predictions, truths, taxonomy)) == pytest.approx(
            dict.fromkeys(KEYS, expected)
        )


@pytest.mark.parametrize(("n_predicted", "n_true"), [(1, 0), (0, 1), (2, 3)])
def test_lengths_must_agree(taxonomy, n_predicted, n_true):
    with pytest.raises(ValueError, match=f"{n_predicted} photos predicted, {n_true} true"):
        evaluate([[CRACK]] * n_predicted, [[CRACK]] * n_true, taxonomy)


@pytest.mark.parametrize("truth", [[RUST], [CRACK, RUST], [{}], [CRACK | {"label": None}]])
def test_a_truth_of_no_label_is_refused(taxonomy, truth):
    with pytest.raises(ValueError, match="truth of photo 1"):
        evaluate([[], [CRACK]], [[CRACK], truth], taxonomy)


@pytest.mark.parametrize(
    ("hit", "false", "expected"),
    [
        (0.9, 0.1, 1),
        (0.1, 0.9, 1 / 2),  # precision 1/2 at every recall
        (-0.2, -3.5, 1),
        (-3.5, -0.2, 1 / 2),
        (-0.5, float("-1e9"), 1),
        (-0.5, float("nan"), 1),
    ],
)
def test_map_50_ranks_by_score(taxonomy, hit, false, expected):
    for predicted in (
        [CRACK | {"score": hit}, FAR | {"score": false}],
        [FAR | {"score": false}, CRACK | {"score": hit}],
    ):
        found = evaluate([predicted], [[CRACK]], taxonomy)
        assert found["map_50"] == pytest.approx(expected)
        assert found["ap_50_agnostic"] == pytest.approx(expected)


def test_map_50_is_the_mean_over_true_labels(taxonomy):
    # crack: found; scratch: missed; welding: predicted, in no truth, no class of the mean
    found = evaluate([[CRACK, FAR | {"label": "welding"}]], [[CRACK, SCRATCH]], taxonomy)
    assert found["map_50"] == pytest.approx(1 / 2)
    assert found["f1_50"] == pytest.approx(1 / 2)  # one hit of two predicted and two true


def test_map_50_of_equal_scores_ignores_scores(taxonomy):
    predictions, truths = photos_at_random(3, taxonomy.label_names[:3])
    mirrored = [[item | {"score": -item["score"]} for item in items] for items in predictions]
    found, other = evaluate(predictions, truths, taxonomy), evaluate(mirrored, truths, taxonomy)
    assert found["map_50_equal"] == other["map_50_equal"]
    assert abs(found["map_50"] - other["map_50"]) > 0.005
    bare = [[{k: v for k, v in item.items() if k != "score"} for item in items] for items in predictions]
    assert evaluate(bare, truths, taxonomy)["map_50"] == found["map_50_equal"]


# One hit and ten false boxes: plain COCO gives 1 with the hit first and 1/11 with the hit last.


def test_no_position_is_favoured_among_equal_scores(taxonomy):
    """The hit gets each of the eleven ranks once as it moves through the list: AP is 1/rank."""
    found = [
        evaluate([[*FALSE[:k], CRACK, *FALSE[k:]]], [[CRACK]], taxonomy)["map_50_equal"] for k in range(11)
    ]
    assert sorted(found, reverse=True) == pytest.approx([1 / rank for rank in range(1, 12)])


@pytest.mark.parametrize("predicted", [[CRACK, *FALSE], [*FALSE, CRACK]])
def test_equal_scores_are_fair_in_expectation(taxonomy, predicted, monkeypatch):
    found = []
    for seed in range(150):
        monkeypatch.setattr(average_precision, "TIE_SEED", seed)
        found.append(evaluate([predicted], [[CRACK]], taxonomy)["map_50_equal"])
    # (1 + 1/2 + ... + 1/11) / 11; the mean of 150 has a standard error of 0.021
    assert np.mean(found) == pytest.approx(0.2745, abs=0.06)


def test_the_order_of_a_report_does_not_decide_map_50_equal(taxonomy):
    hit_first, hit_last, truths = [[CRACK, *FALSE]] * 200, [[*FALSE, CRACK]] * 200, [[CRACK]] * 200
    first = evaluate(hit_first, truths, taxonomy)["map_50_equal"]
    last = evaluate(hit_last, truths, taxonomy)["map_50_equal"]
    # one in eleven is a hit wherever the list is cut
    assert first == pytest.approx(1 / 11, abs=0.03)
    assert last == pytest.approx(1 / 11, abs=0.03)


def test_the_same_input_gives_the_same_figures(taxonomy):
    predictions, truths = photos_at_random(5, taxonomy.label_names[:4])
    assert evaluate(predictions, truths, taxonomy) == evaluate(predictions, truths, taxonomy)


# Nothing that a model says is dropped.


@pytest.mark.parametrize(
    "extra",
    [
        UNBOXED,
        CRACK | {"bbox": None},
        CRACK | {"bbox": [1, 2, 3]},
        CRACK | {"bbox": [110, 120, 10, 20]},
        RUST,
        FAR | {"label": None},
        FAR | {"label": ["crack"]},
        FAR | {"label": "welding"},
        {},
    ],
)
def test_what_cannot_be_a_hit_is_a_false_alarm(taxonomy, extra):
    found = evaluate([[CRACK | {"score": -1}, extra | {"score": 0}]], [[CRACK]], taxonomy)
    assert found["f1_50"] == pytest.approx(2 / 3)  # precision 1/2, recall 1
    assert found["ap_50_agnostic"] == pytest.approx(1 / 2)
    assert all(found[f"f1_{field}"] == pytest.approx(2 / 3) for field in FIELDS)


def test_a_wrong_label_is_a_hit_only_where_labels_are_ignored(taxonomy):
    found = evaluate([[CRACK | {"label": "scratch"}]], [[CRACK]], taxonomy)
    expected = dict.fromkeys(DETECTION, 0) | {"ap_50_agnostic": 1}
    assert {key: found[key] for key in DETECTION} == pytest.approx(expected)


@pytest.mark.parametrize("label", ["welding", "foam spray"])
def test_a_label_that_does_not_exist_is_of_no_class(taxonomy, label):
    predicted = [CRACK | {"label": label, "score": -1}, RUST | {"score": 0}]
    found = evaluate([predicted], [[CRACK | {"label": label}]], taxonomy)
    assert found["map_50"] == pytest.approx(1)
    assert found["ap_50_agnostic"] == pytest.approx(1 / 2)


def test_a_label_without_a_box_lowers_its_class(taxonomy):
    found = evaluate([[CRACK | {"score": -1}, UNBOXED | {"score": 0}]], [[CRACK]], taxonomy)
    assert found["map_50"] == pytest.approx(1 / 2)


@pytest.mark.parametrize("side", [1e5 + 1, 1e6, 1e154, 1e308, 10**300])
def test_a_huge_box_is_a_false_alarm_too(taxonomy, side):
    huge = CRACK | {"bbox": [0, 0, side, side], "score": 0}
    found = evaluate([[CRACK | {"score": -1}, huge]], [[CRACK | {"bbox": [10.5, 20, 110, 120]}]], taxonomy)
    assert found["map_50"] == pytest.approx(1 / 2)
    assert found["ap_50_agnostic"] == pytest.approx(1 / 2)
    assert found["f1_50"] == pytest.approx(2 / 3)


def test_more_than_a_hundred_predictions_on_a_photo(taxonomy):
    false = [FAR | {"score": 0}] * 149
    found = evaluate([[*false, CRACK | {"score": -1}]], [[CRACK]], taxonomy)
    assert found["map_50"] == pytest.approx(1 / 150)
    assert found["ap_50_agnostic"] == pytest.approx(1 / 150)
    assert found["f1_50"] == pytest.approx(2 / 151)


def test_more_than_a_hundred_objects_on_a_photo(taxonomy):
    truth = [
        CRACK | {"bbox": [20 * i, 20 * j, 20 * i + 15, 20 * j + 15]} for i in range(15) for j in range(15)
    ]
    assert fractions(evaluate([truth], [truth], taxonomy)) == pytest.approx(dict.fromkeys(KEYS, 1))


# F1 of the fields.


@pytest.mark.parametrize(
    ("predicted", "truth", "field", "micro", "macro"),
    [
        # said Good, Good and a false alarm Defective; meant Good, Defective: 1 hit of 3 and 2.
        # Good: 1 hit of 2 and 1, 2/3. Defective: 0 hits of 1 and 1.
        (
            [CRACK, SCRATCH | {"quality": "Good"}, FAR | {"quality": "Defective"}],
            [CRACK, SCRATCH],
            "quality",
            2 / 5,
            (2 / 3 + 0) / 2,
        ),
        # said crack three times; crack: 1 hit of 3 and 1, 2/4. scratch: 0 hits of 0 and 1.
        ([CRACK, SCRATCH | {"label": "crack"}, FAR], [CRACK, SCRATCH], "label", 2 / 5, (1 / 2 + 0) / 2),
        # the label plays no part in the match: both parts are right
        ([CRACK | {"label": "scratch"}], [CRACK], "part", 1, 1),
        ([CRACK | {"label": "scratch"}], [CRACK], "label", 0, 0),
        # a value that is not allowed is a false positive and leaves a false negative
        ([CRACK | {"part": "Pipe"}, SCRATCH], [CRACK, SCRATCH], "part", 2 / 4, 2 / 3),
        # so is a field left out, and a right value of an object that was not found
        ([{"label": "crack", "bbox": CRACK["bbox"]}], [CRACK], "part", 0, 0),
        ([FAR], [CRACK], "part", 0, 0),
        ([UNBOXED], [CRACK], "part", 0, 0),
        # a truth that was missed: 1 hit of 1 and 2
        ([CRACK], [CRACK, SCRATCH], "tank_type", 2 / 3, 2 / 3),
        # said twice, true once: 1 hit of 2 and 1
        ([CRACK, CRACK], [CRACK], "location", 2 / 3, 2 / 3),
        # Body: 0 hits of 1 and 0; Floor: 0 hits of 0 and 1; Support: 1 hit of 1 and 1
        (
            [CRACK | {"sub_location": "Body"}, SCRATCH | {"sub_location": "Support"}],
            [CRACK, SCRATCH | {"sub_location": "Support"}],
            "sub_location",
            2 / 4,
            1 / 3,
        ),
    ],
)
def test_field_f1(taxonomy, predicted, truth, field, micro, macro):
    found = evaluate([predicted], [truth], taxonomy)
    assert found[f"f1_{field}"] == pytest.approx(micro)
    assert found[f"macro_f1_{field}"] == pytest.approx(macro)


def test_counts_are_summed_over_photos(taxonomy):
    # photos of 1 hit (1 said, 1 meant), 0 hits (2, 0) and 0 hits (0, 1): 2 * 1 / (3 + 2)
    found = evaluate([[CRACK], [FAR, FAR], []], [[CRACK], [], [CRACK]], taxonomy)
    assert found["f1_50"] == pytest.approx(2 / 5)
    assert found["f1_quality"] == pytest.approx(2 / 5)


def test_boxes_match_only_on_their_photo(taxonomy):
    found = evaluate([[CRACK], [SCRATCH]], [[SCRATCH], [CRACK]], taxonomy)
    assert fractions(found) == pytest.approx(dict.fromkeys(KEYS, 0))


corner = st.integers(0, 6).map(lambda n: 10 * n)
box = st.tuples(corner, corner, st.integers(1, 6), st.integers(1, 6)).map(
    lambda b: [b[0], b[1], b[0] + 10 * b[2], b[1] + 10 * b[3]]
)
said = st.fixed_dictionaries(
    {
        "label": st.sampled_from(["crack", "scratch", "rust", None]),
        "bbox": st.one_of(box, st.none()),
        "quality": st.sampled_from(["Good", "Defective", "Bad", None]),
        "score": st.floats(-5, 0),
    }
)
meant = st.builds(
    lambda label, b: CRACK | {"label": label, "bbox": b}, st.sampled_from(["crack", "scratch"]), box
)


@given(st.lists(st.tuples(st.lists(said, max_size=4), st.lists(meant, max_size=3)), max_size=3))
def test_every_figure_is_a_fraction(taxonomy, photos):
    found = evaluate([p for p, _ in photos], [t for _, t in photos], taxonomy)
    assert list(fractions(found)) == KEYS
    assert all(0 <= value <= 1 for key, value in found.items() if key != "count_error")


# Weights, labels, sizes, numbers, confusion.


@pytest.mark.parametrize("seed", range(3))
def test_a_weight_is_how_often_a_photo_counts(taxonomy, seed):
    predictions, truths = photos_at_random(seed, taxonomy.label_names[:5], n=25)
    weights = np.random.default_rng(seed).integers(0, 4, (3, 25))
    found = Scores(predictions, truths, taxonomy, {"valid_json": range(25)}).weighted(weights.astype(float))
    for row, times in enumerate(weights):
        chosen = np.repeat(np.arange(25), times)
        repeated = [[side[i] for i in chosen] for side in (predictions, truths)]
        expected = Scores(*repeated, taxonomy, {"valid_json": chosen}).figures()
        # Among equal scores photos are shuffled anew.
        del expected["map_50_equal"]
        assert {key: found[key][row] for key in expected} == pytest.approx(expected, abs=1e-12)


def test_labels_one_by_one(taxonomy):
    predictions = [[CRACK, FAR | {"score": 0.5}], [SCRATCH], []]
    truths = [[CRACK], [SCRATCH | {"label": "cutting"}], [CRACK]]
    rows = Scores(predictions, truths, taxonomy).labels()
    assert list(rows) == list(taxonomy.label_names)
    # found one of two, with nothing false before it: precision 1 up to a recall of 1/2, at 51 of 101 recalls
    assert rows["crack"] == pytest.approx(
        {
            "ap_50": 51 / 101,
            "f1_50": 1 / 2,
            "precision_50": 1 / 2,
            "recall_50": 1 / 2,
            "n_true": 2,
            "n_predicted": 2,
        }
    )
    assert (rows["cutting"]["ap_50"], rows["cutting"]["precision_50"], rows["cutting"]["recall_50"]) == (
        0,
        None,
        0,
    )
    assert (rows["scratch"]["ap_50"], rows["scratch"]["precision_50"], rows["scratch"]["recall_50"]) == (
        None,
        0,
        None,
    )
    assert rows["welding"]["f1_50"] == 1  # neither predicted nor true


def test_labels_without_boxes_are_left_out_of_map_50_boxed(taxonomy):
    foam = FAR | {"label": "foam spray"}
    found = evaluate([[CRACK]], [[CRACK, foam]], taxonomy)
    assert (found["map_50"], found["map_50_boxed"]) == pytest.approx((1 / 2, 1))
    # Where nothing else is true, nothing else must be predicted.
    assert evaluate([[foam]], [[foam]], taxonomy)["map_50_boxed"] == 1
    assert evaluate([[foam, CRACK]], [[foam]], taxonomy)["map_50_boxed"] == 0


def square(x, side):
    return CRACK | {"bbox": [x, 0, x + side, side]}


def test_sizes_are_those_of_the_truth(taxonomy):
    truths = [[square(0, 31), square(100, 33), square(200, 97)]]
    found = Scores([[square(0, 31), square(200, 97)]], truths, taxonomy).sizes()
    assert found == {
        "small": {"map_50": pytest.approx(1), "n_true": 1},
        "medium": {"map_50": 0, "n_true": 1},
        "large": {"map_50": pytest.approx(1), "n_true": 1},
    }
    assert Scores([[]], [[square(0, 31)]], taxonomy).sizes() == {"small": {"map_50": 0, "n_true": 1}}


def test_numbers_are_those_of_the_truth(taxonomy):
    many = [square(60 * i, 50) for i in range(6)]
    truths = [[], [], [CRACK], [CRACK, SCRATCH], many]
    predictions = [[], [CRACK], [CRACK], [CRACK], many[:5]]
    found = Scores(predictions, truths, taxonomy).numbers()
    assert list(found) == ["0", "1", "2", "4 or more"]
    assert [row["photos"] for row in found.values()] == [2, 1, 1, 1]
    assert [row["f1_50"] for row in found.values()] == pytest.approx([0, 1, 2 / 3, 10 / 11])
    assert [row["count_error"] for row in found.values()] == [0.5, 0, 1, 1]


def test_confusion_by_hand(taxonomy):
    predictions = [[CRACK | {"label": "scratch", "quality": "Bad"}, FAR], []]
    matrices = Scores(predictions, [[CRACK], [SCRATCH]], taxonomy).confusion()
    assert list(matrices) == FIELDS
    labels = [*taxonomy.label_names, None]
    matrix = np.array(matrices["label"]["matrix"])
    crack, scratch, none = labels.index("crack"), labels.index("scratch"), len(labels) - 1
    assert matrix[crack, scratch] == matrix[none, crack] == matrix[scratch, none] == 1
    assert matrix.sum() == 3
    # Good was meant and no allowed value said; a false Good; a missed Defective.
    assert matrices["quality"] == {
        "values": ["Good", "Defective"],
        "matrix": [[0, 0, 1], [0, 0, 1], [1, 0, 0]],
    }
