import numpy as np
import pytest

from lng_kedro.bootstrap import compare, intervals
from lng_kedro.metrics import Scores
from tests.test_metrics import CRACK, FAR, photos_at_random


def worse(predictions, share, seed=0):
    """Without the predictions of some photos."""
    kept = np.random.default_rng(seed).random(len(predictions)) >= share
    return [found if keep else [] for found, keep in zip(predictions, kept, strict=True)]


def test_the_interval_of_a_share_is_the_binomial_one(taxonomy):
    # 400 photos, half of them right: a standard error of 0.025
    scores = Scores([[]] * 400, [[]] * 400, taxonomy, {"valid_json": [0.0, 1.0] * 200})
    low, high = intervals(scores, 2000, 1)["valid_json"]
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.006)


def test_intervals_hold_their_figures(taxonomy):
    predictions, truths = photos_at_random(2, taxonomy.label_names[:4], n=60)
    scores = Scores(predictions, truths, taxonomy)
    found, figures = intervals(scores, 200, 0), scores.figures()
    assert found.keys() == figures.keys()
    assert all(low <= figures[name] <= high for name, (low, high) in found.items())
    assert 0.02 < found["map_50"][1] - found["map_50"][0] < 0.4


def test_more_photos_narrow_an_interval(taxonomy):
    predictions, truths = photos_at_random(2, taxonomy.label_names[:4], n=30)
    few = intervals(Scores(predictions, truths, taxonomy), 300, 0)["f1_50"]
    many = intervals(Scores(predictions * 9, truths * 9, taxonomy), 300, 0)["f1_50"]
    # as one over the root of the number of photos
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(3, rel=0.25)


def test_the_same_seed_gives_the_same_interval(taxonomy):
    scores = Scores(*photos_at_random(3, taxonomy.label_names[:3], n=20), taxonomy)
    assert intervals(scores, 60, 7) == intervals(scores, 60, 7)
    assert intervals(scores, 60, 7) != intervals(scores, 60, 8)


def test_a_label_is_not_in_every_draw(taxonomy):
    # Nine photos of cracks, one of a scratch that is found: perfect wherever it is drawn.
    scratch = CRACK | {"label": "scratch"}
    scores = Scores([[]] * 9 + [[scratch]], [[CRACK]] * 9 + [[scratch]], taxonomy)
    assert intervals(scores, 100, 0)["ap_50/scratch"] == pytest.approx((1, 1))


def test_no_photos_have_no_intervals(taxonomy):
    assert intervals(Scores([], [], taxonomy), 100, 0) == {}


def test_a_stage_does_not_differ_from_itself(taxonomy):
    scores = Scores(*photos_at_random(3, taxonomy.label_names[:3], n=20), taxonomy)
    assert all(found == (0, 0, 0, 1) for found in compare(scores, scores, 50, 0).values())


def test_a_clear_difference_is_found(taxonomy):
    predictions, truths = photos_at_random(4, taxonomy.label_names[:3], n=80)
    better = Scores(predictions, truths, taxonomy)
    found = compare(Scores(worse(predictions, 0.5), truths, taxonomy), better, 400, 0)["f1_50"]
    assert found.low > 0
    assert found.low < found.difference < found.high
    assert found.p == pytest.approx(2 / 401)


def test_a_difference_by_chance_is_not(taxonomy):
    """Two stages that err on photos of their own: of twenty such pairs one or two are below 0.05."""
    truths, right, wrong = [[CRACK]] * 60, [CRACK], [FAR]
    rng = np.random.default_rng(5)
    below = 0
    for seed in range(20):
        first, second = (
            Scores([right if r < 0.6 else wrong for r in rng.random(60)], truths, taxonomy) for _ in range(2)
        )
        below += compare(first, second, 200, seed)["f1_50"].p < 0.05
    assert below <= 4


def test_pairs_are_what_makes_a_small_difference_sure(taxonomy):
    """Each of five photos better and none worse: sure, though both intervals hold both figures."""
    truths = [[CRACK]] * 100
    first = Scores([[CRACK] if i < 50 else [FAR] for i in range(100)], truths, taxonomy)
    second = Scores([[CRACK] if i < 58 else [FAR] for i in range(100)], truths, taxonomy)
    assert intervals(first, 400, 0)["f1_50"][1] > second.figures()["f1_50"]
    assert compare(first, second, 400, 0)["f1_50"].p < 0.01
