"""Nodes of evaluation."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.metrics import evaluate
from lng_kedro.page import render_page
from lng_kedro.pipelines.evaluation.params import EvaluationParams, StageParams
from lng_kedro.prompts import chat_prompt
from lng_kedro.report import parse_report, to_objects
from lng_kedro.tables import stage_table, study_table, table_2
from lng_kedro.taxonomy import LABEL, Taxonomy
from lng_kedro.vlm.generate import Answer, generate_answers
from lng_kedro.vlm.load import Vlm, load_vlm
from lng_kedro.vlm.spec import VlmParams

Metrics = dict[str, float]

PHOTOS_FROM_PAGE = "../../04_feature/photos"
"""The folder of processed photos, seen from the page's."""


def predict(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: EvaluationParams,
    stage: StageParams,
    adapter: Path | None = None,
) -> pd.DataFrame:
    """What a stage says about each test photo.

    Columns photo_id, text (raw), objects (JSON text; boxes in the processed frame, with `score`),
    valid_json, schema_true, n_tokens and finished.
    """
    vlm = load_vlm(vlm_params, adapter=adapter)
    loaders = [partial(photos.load, photo_id) for photo_id in samples["photo_id"]]
    prompt = chat_prompt(taxonomy, vlm.frame, stage.reasoning)
    answers = generate_answers(vlm, prompt, loaders, params.batch_size, params.max_new_tokens)
    rows = [_prediction(answer, taxonomy, vlm) for answer in answers]
    return pd.DataFrame(rows).assign(photo_id=samples["photo_id"].to_numpy())


def score(
    predictions: pd.DataFrame, samples: pd.DataFrame, taxonomy: Taxonomy
) -> tuple[Metrics, dict[str, dict[str, float]]]:
    """Metrics of one stage, as fractions: for the file and, in MLflow's form, for the run."""
    both = samples[["photo_id", "ground_truth"]].merge(predictions, on="photo_id", validate="1:1")
    if len(both) != len(samples):
        raise ValueError("These predictions are of another test split: run the stage's evaluation again")
    metrics = evaluate(
        [json.loads(text) for text in both["objects"]],
        [json.loads(text) for text in both["ground_truth"]],
        taxonomy,
    )
    metrics |= {name: float(both[name].mean()) for name in ("valid_json", "schema_true")}
    return metrics, {name: {"value": value, "step": 0} for name, value in metrics.items()}


def tables(
    stored: Mapping[str, Callable[[], Metrics]], taxonomy: Taxonomy, vlm_params: VlmParams, *fresh: Metrics
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Table II over all models evaluated so far, and Table III of the model in use.

    Args:
        stored: ``model/stage`` -> loader of its metrics.
        taxonomy: gives the fields.
        vlm_params: gives the model in use.
        fresh: metrics of this run, here only so that the tables come after them.
    """
    found: dict[str, dict[str, Metrics]] = {}
    for name, load in sorted(stored.items()):
        model, _, stage = name.partition("/")
        found.setdefault(model, {})[stage] = load()
    fields = (LABEL, *taxonomy.field_names)
    return table_2(found, fields), stage_table(found[vlm_params.model], fields)


def study(
    stored: Mapping[str, Callable[[], Metrics]], taxonomy: Taxonomy, vlm_params: VlmParams
) -> pd.DataFrame:
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
            runs.setdefault(run, {})[stage] = load()
    return study_table(list(runs.values()), (LABEL, *taxonomy.field_names))


def page(
    samples: pd.DataFrame,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    table_2: pd.DataFrame,
    table_3: pd.DataFrame,
    **stages: pd.DataFrame,
) -> str:
    """The report page: tables, learning curves and test photos with truth and predictions.

    Args:
        samples: the test split.
        taxonomy: gives labels and fields.
        vlm_params: gives the model in use.
        table_2: of all models.
        table_3: of this model.
        stages: ``predictions_<stage>`` and ``history_<stage>``.
    """
    predictions = {
        k.removeprefix("predictions_"): v for k, v in stages.items() if k.startswith("predictions_")
    }
    histories = {k.removeprefix("history_"): v for k, v in stages.items() if k.startswith("history_")}
    return render_page(
        vlm_params.model,
        taxonomy,
        {"Table II": table_2, "Table III": table_3},
        histories,
        samples,
        predictions,
        {},
        PHOTOS_FROM_PAGE,
    )


def _prediction(answer: Answer, taxonomy: Taxonomy, vlm: Vlm) -> dict[str, Any]:
    report = parse_report(answer.text, taxonomy, vlm.frame)
    objects = to_objects(report.findings, vlm.frame)
    # An element that is no object has no place in the text of its own: it ranks last.
    scores = answer.scores if len(answer.scores) == len(objects) else (float("-1e9"),) * len(objects)
    return {
        "text": answer.text,
        "objects": json.dumps([{**o, "score": s} for o, s in zip(objects, scores, strict=True)]),
        "valid_json": report.valid_json,
        "schema_true": report.schema_true,
        "n_tokens": answer.n_tokens,
        "finished": answer.finished,
    }
