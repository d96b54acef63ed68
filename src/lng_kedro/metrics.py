"""Evaluation of reports: mAP@50 by pycocotools, F1 of every field (paper, section III.D).

All boxes are in the processed frame. Predictions are what a model said, allowed or not: an object
without a box, or with a label that does not exist, is a false alarm and never dropped.
"""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from lng_kedro.matching import IOU_THRESHOLD, f1, match
from lng_kedro.report import Finding, to_finding
from lng_kedro.taxonomy import LABEL, Taxonomy

Objects = Sequence[Mapping[str, Any]]

TIE_SEED = 0
"""Seed of the shuffle that breaks ties between equal scores."""


def evaluate(
    predictions: Sequence[Objects], truths: Sequence[Objects], taxonomy: Taxonomy
) -> dict[str, float]:
    """All metrics of a test split, as fractions.

    Args:
        predictions: for each photo the predicted objects (mappings as in the report: label, bbox and
            the metadata fields; `score` where the model gives one).
        truths: for each photo the true objects.
        taxonomy: labels and fields.

    Returns:
        ``map_50`` (ranked by `score`), ``map_50_equal`` (all scores equal), ``ap_50_agnostic`` (labels
        ignored), ``f1_50`` (label-aware), and for the label and each field ``f1_<field>`` (micro) and
        ``macro_f1_<field>``. Nothing predicted where nothing is true scores 1.

    Raises:
        ValueError: the two lists differ in length, or a true label does not exist.
    """
    if len(predictions) != len(truths):
        raise ValueError(f"{len(predictions)} photos predicted, {len(truths)} true: both must be the same")
    predicted = [[to_finding(o, taxonomy) for o in objects] for objects in predictions]
    true = [[to_finding(o, taxonomy) for o in objects] for objects in truths]
    for photo, findings in enumerate(true):
        if any(finding.label is None for finding in findings):
            raise ValueError(f"the truth of photo {photo} holds a label that the taxonomy does not")
    scores = [[float(o.get("score", 1.0)) for o in objects] for objects in predictions]
    equal = [[1.0] * len(objects) for objects in predictions]
    result = {
        "map_50": average_precision(predicted, scores, true, taxonomy.label_names),
        "map_50_equal": average_precision(predicted, equal, true, taxonomy.label_names),
        "ap_50_agnostic": average_precision(predicted, scores, true, None),
        "f1_50": _detection_f1(predicted, true),
    }
    for field in (LABEL, *taxonomy.field_names):
        micro, macro = _field_f1(predicted, true, field)
        result |= {f"f1_{field}": micro, f"macro_f1_{field}": macro}
    return result


def average_precision(
    predicted: Sequence[Sequence[Finding]],
    scores: Sequence[Sequence[float]],
    true: Sequence[Sequence[Finding]],
    labels: Sequence[str] | None,
) -> float:
    """COCO's AP at IoU 0.5, mean over the labels that occur in the truth.

    Ties between scores are broken by a seeded shuffle, since COCO's order of equal scores would
    reward the order of the file. Predictions beyond any number are kept (COCO's cut of 100 a photo is
    lifted). Where nothing is true, 1 if nothing is predicted either, else 0.

    Args:
        predicted: findings of each photo.
        scores: their scores.
        true: true findings of each photo.
        labels: the classes; None puts all findings into one class (class-agnostic AP).
    """
    n_predicted, n_true = sum(map(len, predicted)), sum(map(len, true))
    if not n_true or not n_predicted:
        return float(n_true == n_predicted)
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    classes = {name: i + 1 for i, name in enumerate(labels)} if labels else None
    with contextlib.redirect_stdout(io.StringIO()):
        ground_truth = COCO()
        ground_truth.dataset = {
            "images": [{"id": i} for i in range(len(true))],
            "categories": [{"id": c} for c in (classes.values() if classes else [1])],
            "annotations": _annotations(true, classes),
        }
        ground_truth.createIndex()
        results = _annotations(predicted, classes)
        ranks = _untied([s for photo in scores for s in photo])
        for entry, rank in zip(results, ranks, strict=True):
            entry["score"] = rank
        evaluation = COCOeval(ground_truth, ground_truth.loadRes(results), "bbox")
        evaluation.params.iouThrs = np.array([IOU_THRESHOLD])
        # No upper limit: COCO forgives false alarms that are larger than it.
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [max(map(len, predicted))]
        evaluation.evaluate()
        evaluation.accumulate()
    # precision: thresholds x recalls x classes x areas x limits; -1 where a class has no truth.
    precision = evaluation.eval["precision"][0, :, :, 0, 0]
    per_class = precision.mean(axis=0)[precision[0] > -1]
    return float(per_class.mean())


def _annotations(
    photos: Iterable[Iterable[Finding]], classes: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for image, findings in enumerate(photos):
        for finding in findings:
            # No box: one of no area, which hits nothing and still counts as a false alarm.
            x_min, y_min, x_max, y_max = finding.bbox or (0.0, 0.0, 0.0, 0.0)
            # A label that does not exist: class 0, which has no truth.
            category = 1 if classes is None else classes.get(finding.label or "", 0)
            box = [x_min, y_min, x_max - x_min, y_max - y_min]
            entry = {"id": len(rows) + 1, "image_id": image, "category_id": category, "bbox": box}
            rows.append({**entry, "area": box[2] * box[3], "iscrowd": 0})
    return rows


def _untied(scores: Sequence[float]) -> list[float]:
    """Scores replaced by ranks in [0, 1), higher better, ties in random order."""
    shuffle = np.random.default_rng(TIE_SEED).permutation(len(scores))
    order = np.lexsort((shuffle, np.asarray(scores)))
    ranks = np.empty(len(scores))
    ranks[order] = np.arange(len(scores)) / len(scores)
    return [float(rank) for rank in ranks]


def _detection_f1(predicted: Sequence[Sequence[Finding]], true: Sequence[Sequence[Finding]]) -> float:
    hits = sum(len(match(p, t, same_label=True)) for p, t in zip(predicted, true, strict=True))
    return f1(hits, sum(map(len, predicted)), sum(map(len, true)))


def _field_f1(
    predicted: Sequence[Sequence[Finding]], true: Sequence[Sequence[Finding]], field: str
) -> tuple[float, float]:
    """Micro and macro F1 of a field over pairs matched at IoU >= 0.5 whatever their label.

    A pair with equal values is a true positive of that value; every other prediction is a false
    positive of its value, every other truth a false negative of its value.
    """
    hits: dict[str, int] = {}
    n_predicted: dict[str | None, int] = {}
    n_true: dict[str | None, int] = {}
    for photo_predicted, photo_true in zip(predicted, true, strict=True):
        said = [_value(finding, field) for finding in photo_predicted]
        meant = [_value(finding, field) for finding in photo_true]
        for value in said:
            n_predicted[value] = n_predicted.get(value, 0) + 1
        for value in meant:
            n_true[value] = n_true.get(value, 0) + 1
        for i, j in match(photo_predicted, photo_true):
            value = said[i]
            if value is not None and value == meant[j]:
                hits[value] = hits.get(value, 0) + 1
    micro = f1(sum(hits.values()), sum(n_predicted.values()), sum(n_true.values()))
    values = {value for value in n_predicted | n_true if value is not None}
    each = [f1(hits.get(v, 0), n_predicted.get(v, 0), n_true.get(v, 0)) for v in sorted(values)]
    return micro, sum(each) / len(each) if each else micro


def _value(finding: Finding, field: str) -> str | None:
    return finding.label if field == LABEL else finding.values[field]
