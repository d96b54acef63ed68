"""Axes, curves and bars by hand."""

import pandas as pd
import pytest

from lng_kedro.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    curves,
    field_bars,
    label_bars,
    ticks,
)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 100, [0, 50, 100]),
        (1, 300, [0, 100, 200, 300]),
        (0.31, 1.08, [0.2, 0.4, 0.6, 0.8, 1.0, 1.2]),
        (-3, 5, [-4, -2, 0, 2, 4, 6]),
        (2, 2, [2, 2.5]),
        (0, 0, [0, 0.5]),
    ],
)
def test_numbers_of_an_axis_are_round_and_enclose_the_values(low, high, expected):
    assert ticks(low, high) == pytest.approx(expected)


def test_a_curve_reaches_from_edge_to_edge():
    (curve,) = curves({"sft": pd.DataFrame({"step": [10, 20, 30], "loss": [2.0, None, 0.0]})})
    assert curve.title == "SFT: loss"
    assert (curve.first, curve.last) == (("10", "2.000"), ("30", "0.000"))
    assert curve.raw == f"{LEFT:.1f},{TOP:.1f} {WIDTH - RIGHT:.1f},{HEIGHT - BOTTOM:.1f}"
    assert [tick.text for tick in curve.y] == ["0.0", "0.5", "1.0", "1.5", "2.0"]
    assert [tick.text for tick in curve.x] == ["10", "15", "20", "25", "30"]


def test_the_smoothed_line_is_a_centred_mean():
    history = pd.DataFrame({"step": range(30), "loss": [0.0] * 15 + [9.0] * 15})
    (curve,) = curves({"sft": history})
    heights = [float(point.split(",")[1]) for point in curve.smooth.split()]
    whole = HEIGHT - TOP - BOTTOM
    at_nine = heights[-1]
    assert heights[0] - at_nine == pytest.approx(0.9 * whole, abs=0.1)  # the axis ends at 10
    assert heights[14] - at_nine == pytest.approx(0.6 * whole, abs=0.1)  # mean of 0, 0, 9


def test_grpo_has_its_reward_and_each_part_but_no_loss():
    history = pd.DataFrame(
        {
            "step": [1, 2],
            "loss": [1, 1],
            "reward": [1, 2],
            "rewards/iou_f1/mean": [0, 1],
            "reward_std": [1, 1],
        }
    )
    titles = [curve.title for curve in curves({"grpo_only": history, "grpo": history})]
    assert titles[:2] == ["GRPO: reward, weighted sum", "GRPO: detection IoU-F1"]
    assert titles[2] == "GRPO without SFT: reward, weighted sum"


def test_a_history_without_values_draws_nothing():
    assert curves({"sft": pd.DataFrame({"step": [1], "loss": [None]})}) == []


def test_bars_are_per_cent_with_their_intervals():
    crack = {"ap_50": 0.5, "n_true": 1}
    metrics = {
        "base": {"metrics": {"f1_label": 0.1}},
        "sft": {
            "metrics": {"f1_label": 0.25},
            "labels": {"crack": crack, "scratch": {"ap_50": None, "n_true": 0}},
            "intervals": {"ap_50/crack": [0.25, 0.75]},
        },
    }
    cracked, scratched = label_bars(metrics, ["crack", "scratch", "cutting"])
    assert (cracked.name, cracked.note) == ("crack", "1 object")
    assert [(bar.name, bar.value, bar.interval) for bar in cracked.bars] == [("SFT", 50, (25, 75))]
    assert (scratched.note, scratched.bars[0].value) == ("0 objects", None)
    (row,) = field_bars(metrics, ["label", "part"])
    assert [(bar.stage, bar.value, bar.interval) for bar in row.bars] == [
        ("base", 10, None),
        ("sft", 25, None),
    ]
