"""Evaluation of reports: mAP@50 by pycocotools, F1 of every field (paper, section III.D).

All boxes are in the processed frame. Predictions are what a model said, allowed or not: an object
without a box, or with a label that does not exist, is a false alarm and never dropped.

Matching is done once; every figure then follows from counts of each photo, for all photos or for any
weighting of them, which is what subsets and resamples of a test split are.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from lng_kedro.average_precision import Array, Ranking, coco_rankings
from lng_kedro.matching import f1, match
from lng_kedro.report import Finding, to_finding
from lng_kedro.taxonomy import LABEL, Taxonomy

Objects = Sequence[Mapping[str, Any]]
Pairs = Sequence[tuple[int, int]]

SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
"""COCO's sizes of a true box: areas in square pixels of the processed photo."""


def evaluate(
    predictions: Sequence[Objects], truths: Sequence[Objects], taxonomy: Taxonomy
) -> dict[str, float]:
    """All figures of a test split; arguments, keys and errors as of `Scores`."""
    return Scores(predictions, truths, taxonomy).figures()


class Scores:
    """A test split, matched: what each photo contributes to each figure.

    Figures are fractions, but ``count_error``: ``map_50`` (ranked by `score`), ``map_50_equal`` (all scores
    equal), ``map_50_boxed`` (without the labels whose photos carry no boxes in the raw data, where the box
    is the whole photo), ``ap_50_agnostic`` (labels ignored), ``f1_50`` (label-aware), ``f1_<field>`` (micro)
    and ``macro_f1_<field>`` for the label and each field, ``count_error`` (mean difference between the
    numbers of objects predicted and true), the mean of each of `also`, and ``ap_50/<label>`` for each label
    that occurs in the truth. Nothing predicted where nothing is true scores 1.
    """

    def __init__(
        self,
        predictions: Sequence[Objects],
        truths: Sequence[Objects],
        taxonomy: Taxonomy,
        also: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        """Matches predictions with the truth.

        Args:
            predictions: for each photo the predicted objects (mappings as in the report: label, bbox and
                the metadata fields; `score` where the model gives one).
            truths: for each photo the true objects.
            taxonomy: labels and fields.
            also: name -> a figure of each photo.

        Raises:
            ValueError: the two lists differ in length, or a true label does not exist.
        """
        if len(predictions) != len(truths):
            raise ValueError(
                f"{len(predictions)} photos predicted, {len(truths)} true: both must be the same"
            )
        self.taxonomy = taxonomy
        self._also = {name: np.asarray(values, dtype=float) for name, values in (also or {}).items()}
        self._predicted = [[to_finding(o, taxonomy) for o in objects] for objects in predictions]
        self._true = [[to_finding(o, taxonomy) for o in objects] for objects in truths]
        for photo, findings in enumerate(self._true):
            if any(finding.label is None for finding in findings):
                raise ValueError(f"the truth of photo {photo} holds a label that the taxonomy does not")
        # Not a number would be sorted above all.
        self._said = [[_number(o.get("score", 1.0)) for o in objects] for objects in predictions]
        self._n_predicted = np.array([len(found) for found in self._predicted], dtype=float)
        self._n_true = np.array([len(found) for found in self._true], dtype=float)
        both = list(zip(self._predicted, self._true, strict=True))
        self._pairs = [match(p, t) for p, t in both]
        self._labelled = self._counts(LABEL, [match(p, t, same_label=True) for p, t in both])

    @property
    def n_photos(self) -> int:
        """Test photos."""
        return len(self._true)

    @property
    def n_objects(self) -> int:
        """True objects."""
        return int(self._n_true.sum())

    def figures(self) -> dict[str, float]:
        """Every figure of the whole split."""
        every = np.ones((1, len(self._true)))
        return {name: float(values[0]) for name, values in self.weighted(every).items()}

    def weighted(self, weights: Array) -> dict[str, Array]:
        """Every figure for each weighting of the photos.

        Args:
            weights: (weightings, photos); how often a photo counts.

        Returns:
            Name -> (weightings,). A label's AP is not a number where its truth has no weight.
        """
        by_label, boxless = self._by_label, self.taxonomy.boxless_labels
        predicted = weights @ self._n_predicted
        of_boxless = sum((by_label[label].n_predicted(weights) for label in boxless), np.zeros(len(weights)))
        precisions = {label: ranking.average_precision(weights) for label, ranking in by_label.items()}
        result = {
            "map_50": _mean_precision(list(precisions.values()), predicted),
            "map_50_equal": _mean_precision([r.average_precision(weights) for r in self._equal], predicted),
            "map_50_boxed": _mean_precision(
                [p for label, p in precisions.items() if label not in boxless], predicted - of_boxless
            ),
            "ap_50_agnostic": _mean_precision([self._agnostic.average_precision(weights)], predicted),
            "f1_50": self._labelled.micro(weights),
        }
        for field, counts in self._fields.items():
            result |= {f"f1_{field}": counts.micro(weights), f"macro_f1_{field}": counts.macro(weights)}
        means = {"count_error": np.abs(self._n_predicted - self._n_true), **self._also}
        total = np.maximum(weights.sum(axis=1), 1)
        result |= {name: weights @ values / total for name, values in means.items()}
        occurring = {label: p for label, p in precisions.items() if by_label[label].true.any()}
        return result | {f"ap_50/{label}": p for label, p in occurring.items()}

    def labels(self) -> dict[str, dict[str, float | None]]:
        """For each label AP@50 (None where it is in no truth), F1, precision, recall and numbers."""
        figures, counts = self.figures(), self._labelled
        rows: dict[str, dict[str, float | None]] = {}
        for i, label in enumerate(self.taxonomy.label_names):
            hits, said, true = (
                int(part[:, i].sum()) for part in (counts.hits, counts.predicted, counts.true)
            )
            rows[label] = {
                "ap_50": figures.get(f"ap_50/{label}"),
                "f1_50": f1(hits, said, true),
                "precision_50": hits / said if said else None,
                "recall_50": hits / true if true else None,
                "n_true": true,
                "n_predicted": said,
            }
        return rows

    def sizes(self) -> dict[str, dict[str, float]]:
        """COCO's mAP@50 of small, medium and large objects, and how many there are; of sizes that occur."""
        rankings = coco_rankings(self._predicted, self._said, self._true, self._classes, list(SIZES.values()))
        rows = {}
        for i, size in enumerate(SIZES):
            of_size = [by_size[i] for by_size in rankings]
            number = sum(r.true.sum() for r in of_size)
            if number:
                every = np.ones((1, len(self._true)))
                found = np.array([r.average_precision(every)[0] for r in of_size])
                rows[size] = {"map_50": float(np.nanmean(found)), "n_true": int(number)}
        return rows

    def numbers(self) -> dict[str, dict[str, float]]:
        """Every figure over the photos with 0, 1, 2, 3, and 4 or more true objects; of those that occur."""
        number = np.minimum(self._n_true, 4)
        rows = {}
        for n in np.unique(number):
            figures = self.weighted((number == n)[None].astype(float))
            of_photos = {k: float(v[0]) for k, v in figures.items() if "/" not in k}
            rows["4 or more" if n == 4 else str(int(n))] = {**of_photos, "photos": int((number == n).sum())}
        return rows

    def confusion(self) -> dict[str, dict[str, Any]]:
        """For the label and each field how often a value was taken for another.

        Over pairs matched at IoU >= 0.5 whatever their label: rows are true values, columns predicted ones;
        the last column holds objects that were missed or got no allowed value, the last row false alarms.
        """
        return {
            field: {
                "values": list(self.taxonomy.choices(field)),
                "matrix": self._confusion_of(field).tolist(),
            }
            for field in (LABEL, *self.taxonomy.field_names)
        }

    def _confusion_of(self, field: str) -> Array:
        places = {value: i for i, value in enumerate((*self.taxonomy.choices(field), None))}
        matrix = np.zeros((len(places), len(places)), dtype=int)
        for predicted, true, pairs in zip(self._predicted, self._true, self._pairs, strict=True):
            said = [places[value_of(finding, field)] for finding in predicted]
            meant = [places[value_of(finding, field)] for finding in true]
            for i, j in pairs:
                matrix[meant[j], said[i]] += 1
            for i in set(range(len(said))) - {i for i, _ in pairs}:
                matrix[-1, said[i]] += 1
            for j in set(range(len(meant))) - {j for _, j in pairs}:
                matrix[meant[j], -1] += 1
        return matrix

    @cached_property
    def _classes(self) -> dict[str, int]:
        return {name: i + 1 for i, name in enumerate(self.taxonomy.label_names)}

    @cached_property
    def _by_label(self) -> dict[str, Ranking]:
        return dict(zip(self._classes, self._rankings(self._said, self._classes), strict=True))

    @cached_property
    def _equal(self) -> list[Ranking]:
        return self._rankings([[1.0] * len(found) for found in self._predicted], self._classes)

    @cached_property
    def _agnostic(self) -> Ranking:
        return self._rankings(self._said, None)[0]

    def _rankings(
        self, scores: Sequence[Sequence[float]], classes: Mapping[str, int] | None
    ) -> list[Ranking]:
        every_size = [(0.0, np.inf)]
        return [r for (r,) in coco_rankings(self._predicted, scores, self._true, classes, every_size)]

    @cached_property
    def _fields(self) -> dict[str, "_Counts"]:
        return {field: self._counts(field, self._pairs) for field in (LABEL, *self.taxonomy.field_names)}

    def _counts(self, field: str, pairs: Sequence[Pairs]) -> "_Counts":
        choices = self.taxonomy.choices(field)
        places = {value: i for i, value in enumerate((*choices, None))}
        predicted, true, hits = (np.zeros((len(self._true), len(places))) for _ in range(3))
        for photo, (found, meant) in enumerate(zip(self._predicted, self._true, strict=True)):
            for finding in found:
                predicted[photo, places[value_of(finding, field)]] += 1
            for finding in meant:
                true[photo, places[value_of(finding, field)]] += 1
            for i, j in pairs[photo]:
                value = value_of(found[i], field)
                if value is not None and value == value_of(meant[j], field):
                    hits[photo, places[value]] += 1
        return _Counts(hits, predicted, true)


@dataclass(frozen=True)
class _Counts:
    """Of a field's values in each photo: (photos, values + 1); the last one is no allowed value.

    A pair with equal values is a hit of that value; every other prediction is a false positive of its
    value, every other truth a false negative of its value.
    """

    hits: Array
    predicted: Array
    true: Array

    def micro(self, weights: Array) -> Array:
        """(weightings,)"""
        hits, both = weights @ self.hits.sum(axis=1), weights @ (self.predicted + self.true).sum(axis=1)
        result: Array = np.divide(2 * hits, both, out=np.ones(len(weights)), where=both > 0)
        return result

    def macro(self, weights: Array) -> Array:
        """Mean over the values that occur; micro F1 where none does."""
        hits, both = weights @ self.hits[:, :-1], weights @ (self.predicted + self.true)[:, :-1]
        each = np.divide(2 * hits, both, out=np.zeros_like(both), where=both > 0)
        occurring = (both > 0).sum(axis=1)
        mean = each.sum(axis=1) / np.maximum(occurring, 1)
        found: Array = np.where(occurring > 0, mean, self.micro(weights))
        return found


def _mean_precision(precisions: Sequence[Array], predicted: Array) -> Array:
    """Mean over the classes that are true; 1 or 0 where none is, as nothing or something is predicted."""
    nothing: Array = (predicted == 0).astype(float)
    if not precisions:
        return nothing
    each = np.stack(precisions)
    number = (~np.isnan(each)).sum(axis=0)
    mean = np.nansum(each, axis=0) / np.maximum(number, 1)
    result: Array = np.where(number > 0, mean, nothing)
    return result


def _number(score: float) -> float:
    return -math.inf if math.isnan(score) else float(score)


def value_of(finding: Finding, field: str) -> str | None:
    """A finding's label, or its value of a metadata field; None where it is none that is allowed."""
    return finding.label if field == LABEL else finding.values[field]
