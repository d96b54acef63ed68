"""COCO's average precision at IoU 0.5: matched by pycocotools, added up for any weighting of the photos."""

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lng_kedro.matching import IOU_THRESHOLD
from lng_kedro.report import Finding

Array = NDArray[Any]

TIE_SEED = 0
"""Seed of the shuffle that breaks ties between equal scores."""

RECALLS = np.linspace(0, 1, 101)
"""At which COCO reads precision."""


@dataclass(frozen=True)
class Ranking:
    """Predictions of one class, best first, as COCO matched them.

    Attributes:
        photos: (predictions,) where each was made.
        hits: (predictions,) whether it hit a true object.
        true: (photos,) number of true objects.
    """

    photos: Array
    hits: Array
    true: Array

    def n_predicted(self, weights: Array) -> Array:
        """(weightings,)"""
        result: Array = weights[:, self.photos].sum(axis=1)
        return result

    def average_precision(self, weights: Array) -> Array:
        """COCO's AP for each weighting of the photos; not a number where nothing is true."""
        counted = weights[:, self.photos]
        hits, all_ = np.cumsum(counted * self.hits, axis=1), np.cumsum(counted, axis=1)
        precision = hits / (all_ + np.spacing(1))
        best_from_here = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        true = weights @ self.true
        result = np.full(len(weights), np.nan)
        for row in np.flatnonzero(true):
            places = np.searchsorted(hits[row] / true[row], RECALLS)
            reached = places[places < len(self.photos)]
            result[row] = best_from_here[row, reached].sum() / len(RECALLS)
        return result


def coco_rankings(
    predicted: Sequence[Sequence[Finding]],
    scores: Sequence[Sequence[float]],
    true: Sequence[Sequence[Finding]],
    classes: Mapping[str, int] | None,
    areas: Sequence[tuple[float, float]],
) -> list[list[Ranking]]:
    """pycocotools' matching at IoU 0.5: for each class and each range of areas.

    Ties between scores are broken by a seeded shuffle, since COCO's order of equal scores would reward the
    order of the file. Predictions beyond any number are kept (COCO's cut of 100 a photo is lifted). With
    `classes` None all findings are of one class.
    """
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    results = _annotations(predicted, classes)
    ranks = _untied([s for photo in scores for s in photo])
    for entry, rank in zip(results, ranks, strict=True):
        entry["score"] = rank
    categories = [{"id": c} for c in (classes.values() if classes else [1])]
    sides = [COCO(), COCO()]
    with contextlib.redirect_stdout(io.StringIO()):
        for side, annotations in zip(sides, (_annotations(true, classes), results), strict=True):
            images = [{"id": i} for i in range(len(true))]
            side.dataset = {"images": images, "categories": categories, "annotations": annotations}
            side.createIndex()
        evaluation = COCOeval(*sides, "bbox")
        evaluation.params.iouThrs = np.array([IOU_THRESHOLD])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = areas, list(map(str, areas))
        evaluation.params.maxDets = [max(map(len, predicted), default=0)]
        evaluation.evaluate()
    found = evaluation.evalImgs
    return [
        [
            _ranking(found[(k * len(areas) + a) * len(true) : (k * len(areas) + a + 1) * len(true)])
            for a in range(len(areas))
        ]
        for k in range(len(categories))
    ]


def _ranking(photos: Sequence[Mapping[str, Any] | None]) -> Ranking:
    """From what COCO says of each photo: None where it has neither predictions nor truth of the class."""
    true = np.zeros(len(photos))
    places, hits, scores = [], [], []
    for i, found in enumerate(photos):
        if found is None:
            continue
        true[i] = np.count_nonzero(np.asarray(found["gtIgnore"]) == 0)
        counted = ~np.asarray(found["dtIgnore"][0], dtype=bool)
        places.append(np.full(counted.sum(), i))
        hits.append(np.asarray(found["dtMatches"][0])[counted] > 0)
        scores.append(np.asarray(found["dtScores"])[counted])
    if not places:
        return Ranking(np.zeros(0, dtype=int), np.zeros(0), true)
    best_first = np.argsort(-np.concatenate(scores), kind="stable")
    hit = np.concatenate(hits)[best_first].astype(float)
    return Ranking(np.concatenate(places)[best_first], hit, true)


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
