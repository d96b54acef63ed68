"""From which score on an object is reported, and the figures of a detector in Table III."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lng_kedro.matching import f1, match
from lng_kedro.metrics import evaluate, value_of
from lng_kedro.report import Finding, to_finding
from lng_kedro.taxonomy import LABEL, Taxonomy

Objects = Sequence[Mapping[str, Any]]

THRESHOLDS = tuple(float(t) for t in np.arange(1, 100) / 100)
"""Scores among which the threshold is chosen."""

RANKED = ("map_50", "map_50_equal", "map_50_boxed", "ap_50_agnostic")
"""Figures of all objects, whatever their score; beside them the AP of each label."""

AP = "ap_50/"


def choose_threshold(
    predictions: Sequence[Objects], truths: Sequence[Objects], field: str, taxonomy: Taxonomy
) -> float:
    """The score from which on the objects have the highest F1 of a field; of several the highest score.

    Args:
        predictions: for each photo the predicted objects, with `score`.
        truths: for each photo the true objects.
        field: `label` or a metadata field.
        taxonomy: labels and fields.
    """
    true = [[to_finding(o, taxonomy) for o in objects] for objects in truths]
    scored = [[(float(o["score"]), to_finding(o, taxonomy)) for o in objects] for objects in predictions]

    def f1_from(threshold: float) -> float:
        kept = [[finding for score, finding in photo if score >= threshold] for photo in scored]
        hits = sum(_hits(p, t, field) for p, t in zip(kept, true, strict=True))
        return f1(hits, sum(map(len, kept)), sum(map(len, true)))

    return max(THRESHOLDS, key=lambda threshold: (f1_from(threshold), threshold))


def detector_metrics(
    predictions: Mapping[str, Sequence[Objects]],
    thresholds: Mapping[str, float],
    truths: Sequence[Objects],
    taxonomy: Taxonomy,
) -> dict[str, float]:
    """Figures of one architecture, trained once for each field, as fractions.

    Args:
        predictions: field (`label` among them) -> for each photo the objects of any score.
        thresholds: field -> the score from which on its objects count in F1.
        truths: for each photo the true objects.
        taxonomy: labels and fields.

    Returns:
        mAP and its variants from the detector of labels; ``f1_50`` of it, and ``f1_<field>`` and
        ``macro_f1_<field>`` of each field from the field's own detector.
    """
    ranked = evaluate(predictions[LABEL], truths, taxonomy)
    result = {name: value for name, value in ranked.items() if name in RANKED or name.startswith(AP)}
    for field, photos in predictions.items():
        kept = [[o for o in objects if o["score"] >= thresholds[field]] for objects in photos]
        found = evaluate(kept, truths, taxonomy)
        names = (f"f1_{field}", f"macro_f1_{field}")
        result |= {name: found[name] for name in (("f1_50", *names) if field == LABEL else names)}
    return result


def _hits(predicted: Sequence[Finding], true: Sequence[Finding], field: str) -> int:
    pairs = match(predicted, true)
    return sum(value_of(predicted[i], field) == value_of(true[j], field) for i, j in pairs)
