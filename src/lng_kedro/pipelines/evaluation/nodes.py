"""Nodes of evaluation."""

import json
from functools import partial
from itertools import repeat
from math import isfinite
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.bootstrap import intervals
from lng_kedro.coco import coco_results
from lng_kedro.imaging import PhotoFolder
from lng_kedro.pipelines.evaluation.params import EvaluationParams, StageParams
from lng_kedro.pipelines.evaluation.schemas import Predictions
from lng_kedro.prompts import chat_prompt
from lng_kedro.report import parse_report, to_objects
from lng_kedro.results import check_unseen, match_photos, metrics_document, objects_of, prediction_hashes
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.vlm.adapter import adapter_hash, learned_from
from lng_kedro.vlm.answers import answer_file, answers_on_disk
from lng_kedro.vlm.generate import Answer
from lng_kedro.vlm.load import Vlm, load_vlm
from lng_kedro.vlm.spec import VlmParams

LAST = -1e9
"""Score of an object of which the model's own is not known: it ranks last."""


def predict(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: EvaluationParams,
    stage: StageParams,
    adapter: Path | None = None,
) -> pd.DataFrame:
    """What a stage says about each test photo, as `schemas.Predictions`; goes on where it was cut off.

    Raises:
        ValueError: the adapter has learned from test photos.
    """
    check_unseen(learned_from(adapter), samples, stage.name)
    vlm = load_vlm(vlm_params, adapter=adapter)
    prompt = chat_prompt(taxonomy, vlm.frame, stage.reasoning)
    about = {"weights_sha256": adapter_hash(adapter), **prediction_hashes(samples, photos, taxonomy)}
    asked = [vlm_params.fingerprint(), json.dumps(prompt), str(params.max_new_tokens)]
    file = answer_file(params.work_dir / stage.name, *asked, *about.values(), *samples["photo_id"])
    loaders = [partial(photos.load, photo_id) for photo_id in samples["photo_id"]]
    answers = answers_on_disk(file, vlm, prompt, loaders, params.batch_size, params.max_new_tokens)
    rows = [
        {"photo_id": photo_id, **_prediction(answer, taxonomy, vlm), **about}
        for photo_id, answer in zip(samples["photo_id"], answers, strict=True)
    ]
    return pd.DataFrame(rows, columns=list(Predictions.to_schema().columns))


def score(
    predictions: pd.DataFrame,
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    params: EvaluationParams,
    stage: StageParams,
) -> tuple[dict[str, Any], dict[str, dict[str, float]], list[dict[str, Any]]]:
    """Metrics of one stage from its stored predictions: no model is needed.

    Returns:
        The document of `results.metrics_document`; its figures in MLflow's form; COCO's results.

    Raises:
        ValueError: the predictions are of other photos or another report schema.
    """
    scores = match_photos(predictions, samples, photos, taxonomy, stage.name)
    document = metrics_document(
        scores, predictions, samples, photos, intervals(scores, params.resamples, params.seed)
    )
    figures = document["metrics"]
    tracked = {f"{stage.name}/{name}": {"value": value, "step": 0} for name, value in figures.items()}
    return document, tracked, coco_results(objects_of(predictions, samples), taxonomy)


def _prediction(answer: Answer, taxonomy: Taxonomy, vlm: Vlm) -> dict[str, Any]:
    report = parse_report(answer.text, taxonomy, vlm.frame)
    objects = to_objects(report.findings, vlm.frame)
    # What follows an element that is no object has no place of its own in the text.
    scores = [*answer.scores, *repeat(LAST, len(objects))][: len(objects)]
    return {
        "text": answer.text,
        "objects": json.dumps(
            [{**o, "score": s if isfinite(s) else LAST} for o, s in zip(objects, scores, strict=True)]
        ),
        "valid_json": report.valid_json,
        "schema_true": report.schema_true,
        "n_tokens": answer.n_tokens,
        "finished": answer.finished,
    }
