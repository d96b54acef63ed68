"""Nodes of reporting. What they take beside that is of the same run and has to be there first."""

import logging
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import pandas as pd

from lng_kedro import plots as draw
from lng_kedro.bootstrap import compare
from lng_kedro.imaging import PhotoFolder
from lng_kedro.page import render_page
from lng_kedro.pipelines.reporting.params import ReportingParams
from lng_kedro.results import (
    Document,
    Stored,
    current_metrics,
    current_predictions,
    match_photos,
    predictions_hash,
)
from lng_kedro.tables import (
    STAGES,
    PaperParams,
    readable,
    readable_comparisons,
    stage_table,
    study_table,
    table_2,
    to_latex,
    to_markdown,
)
from lng_kedro.taxonomy import LABEL, Taxonomy
from lng_kedro.vlm.spec import VlmParams

logger = logging.getLogger(__name__)

Metrics = dict[str, float]
DETECTORS = "detectors"
"""Folder of the detectors' metrics, beside those of the models."""


def tables(
    stored: Stored,
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: ReportingParams,
    paper: PaperParams,
    *_: Any,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table II over all models evaluated so far, and Table III of the model in use.

    Args:
        stored: ``model/stage`` and ``detectors/name`` -> loader of the metrics.
        samples: the test split.
        photos: the processed photos.
        taxonomy: gives the fields.
        vlm_params: gives the model in use.
        params: how the commands that fill a row begin.
        paper: its figures.
    """
    documents = current_metrics(stored, samples, photos, taxonomy, params.constrained)
    found = {
        model: {stage: document["metrics"] for stage, document in of_model.items()}
        for model, of_model in documents.items()
    }
    names = {name: document["about"]["name"] for name, document in documents.get(DETECTORS, {}).items()}
    fields = (LABEL, *taxonomy.field_names)
    detectors = found.pop(DETECTORS, {})
    strategies = found.get(vlm_params.model, {}) | detectors
    return (
        table_2(found, fields, paper, params.command_of),
        stage_table(vlm_params.model, strategies, fields, paper, params.command_of, names),
    )


def texts(second: pd.DataFrame, third: pd.DataFrame, vlm_params: VlmParams) -> tuple[str, str, str, str]:
    """Tables II and III for people: each in Markdown and in LaTeX."""
    captions = (
        "Test split before and after SFT and GRPO, per cent.",
        f"Training strategies of {vlm_params.model} and detectors, per cent.",
    )
    return (
        to_markdown(second),
        to_latex(second, captions[0], "tab:before-after"),
        to_markdown(third),
        to_latex(third, captions[1], "tab:strategies"),
    )


def comparisons(
    stored: Stored,
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    params: ReportingParams,
    *_: Any,
) -> pd.DataFrame:
    """Paired tests between all stages evaluated so far: what one of them is better in, and how sure that is.

    Returns:
        One row a pair of stages and figure: first, second, figure, difference, low, high, p (fractions).
    """
    split = samples, photos, taxonomy
    found = current_predictions(stored, STAGES, *split, params.constrained)
    scores = {stage: match_photos(table, *split, stage, params.constrained) for stage, table in found.items()}
    rows = [
        {"first": a, "second": b, "figure": figure, **difference._asdict()}
        for a, b in combinations(scores, 2)
        for figure, difference in compare(scores[a], scores[b], params.resamples, params.seed).items()
    ]
    return pd.DataFrame(rows, columns=["first", "second", "figure", "difference", "low", "high", "p"])


def plots(
    stored: Stored,
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: ReportingParams,
    *_: Any,
) -> tuple[Any, Any]:
    """AP of each label, and which label was taken for which, of the model in use."""
    found = current_metrics(stored, samples, photos, taxonomy, params.constrained)
    of_model = found.get(vlm_params.model, {})
    return draw.label_bars(of_model | found.get(DETECTORS, {})), draw.confusion_heatmap(of_model)


def study(stored: Stored, taxonomy: Taxonomy, vlm_params: VlmParams) -> pd.DataFrame:
    """Mean and spread of every stage of the model in use over the runs of a study.

    Args:
        stored: paths in the study's folder, ``<run>/08_reporting/metrics/<model>/<stage>`` among them ->
            loader of the file.
        taxonomy: gives the fields.
        vlm_params: gives the model in use.
    """
    runs: dict[str, dict[str, Metrics]] = {}
    for name, load in sorted(stored.items()):
        run, _, place = name.partition("/")
        folder, _, stage = place.rpartition("/")
        if folder == f"08_reporting/metrics/{vlm_params.model}":
            runs.setdefault(run, {})[stage] = load()["metrics"]
    return study_table(list(runs.values()), (LABEL, *taxonomy.field_names))


def page(
    all_metrics: Stored,
    all_predictions: Stored,
    all_histories: Stored,
    test_samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    table_2: pd.DataFrame,
    table_3: pd.DataFrame,
    comparisons: pd.DataFrame,
    vlm_params: VlmParams,
    params: ReportingParams,
) -> str:
    """The report page: tables, curves, and every test photo with truth and predictions.

    Args:
        all_metrics: as of `tables`.
        all_predictions: ``predictions_<stage>`` -> loader.
        all_histories: training stage -> loader of its logged steps.
        test_samples: the test split.
        photos: the processed photos.
        taxonomy: gives the labels to filter by.
        table_2: of all models.
        table_3: of this model.
        comparisons: of its stages.
        vlm_params: gives the model in use.
        params: where the photos are.
    """
    split = test_samples, photos, taxonomy
    metrics: Mapping[str, Document] = current_metrics(all_metrics, *split, params.constrained).get(
        vlm_params.model, {}
    )
    predictions = current_predictions(all_predictions, STAGES, *split, params.constrained)
    for stage in metrics.keys() & predictions.keys():
        if metrics[stage]["about"]["predictions_sha256"] != predictions_hash(predictions[stage]):
            logger.warning("The metrics of %s are of earlier predictions: run evaluation --tags score", stage)
    fields = (LABEL, *taxonomy.field_names)
    return render_page(
        vlm_params.model,
        taxonomy,
        {
            "Table II": readable(table_2),
            "Table III": readable(table_3),
            "Differences between stages": readable_comparisons(comparisons, fields),
        },
        {name: load() for name, load in all_histories.items()},
        test_samples,
        predictions,
        metrics,
        params.photos,
    )
