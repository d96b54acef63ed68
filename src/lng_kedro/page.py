"""The report page: one HTML file with everything in it but the photos, which it shows from their folder."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, get_args

import pandas as pd

from lng_kedro import charts
from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.html import part, render_html, to_script
from lng_kedro.mistakes import Kind, Verdict, judge
from lng_kedro.report import Finding, to_finding
from lng_kedro.tables import OURS, STAGES, WHOSE
from lng_kedro.taxonomy import LABEL, Taxonomy

KINDS: tuple[str, ...] = get_args(Kind)

GLYPHS = dict(zip(KINDS, "✓≠✎↔○✕", strict=True))
"""A sign for each kind, so that colour is not all that tells them apart."""

KEY_FIGURES = {
    "map_50": "mAP@50",
    "ap_50_agnostic": "AP@50, any label",
    f"f1_{LABEL}": "F1 label",
    "valid_json": "valid JSON",
}
"""Metrics at the top of the page -> their names there."""


class Outcome(NamedTuple):
    """What one stage made of the test photos.

    Attributes:
        stage: its key.
        name: for people.
        kinds: kind of verdict -> how many; those but `false` add up to the true findings.
        broken: answers that are no valid JSON.
    """

    stage: str
    name: str
    kinds: dict[str, int]
    broken: int

    @property
    def total(self) -> int:
        """Verdicts of all kinds."""
        return sum(self.kinds.values())


class Cell(NamedTuple):
    """A table's cell: its text, and whether it is the best figure of its column."""

    text: str
    best: bool


class Words:
    """Texts that many findings share, each by its number; None is -1."""

    def __init__(self, known: Sequence[str]) -> None:
        self._numbers = {word: i for i, word in enumerate(known)}

    def number(self, word: str | None) -> int:
        """The number of one text, a new one where it was not met yet."""
        return -1 if word is None else self._numbers.setdefault(word, len(self._numbers))

    @property
    def all(self) -> list[str]:
        """The texts in the order of their numbers."""
        return list(self._numbers)


def render_page(
    model: str,
    taxonomy: Taxonomy,
    tables: Mapping[str, pd.DataFrame],
    histories: Mapping[str, pd.DataFrame],
    samples: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    metrics: Mapping[str, Mapping[str, Any]],
    photos: str,
) -> str:
    """HTML of the report page.

    Args:
        model: name of the model.
        taxonomy: gives labels and fields.
        tables: title -> table; figures are rounded, or text.
        histories: training stage -> its logged steps.
        samples: the test photos (photo_id, photo_label, ground_truth).
        predictions: stage -> predictions of all test photos.
        metrics: stage -> its `metrics` and their `intervals`, figures of each of its `labels`, and a
            `confusion` matrix of each field; any of them may be missing. `about` says whether answers were
            constrained.
        photos: URL of the folder of processed photos, relative to the page.
    """
    stages = [stage for stage in STAGES if stage in predictions]
    known = {stage: metrics[stage] for stage in STAGES if stage in metrics}
    data = _data(taxonomy, stages, samples, predictions)
    data["photos"] = photos
    data["confusion"] = {stage: m["confusion"] for stage, m in known.items() if m.get("confusion")}
    return render_html(
        "page.html",
        ["page.css"],
        part("shared.js") + part("page.js") + part("photo.js") + "start();\n",
        made=datetime.now().astimezone(),
        glyphs=GLYPHS,
        frame=charts,
        model=model,
        n_photos=len(samples),
        n_objects=sum(len(true) for _, _, true, _ in data["samples"]),
        outcomes=[_outcome(i, stage, data["samples"]) for i, stage in enumerate(stages)],
        key_figures=_key_figures(known, stages),
        answers=" and ".join(sorted({_answers(m) for m in known.values()})),
        tables={title: (list(table.columns), _rows(table)) for title, table in tables.items()},
        curves=charts.curves(histories),
        bars={
            "AP@50 of each label": charts.label_bars(known, taxonomy.label_names),
            "F1 of each field": charts.field_bars(known, [LABEL, *taxonomy.field_names]),
        },
        confusion={stage: STAGES[stage] for stage in data["confusion"]},
        data=to_script(data),
    )


def _data(
    taxonomy: Taxonomy,
    stages: Sequence[str],
    samples: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
) -> dict[str, Any]:
    """What the script reads: photos with findings and verdicts, every name by its number in `words`.

    A sample is (photo_id, label, true findings, what each stage said); that is (findings, verdicts, text,
    valid_json, schema_true, n_tokens, finished).
    """
    words = Words(taxonomy.label_names)
    order = samples["photo_id"].tolist()
    said = {s: predictions[s].set_index("photo_id").loc[order].to_dict("records") for s in stages}
    rows = []
    for i, sample in enumerate(samples.to_dict("records")):
        true = _findings(sample["ground_truth"], taxonomy)
        label = None if pd.isna(sample["photo_label"]) else sample["photo_label"]
        answers = [_answer(said[stage][i], true, taxonomy, words) for stage in stages]
        rows.append([sample["photo_id"], words.number(label), [_row(f, words) for f, _ in true], answers])
    return {
        "side": PROCESSED_SIZE,
        "stages": [[stage, STAGES[stage]] for stage in stages],
        "kinds": list(GLYPHS.items()),
        "fields": taxonomy.field_names,
        "labels": len(taxonomy.label_names),
        "samples": rows,
        "words": words.all,
    }


