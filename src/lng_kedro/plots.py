"""Plots of data and of a model's metrics, for kedro-viz and MLflow."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from lng_kedro.data_summary import area_classes
from lng_kedro.tables import DETECTORS, STAGES

TITLES = STAGES | DETECTORS


def label_bars(metrics: Mapping[str, Mapping[str, Any]]) -> Any:
    """A plotly figure: AP@50 of each label, a bar a stage or detector, with 95 % intervals.

    Args:
        metrics: stage or detector -> its document (see `results.metrics_document`).
    """
    from plotly import graph_objects

    bars = []
    for stage in [s for s in TITLES if s in metrics]:
        document = metrics[stage]
        found = {label: row["ap_50"] for label, row in document["labels"].items() if row["ap_50"] is not None}
        ends = [document["intervals"].get(f"ap_50/{label}", [ap, ap]) for label, ap in found.items()]
        aps = list(found.values())
        above = [100 * (high - ap) for ap, (_, high) in zip(aps, ends, strict=True)]
        below = [100 * (ap - low) for ap, (low, _) in zip(aps, ends, strict=True)]
        bars.append(
            graph_objects.Bar(
                name=document["about"].get("name", TITLES[stage]),
                x=list(found),
                y=[100 * ap for ap in aps],
                error_y={"type": "data", "symmetric": False, "array": above, "arrayminus": below},
            )
        )
    return graph_objects.Figure(
        bars, {"title": "AP@50 of each label, per cent", "barmode": "group", "yaxis": {"range": [0, 100]}}
    )


def confusion_heatmap(metrics: Mapping[str, Mapping[str, Any]]) -> Any:
    """A plotly figure: which label the last stage took for which; rows are true labels, columns predicted.

    Args:
        metrics: stage -> its document.
    """
    from plotly import graph_objects

    last = [stage for stage in STAGES if stage in metrics][-1:]
    found = metrics[last[0]]["confusion"]["label"] if last else {"values": [], "matrix": [[0]]}
    names = [*found["values"], "none"]
    heatmap = graph_objects.Heatmap(
        x=names, y=names, z=found["matrix"], colorscale="Blues", texttemplate="%{z}", showscale=False
    )
    title = f"Labels: true (rows) and predicted (columns), {STAGES[last[0]] if last else 'no stage'}"
    return graph_objects.Figure([heatmap], {"title": title, "yaxis": {"autorange": "reversed"}})


def box_sizes(objects: pd.DataFrame, labels: Sequence[str]) -> Any:
    """A plotly figure: how many boxes are of each class of relative area; a colour a label.

    Args:
        objects: with `label`, `area` and `box_source` (see `data_summary.boxes`).
        labels: in their order.
    """
    from plotly import graph_objects

    found = {label: area_classes(objects[objects["label"] == label]) for label in labels}
    bars = [
        graph_objects.Bar(name=label, x=list(number.index), y=number.tolist())
        for label, number in found.items()
    ]
    title = "Share of the photo that a box takes, chosen objects"
    return graph_objects.Figure(bars, {"title": title, "barmode": "stack"})
