"""Tables II and III of the paper, from stored metrics, with the paper's figures beside ours; in per cent."""

import re
from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev

import pandas as pd

from lng_kedro.params import Params

Metrics = Mapping[str, float]
Command = Callable[[str, str | None], str]

STAGES = {"base": "Base", "sft": "SFT", "grpo": "GRPO", "sft_grpo": "SFT+GRPO"}
"""Stage of a language model -> its name in tables."""

DETECTORS = {"yolo11m": "YOLOv11m", "yolo12m": "YOLOv12m", "rtdetr": "RT-DETR"}
"""Baseline -> its name in tables."""

PIPELINES = {
    **dict.fromkeys(STAGES, "evaluation"),
    "grpo": "ablation",
    **dict.fromkeys(DETECTORS, "baselines"),
}
"""Which pipeline fills a row of Table III."""

DETECTION = {
    "map_50": "mAP@50",
    "map_50_equal": "mAP@50, equal scores",
    "map_50_boxed": "mAP@50, boxed labels",
    "ap_50_agnostic": "AP@50, any label",
}
FORM = {"valid_json": "valid JSON", "schema_true": "schema-true"}

OURS, PAPER, DIFFERENCE = "ours", "paper", "difference"
"""Whose figures a row holds; the difference is ours less the paper's."""

Row = dict[str, float | None]

MODEL = "model"
WHOSE = "figures"
TO_FILL = "to fill"
BEFORE, AFTER = " before", " after"


class PaperParams(Params):
    """The paper's own figures in per cent.

    Attributes:
        model: that of Table III.
        table_2: model -> metric -> before and after SFT+GRPO.
        table_3: stage or detector -> metric -> figure.
    """

    model: str
    table_2: dict[str, dict[str, tuple[float, float]]]
    table_3: dict[str, dict[str, float]]


def table_2(
    found: Mapping[str, Mapping[str, Metrics]], fields: Sequence[str], paper: PaperParams, command: Command
) -> pd.DataFrame:
    """Models before and after SFT+GRPO.

    Args:
        found: model -> stage -> metrics (fractions).
        fields: the label and the metadata fields.
        paper: its figures.
        command: of a model and a pipeline, or of all pipelines (None): what fills an empty row.

    Returns:
        For each model of the paper and each found a row of our figures, one of the paper's and one of the
        difference, ``<metric> before`` and ``<metric> after``; the last column says which command fills
        what is empty.
    """
    columns = {"map_50": "mAP@50"} | {f"f1_{field}": f"F1 {field}" for field in fields}
    rows = []
    for model in [*paper.table_2, *(m for m in found if m not in paper.table_2)]:
        stages = found.get(model, {})
        ours: Row = {}
        theirs: Row = {}
        for metric, title in columns.items():
            ours[title + BEFORE] = _percent(stages.get("base", {}), metric)
            ours[title + AFTER] = _percent(stages.get("sft_grpo", {}), metric)
            before, after = paper.table_2.get(model, {}).get(metric, (None, None))
            theirs |= {title + BEFORE: before, title + AFTER: after}
        to_fill = "" if {"base", "sft_grpo"} <= stages.keys() else command(model, None)
        rows += _with_paper((model, model), ours, theirs, to_fill, compared=True)
    figures = [title + when for title in columns.values() for when in (BEFORE, AFTER)]
    return pd.DataFrame(rows, columns=[MODEL, WHOSE, *figures, TO_FILL])


def stage_table(
    model: str,
    found: Mapping[str, Metrics],
    fields: Sequence[str],
    paper: PaperParams,
    command: Command,
    names: Mapping[str, str],
) -> pd.DataFrame:
    """Table III: what each training strategy brought, beside the detectors.

    Args:
        model: the one in use; with another than the paper's there is no difference to the paper's stages.
        found: stage or detector -> metrics (fractions).
        fields: the label and the metadata fields.
        paper: its figures.
        command: of a model and a pipeline, or of all pipelines (None): what fills an empty row.
        names: of detectors that stand for those of the paper; no difference to these is told.

    Returns:
        As `table_2`, a row a stage and detector.
    """
    columns = _columns(fields)
    rows = []
    for row, title in (STAGES | DETECTORS).items():
        ours = {name: _percent(found.get(row, {}), metric) for metric, name in columns.items()}
        theirs = {name: paper.table_3.get(row, {}).get(metric) for metric, name in columns.items()}
        to_fill = "" if row in found else command(model, PIPELINES[row])
        name = names.get(row, title)
        compared = name == title if row in DETECTORS else model == paper.model
        rows += _with_paper((name, title), ours, theirs, to_fill, compared)
    return pd.DataFrame(rows)


