"""Tables II and III of the paper, from stored metrics; all figures in per cent."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev

import pandas as pd

Metrics = Mapping[str, float]

STAGES = {
    "base": ("Base", "kedro run --pipeline evaluation"),
    "sft": ("SFT", "kedro run --pipeline evaluation"),
    "grpo": ("GRPO", "kedro run --pipeline ablation"),
    "sft_grpo": ("SFT+GRPO", "kedro run --pipeline evaluation"),
}
"""Stage -> its name in tables, and the command that fills its row (with the run's own --env and --params)."""

DETECTION = {"map_50": "mAP@50", "map_50_equal": "mAP@50, equal scores", "ap_50_agnostic": "AP@50, any label"}
FORM = {"valid_json": "valid JSON", "schema_true": "schema-true"}


def table_2(found: Mapping[str, Mapping[str, Metrics]], fields: Sequence[str]) -> pd.DataFrame:
    """Models before and after SFT+GRPO.

    Args:
        found: model -> stage -> metrics (fractions).
        fields: the label and the metadata fields.

    Returns:
        One row a model with ``<metric> before`` and ``<metric> after``; empty where not evaluated yet.
    """
    columns = {"map_50": "mAP@50"} | {f"f1_{field}": f"F1 {field}" for field in fields}
    rows = []
    for model, stages in found.items():
        row: dict[str, str | float | None] = {"model": model}
        for metric, title in columns.items():
            row[f"{title} before"] = _percent(stages.get("base", {}), metric)
            row[f"{title} after"] = _percent(stages.get("sft_grpo", {}), metric)
        rows.append(row)
    return pd.DataFrame(rows)


def stage_table(stages: Mapping[str, Metrics], fields: Sequence[str]) -> pd.DataFrame:
    """Stages of one model: what each training strategy brought.

    Args:
        stages: stage -> metrics (fractions).
        fields: the label and the metadata fields.

    Returns:
        One row a stage; the last column says which command fills a row that is empty.
    """
    columns = _columns(fields)
    rows = []
    for stage, (title, command) in STAGES.items():
        figures = {name: _percent(stages.get(stage, {}), metric) for metric, name in columns.items()}
        rows.append({"stage": title, **figures, "to fill": "" if stage in stages else command})
    return pd.DataFrame(rows)


def study_table(runs: Sequence[Mapping[str, Metrics]], fields: Sequence[str]) -> pd.DataFrame:
    """Stages of one model over runs with different seeds, as ``mean ± standard deviation``.

    Args:
        runs: at least two; of each, stage -> metrics (fractions).
        fields: the label and the metadata fields.

    Returns:
        One row a stage, and one for what GRPO added to SFT, run by run.

    Raises:
        ValueError: there are fewer than two runs, or one lacks a stage.
    """
    if len(runs) < 2:
        raise ValueError(f"A spread needs at least two runs, found {len(runs)}: make study")
    lacking = sorted({stage for run in runs for stage in STAGES.keys() - run.keys()})
    if lacking:
        raise ValueError(f"Some run lacks the stages {', '.join(lacking)}: make study")
    rows = []
    for stage, (title, _) in STAGES.items():
        rows.append({"stage": title, **_spread([run[stage] for run in runs], fields)})
    gains = [{k: run["sft_grpo"][k] - run["sft"][k] for k in run["sft"]} for run in runs]
    rows.append({"stage": "SFT+GRPO less SFT", **_spread(gains, fields)})
    return pd.DataFrame(rows)


def _spread(runs: Sequence[Metrics], fields: Sequence[str]) -> dict[str, str]:
    figures = {name: [100 * run[metric] for run in runs] for metric, name in _columns(fields).items()}
    return {name: f"{mean(values):.1f} ± {stdev(values):.1f}" for name, values in figures.items()}


def _columns(fields: Sequence[str]) -> dict[str, str]:
    return DETECTION | {"f1_50": "F1@50"} | {f"f1_{field}": f"F1 {field}" for field in fields} | FORM


def _percent(metrics: Metrics, name: str) -> float | None:
    return round(100 * metrics[name], 2) if name in metrics else None
