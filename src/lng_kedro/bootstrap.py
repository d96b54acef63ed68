"""How sure a figure is: 95 % intervals, and paired tests between stages, over resampled test photos."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lng_kedro.average_precision import Array
from lng_kedro.metrics import Scores

BATCH = 50
"""Resamples at once: what they need grows with the number of predictions."""


class Difference(NamedTuple):
    """Between two stages on the same photos.

    Attributes:
        difference: of the figure, the second less the first.
        low: lower end of its 95 % interval.
        high: upper end.
        p: of a difference that is at least as large where there is none; two-sided.
    """

    difference: float
    low: float
    high: float
    p: float


def intervals(scores: Scores, resamples: int, seed: int) -> dict[str, tuple[float, float]]:
    """95 % percentile interval of every figure over photos drawn with replacement.

    Args:
        scores: of a stage; without photos there are no intervals.
        resamples: how many times the photos are drawn.
        seed: of the draws.

    Returns:
        Figure -> (low, high); that of a label's AP is over the draws in which the label is true.
    """
    return {name: _percentiles(values) for name, values in _resampled(scores, resamples, seed).items()}


def compare(first: Scores, second: Scores, resamples: int, seed: int) -> dict[str, Difference]:
    """Whether two stages differ, figure by figure: a paired bootstrap, both on the same draws of photos.

    Args:
        first: of one stage.
        second: of another, on the same photos in the same order.
        resamples: how many times the photos are drawn; p is at least 2 / (resamples + 1).
        seed: of the draws.
    """
    drawn = _resampled(first, resamples, seed), _resampled(second, resamples, seed)
    figures = first.figures(), second.figures()
    return {
        name: _difference(figures[1][name] - figures[0][name], drawn[1][name] - drawn[0][name])
        for name in drawn[0]
    }


def _difference(found: float, drawn: Array) -> Difference:
    drawn = drawn[~np.isnan(drawn)]
    against = min(np.count_nonzero(drawn <= 0), np.count_nonzero(drawn >= 0))
    low, high = _percentiles(drawn)
    return Difference(found, low, high, min(1.0, 2 * (1 + against) / (len(drawn) + 1)))


def _percentiles(values: Array) -> tuple[float, float]:
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return float(low), float(high)


def _resampled(scores: Scores, resamples: int, seed: int) -> dict[str, Array]:
    """Every figure of every draw."""
    parts = [scores.weighted(weights) for weights in _draws(scores.n_photos, resamples, seed)]
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


def _draws(n_photos: int, resamples: int, seed: int) -> Iterator[Array]:
    """(some draws, photos): how often each photo is drawn."""
    rng = np.random.default_rng(seed)
    for start in range(0, resamples if n_photos else 0, BATCH):
        count = min(BATCH, resamples - start)
        chosen = rng.integers(0, n_photos, (count, n_photos)) + np.arange(count)[:, None] * n_photos
        yield np.bincount(chosen.ravel(), minlength=count * n_photos).reshape(count, n_photos).astype(float)