def _findings(objects: str, taxonomy: Taxonomy) -> list[tuple[Finding, float | None]]:
    """Findings of a JSON list, each with its score."""
    return [(to_finding(o, taxonomy), o.get("score")) for o in json.loads(objects)]


def _answer(
    prediction: Mapping[Any, Any],
    true: Sequence[tuple[Finding, float | None]],
    taxonomy: Taxonomy,
    words: Words,
) -> list[Any]:
    found = _findings(prediction["objects"], taxonomy)
    verdicts = judge([f for f, _ in found], [f for f, _ in true])
    return [
        [_row(f, words, s) for f, s in found],
        [_numbers(verdict) for verdict in verdicts],
        prediction["text"],
        int(prediction["valid_json"]),
        int(prediction["schema_true"]),
        int(prediction["n_tokens"]),
        int(prediction["finished"]),
    ]


def _row(finding: Finding, words: Words, score: float | None = None) -> list[Any]:
    """A finding as (box, chance in per cent, label, fields ...)."""
    box = [int(v) if v == int(v) else round(v, 1) for v in finding.bbox] if finding.bbox else None
    chance = None if score is None else round(100 * math.exp(min(score, 0.0)), 1)
    names = [finding.label, *finding.values.values()]
    return [box, chance, *map(words.number, names)]


def _numbers(verdict: Verdict) -> list[int]:
    """A verdict as (kind, prediction, truth), -1 for None."""
    return [
        KINDS.index(verdict.kind),
        -1 if verdict.predicted is None else verdict.predicted,
        -1 if verdict.true is None else verdict.true,
    ]


def _outcome(i: int, stage: str, samples: Sequence[Sequence[Any]]) -> Outcome:
    answers = [said[i] for _, _, _, said in samples]
    counts = Counter(kind for _, verdicts, *_ in answers for kind, _, _ in verdicts)
    return Outcome(
        stage=stage,
        name=STAGES[stage],
        kinds={kind: counts[number] for number, kind in enumerate(KINDS)},
        broken=sum(not valid for _, _, _, valid, *_ in answers),
    )


def _key_figures(metrics: Mapping[str, Mapping[str, Any]], stages: Sequence[str]) -> list[dict[str, Any]]:
    """The last stage's key figures in per cent, with intervals and what the stages before had."""
    found = []
    for name, title in KEY_FIGURES.items():
        values = {s: 100 * metrics[s]["metrics"][name] for s in stages if name in _plain(metrics, s)}
        if stages and stages[-1] in values:
            interval = metrics[stages[-1]].get("intervals", {}).get(name)
            found.append(
                {
                    "title": title,
                    "value": values.pop(stages[-1]),
                    "interval": [100 * bound for bound in interval] if interval else None,
                    "before": {STAGES[stage]: value for stage, value in values.items()},
                }
            )
    return found


def _answers(document: Mapping[str, Any]) -> str:
    """Of what kind the answers were that figures are of; earlier versions knew no constrained ones."""
    return "constrained" if document.get("about", {}).get("constrained") else "unconstrained"


def _plain(metrics: Mapping[str, Mapping[str, Any]], stage: str) -> Mapping[str, float]:
    found: Mapping[str, float] = metrics.get(stage, {}).get("metrics", {})
    return found


def _rows(table: pd.DataFrame) -> list[list[Cell]]:
    """Cells of a table, row by row; all its figures have equally many decimals."""
    numeric = {name for name in table.columns if pd.api.types.is_numeric_dtype(table[name])}
    figures = [value for name in numeric for value in table[name].dropna()]
    decimals = max((len(f"{value:g}".partition(".")[2]) for value in figures), default=0)
    ours = [whose == OURS for whose in table[WHOSE]] if WHOSE in table else [True] * len(table)
    columns = []
    for name in table.columns:
        form = f"{{:.{decimals}f}}" if name in numeric else "{}"
        texts = ["" if pd.isna(value) else form.format(value) for value in table[name]]
        columns.append(_column(texts, ours))
    return [list(row) for row in zip(*columns, strict=True)]


def _column(texts: Sequence[str], ours: Sequence[bool]) -> list[Cell]:
    """Cells of a column, the best of our figures marked where there are two to compare."""
    figures = [_figure(text) if own and text else None for text, own in zip(texts, ours, strict=True)]
    found = {figure for figure in figures if figure is not None}
    best = max(found) if len(found) > 1 else None
    return [Cell(t, best is not None and f == best) for t, f in zip(texts, figures, strict=True)]


def _figure(text: str) -> float | None:
    """The figure that a cell stands for: of ``before → after`` the second, of ``mean ± spread`` the first."""
    try:
        return float(text.rpartition("→")[2].partition("±")[0])
    except ValueError:
        return None
