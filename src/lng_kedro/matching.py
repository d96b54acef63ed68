"""Greedy one-to-one matching of boxes: the only one, for rewards and metrics alike."""

from collections.abc import Sequence

from lng_kedro.geometry import iou
from lng_kedro.report import Finding

IOU_THRESHOLD = 0.5
"""A prediction is a hit from this IoU on (paper, sections III.C.2 and III.D)."""


def match(
    predicted: Sequence[Finding],
    true: Sequence[Finding],
    threshold: float = IOU_THRESHOLD,
    same_label: bool = False,
) -> list[tuple[int, int]]:
    """Pairs predicted with true findings, best IoU first, each used at most once.

    Args:
        predicted: findings of a model; one without a valid box matches nothing.
        true: findings of the ground truth, in the same frame.
        threshold: least IoU of a pair.
        same_label: pair only findings of equal labels.

    Returns:
        (index in `predicted`, index in `true`) of each pair. Ties go to the lower indices.
    """
    candidates = []
    for i, prediction in enumerate(predicted):
        if prediction.bbox is None:
            continue
        for j, truth in enumerate(true):
            if truth.bbox is None or (same_label and prediction.label != truth.label):
                continue
            overlap = iou(prediction.bbox, truth.bbox)
            if overlap >= threshold:
                candidates.append((-overlap, i, j))
    candidates.sort()
    pairs: list[tuple[int, int]] = []
    used_predictions: set[int] = set()
    used_truths: set[int] = set()
    for _, i, j in candidates:
        if i not in used_predictions and j not in used_truths:
            used_predictions.add(i)
            used_truths.add(j)
            pairs.append((i, j))
    return pairs


def f1(hits: int, n_predicted: int, n_true: int) -> float:
    """F1 from counts; nothing predicted where nothing is true scores 1."""
    return 2 * hits / (n_predicted + n_true) if n_predicted + n_true else 1.0