def _with_paper(
    names: tuple[str, str],
    ours: Row,
    theirs: Row,
    to_fill: str,
    compared: bool,
) -> list[dict[str, str | float | None]]:
    """`names` are ours and the paper's."""
    our_name, its_name = names
    rows: list[dict[str, str | float | None]] = [{MODEL: our_name, WHOSE: OURS, **ours, TO_FILL: to_fill}]
    if any(value is not None for value in theirs.values()):
        rows.append({MODEL: its_name, WHOSE: PAPER, **theirs, TO_FILL: ""})
    differences = {name: _less(value, theirs[name]) for name, value in ours.items()}
    if compared and any(value is not None for value in differences.values()):
        rows.append({MODEL: our_name, WHOSE: DIFFERENCE, **differences, TO_FILL: ""})
    return rows


def _less(ours: float | None, theirs: float | None) -> float | None:
    return None if ours is None or theirs is None else round(ours - theirs, 2)


def readable(table: pd.DataFrame, arrow: str = "→") -> pd.DataFrame:
    """A table as text: figures with two decimals, before and after in one cell, empty columns left out."""
    text = pd.DataFrame(index=table.index)
    for column in map(str, table.columns):
        if column.endswith(AFTER):
            continue
        values = table[column]
        if column.endswith(BEFORE):
            title = column.removesuffix(BEFORE)
            pairs = zip(values.map(_figure), table[title + AFTER].map(_figure), strict=True)
            text[title] = [f"{b or '?'} {arrow} {a or '?'}" if b or a else "" for b, a in pairs]
        else:
            text[column] = values.map(_figure) if pd.api.types.is_numeric_dtype(values) else values.fillna("")
    return text.loc[:, (text != "").any() | text.columns.isin(list(text.columns[:2]))]


def readable_comparisons(comparisons: pd.DataFrame, fields: Sequence[str]) -> pd.DataFrame:
    """Differences between stages as text: in per cent, with the 95 % interval, starred where p is below 0.05.

    Args:
        comparisons: first, second, figure, difference, low, high, p (fractions), a row a pair and figure.
        fields: the label and the metadata fields.
    """
    titles = {"map_50": DETECTION["map_50"], **{f"f1_{field}": f"F1 {field}" for field in fields}}
    rows: dict[str, dict[str, str]] = {}
    for found in comparisons[comparisons["figure"].isin(titles)].to_dict("records"):
        stages = f"{STAGES[found['first']]} → {STAGES[found['second']]}"
        difference, low, high = (100 * found[name] for name in ("difference", "low", "high"))
        star = "*" if found["p"] < 0.05 else ""
        text = f"{difference:+.1f}{star} ({low:.1f} to {high:.1f})"
        rows.setdefault(stages, {"stages": stages})[titles[found["figure"]]] = text
    return pd.DataFrame(list(rows.values()), columns=["stages", *titles.values()])


def to_markdown(table: pd.DataFrame) -> str:
    """GitHub's Markdown."""
    text = readable(table)
    sides = ["left" if name in (MODEL, WHOSE, TO_FILL) else "right" for name in text.columns]
    return text.to_markdown(index=False, colalign=sides, disable_numparse=True) + "\n"


def to_latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """A LaTeX table as wide as the text (packages booktabs, graphicx); commands that fill it are left out."""
    text = readable(table.drop(columns=TO_FILL), arrow="TO")
    columns = "ll" + "r" * (len(text.columns) - 2)
    caption = re.sub(r"([_%&#$])", r"\\\1", caption)  # pandas escapes cells alone
    latex = text.to_latex(index=False, escape=True, caption=caption, label=label, column_format=columns)
    latex = latex.replace(r"\begin{tabular}", r"\resizebox{\textwidth}{!}{\begin{tabular}")
    return latex.replace(r"\end{tabular}", r"\end{tabular}}").replace(" TO ", r" $\rightarrow$ ")


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
    for stage, title in STAGES.items():
        rows.append({"stage": title, **_spread([run[stage] for run in runs], fields)})
    titles = _columns(fields)
    gains = [{k: run["sft_grpo"][k] - run["sft"][k] for k in titles} for run in runs]
    rows.append({"stage": "SFT+GRPO less SFT", **_spread(gains, fields)})
    return pd.DataFrame(rows)


def _spread(runs: Sequence[Metrics], fields: Sequence[str]) -> dict[str, str]:
    figures = {name: [100 * run[metric] for run in runs] for metric, name in _columns(fields).items()}
    return {name: f"{mean(values):.1f} ± {stdev(values):.1f}" for name, values in figures.items()}


def _columns(fields: Sequence[str]) -> dict[str, str]:
    return DETECTION | {"f1_50": "F1@50"} | {f"f1_{field}": f"F1 {field}" for field in fields} | FORM


def _percent(metrics: Metrics, name: str) -> float | None:
    return round(100 * metrics[name], 2) if name in metrics else None


def _figure(value: float) -> str:
    return "" if pd.isna(value) else f"{value:.2f}"
