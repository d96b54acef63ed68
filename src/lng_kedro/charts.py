"""What the report page draws besides photos: learning curves with axes, bars with intervals."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from lng_kedro.tables import STAGES

WIDTH, HEIGHT = 340, 190
"""A curve's drawing in units of its SVG."""

LEFT, RIGHT, TOP, BOTTOM = 44, 12, 10, 36
"""Its margins: numbers of the axes stand there."""

SMOOTHED = 10
"""The smoothed line's window is one part in so many of the steps."""

INTERVALS = 4
"""About so many intervals lie between the numbers of an axis."""

TRAININGS = {"sft": "SFT", "grpo": "GRPO", "grpo_only": "GRPO without SFT"}
"""History -> which training it is of."""

REWARD_PREFIX, REWARD_SUFFIX = "rewards/", "/mean"

REWARD_TITLES = {
    "iou_f1": "detection IoU-F1",
    "json_validity": "JSON validity",
    "anti_gibberish": "no gibberish",
}
"""Names of rewards that do not read well as they are."""


class Tick(NamedTuple):
    """A number on an axis: where it stands and what it says."""

    at: float
    text: str


class Curve(NamedTuple):
    """One logged figure over the steps, laid out.

    Attributes:
        title: for people.
        x: numbers of the axis of steps.
        y: numbers of the axis of values.
        raw: points of an SVG polyline.
        smooth: points of the smoothed line.
        first: step and value of the first entry, as text.
        last: of the last one.
        ends: first and last point of the smoothed line.
    """

    title: str
    x: list[Tick]
    y: list[Tick]
    raw: str
    smooth: str
    first: tuple[str, str]
    last: tuple[str, str]
    ends: list[tuple[float, float]]


class Bar(NamedTuple):
    """One stage's bar: per cent, None where there is no figure."""

    stage: str
    name: str
    value: float | None
    interval: tuple[float, float] | None


class BarRow(NamedTuple):
    """The bars of one label or field."""

    name: str
    note: str
    bars: list[Bar]


def curves(histories: Mapping[str, pd.DataFrame]) -> list[Curve]:
    """SFT's loss, GRPO's reward and each of its parts, as far as they were logged.

    Args:
        histories: training (see `TRAININGS`) -> its logged steps.
    """
    found = []
    for name in [name for name in TRAININGS if name in histories]:
        history = histories[name]
        for column, title in _titles(name, list(history.columns)).items():
            logged = history[["step", column]].dropna()
            if len(logged):
                found.append(_curve(title, logged["step"], logged[column].astype(float)))
    return found


def _titles(name: str, columns: Sequence[str]) -> dict[str, str]:
    """Logged figure -> title; GRPO's loss says nothing about how well it does."""
    training = TRAININGS[name]
    if name == "sft":
        return {"loss": f"{training}: loss"} if "loss" in columns else {}
    titles = {"reward": f"{training}: reward, weighted sum"} if "reward" in columns else {}
    for column in columns:
        if column.startswith(REWARD_PREFIX) and column.endswith(REWARD_SUFFIX):
            reward = column.removeprefix(REWARD_PREFIX).removesuffix(REWARD_SUFFIX)
            titles[column] = f"{training}: {REWARD_TITLES.get(reward, reward.replace('_', ' '))}"
    return titles


def _curve(title: str, steps: pd.Series, values: pd.Series) -> Curve:
    window = max(len(values) // SMOOTHED, 1)
    smooth = values.rolling(window, center=True, min_periods=1).mean()
    x, y = ticks(steps.min(), steps.max()), ticks(values.min(), values.max())
    # Steps span the whole width; values span whole intervals of their axis.
    start, end = float(steps.min()), float(max(steps.max(), steps.min() + 1))

    def across(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - start) / (end - start)

    def up(value: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (value - y[0]) / (y[-1] - y[0])

    def points(line: pd.Series) -> str:
        return " ".join(f"{across(s):.1f},{up(v):.1f}" for s, v in zip(steps, line, strict=True))

    def entry(i: int) -> tuple[str, str]:
        return f"{steps.iloc[i]:g}", f"{values.iloc[i]:.3f}"

    return Curve(
        title=title,
        x=[Tick(across(step), f"{step:g}") for step in x if start <= step <= end],
        y=[Tick(up(value), f"{value:.{_decimals(y[1] - y[0])}f}") for value in y],
        raw=points(values),
        smooth=points(smooth),
        first=entry(0),
        last=entry(-1),
        ends=[(across(steps.iloc[i]), up(smooth.iloc[i])) for i in (0, -1)],
    )


def ticks(low: float, high: float) -> list[float]:
    """Round numbers at equal distances, the first not above `low`, the last not below `high`."""
    spread = (high - low) or abs(high) or 1.0
    rough = spread / INTERVALS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def _decimals(step: float) -> int:
    return max(0, -math.floor(math.log10(step) + 1e-9))


def label_bars(metrics: Mapping[str, Mapping[str, Any]], labels: Sequence[str]) -> list[BarRow]:
    """AP@50 of each label, a bar a stage; no rows where no stage has it."""
    rows = []
    for label in labels:
        found = {stage: m.get("labels", {}).get(label, {}) for stage, m in metrics.items()}
        counts = {entry["n_true"] for entry in found.values() if "n_true" in entry}
        bars = [
            _bar(stage, entry.get("ap_50"), metrics[stage], f"ap_50/{label}")
            for stage, entry in found.items()
            if entry
        ]
        if bars:
            rows.append(BarRow(label, _objects(max(counts)), bars))
    return rows


def field_bars(metrics: Mapping[str, Mapping[str, Any]], fields: Sequence[str]) -> list[BarRow]:
    """F1 of each field, a bar a stage; no rows where no stage has it."""
    rows = []
    for field in fields:
        name = f"f1_{field}"
        bars = [
            _bar(stage, m["metrics"][name], m, name)
            for stage, m in metrics.items()
            if name in m.get("metrics", {})
        ]
        if bars:
            rows.append(BarRow(field, "", bars))
    return rows


def _bar(stage: str, value: float | None, metrics: Mapping[str, Any], name: str) -> Bar:
    interval = metrics.get("intervals", {}).get(name)
    return Bar(
        stage=stage,
        name=STAGES[stage],
        value=None if value is None else 100 * value,
        interval=(100 * interval[0], 100 * interval[1]) if interval else None,
    )


def _objects(count: int) -> str:
    return f"{count} object" if count == 1 else f"{count} objects"
