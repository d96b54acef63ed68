import pytest
from hypothesis import given
from hypothesis import strategies as st

from lng_kedro.geometry import iou
from lng_kedro.matching import f1, match
from lng_kedro.report import Finding


def found(box, label="crack"):
    return Finding(label, box, {}, 1.0)


SQUARE = (0, 0, 10, 10)
HALF = (0, 0, 10, 5)  # IoU 50/100 with SQUARE
MOST = (0, 0, 10, 8)  # IoU 80/100 with SQUARE, 50/80 with HALF
FAR = (100, 100, 110, 110)


@pytest.mark.parametrize(
    ("predicted", "true", "pairs"),
    [
        ([], [], []),
        ([SQUARE], [], []),
        ([], [SQUARE], []),
        ([SQUARE], [SQUARE], [(0, 0)]),
        ([HALF], [SQUARE], [(0, 0)]),
        ([(0, 0, 10, 4.99)], [SQUARE], []),
        ([FAR], [SQUARE], []),
        ([None, SQUARE], [SQUARE], [(1, 0)]),
        ([SQUARE], [None, SQUARE], [(0, 1)]),
        ([None], [None], []),
        ([FAR, SQUARE], [SQUARE, FAR], [(0, 1), (1, 0)]),
        ([SQUARE, SQUARE], [SQUARE], [(0, 0)]),
        ([SQUARE], [SQUARE, SQUARE], [(0, 0)]),
        ([SQUARE, SQUARE], [SQUARE, SQUARE], [(0, 0), (1, 1)]),
        ([HALF, MOST], [SQUARE], [(1, 0)]),
        # MOST-SQUARE (0.8) goes before MOST-HALF (0.625), which leaves SQUARE-HALF (0.5)
        ([MOST, SQUARE], [SQUARE, HALF], [(1, 0), (0, 1)]),
    ],
)
def test_pairs(predicted, true, pairs):
    assert match([found(box) for box in predicted], [found(box) for box in true]) == pairs


def test_threshold_can_be_changed():
    assert match([found(MOST)], [found(SQUARE)], threshold=0.8) == [(0, 0)]
    assert match([found(MOST)], [found(SQUARE)], threshold=0.81) == []


def test_labels_are_ignored_unless_asked_for():
    predicted = [found(SQUARE, "scratch"), found(MOST, "crack"), found(SQUARE, None)]
    assert match(predicted, [found(SQUARE)]) == [(0, 0)]
    assert match(predicted, [found(SQUARE)], same_label=True) == [(1, 0)]


def greedy(predicted, true, threshold):
    """The definition, read aloud: the best pair of those left, until none is good enough."""
    left, pairs = {(i, j) for i in range(len(predicted)) for j in range(len(true))}, []
    while left:
        best = min(left, key=lambda p: (-iou(predicted[p[0]].bbox, true[p[1]].bbox), p))
        if iou(predicted[best[0]].bbox, true[best[1]].bbox) < threshold:
            break
        pairs.append(best)
        left = {(i, j) for i, j in left if i != best[0] and j != best[1]}
    return pairs


corner = st.integers(0, 6)
findings = st.lists(
    st.builds(
        lambda x, y, w, h: found((x, y, x + w, y + h)), corner, corner, st.integers(1, 6), st.integers(1, 6)
    ),
    max_size=6,
)


@given(findings, findings, st.sampled_from([0.1, 0.5, 0.75]))
def test_agrees_with_the_definition(predicted, true, threshold):
    assert match(predicted, true, threshold) == greedy(predicted, true, threshold)


@pytest.mark.parametrize(
    ("hits", "n_predicted", "n_true", "expected"),
    [
        (0, 0, 0, 1),
        (0, 3, 0, 0),
        (0, 0, 3, 0),
        (2, 2, 2, 1),
        (1, 2, 1, 2 / 3),  # precision 1/2, recall 1
        (3, 4, 6, 0.6),  # precision 3/4, recall 1/2: 2 * 0.375 / 1.25
    ],
)
def test_f1(hits, n_predicted, n_true, expected):
    assert f1(hits, n_predicted, n_true) == pytest.approx(expected)
