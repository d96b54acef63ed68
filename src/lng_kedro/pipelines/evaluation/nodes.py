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
from lng_kedro.results import match_photos, metrics_document, objects_of, prediction_hashes
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.unseen import check_unseen
from lng_kedro.vlm.adapter import adapter_hash, learned_from
from lng_kedro.vlm.answers import answer_file, answers_on_disk
from lng_kedro.vlm.constraint import compile_constraint
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import Answer
from lng_kedro.vlm.load import load_vlm
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
        ValueError: the adapter has learned from test photos; answers are to be constrained, and not even one
            finding fits into them.
    """
    check_unseen(learned_from(adapter), samples, stage.name)
    vlm = load_vlm(vlm_params, adapter=adapter)
    dialogue = Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=stage.reasoning)
    constraint = compile_constraint(vlm, dialogue, params.max_new_tokens) if params.constrained else None
    about = {"weights_sha256": adapter_hash(adapter), **prediction_hashes(samples, photos, taxonomy)}
    asked = [vlm_params.fingerprint(), json.dumps(dialogue.prompt), str(params.max_new_tokens)]
    asked += ["constrained"] if constraint else []
    file = answer_file(params.work_dir / stage.name, *asked, *about.values(), *samples["photo_id"])
    loaders = [partial(photos.load, photo_id) for photo_id in samples["photo_id"]]
    answers = answers_on_disk(
        file, vlm, dialogue.prompt, loaders, params.batch_size, params.max_new_tokens, constraint
    )
    rows = [
        {"photo_id": photo_id, **_prediction(answer, dialogue), **about, "constrained": params.constrained}
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
        ValueError: the predictions are of other photos or another report schema, or not constrained as
            `params` says.
    """
    scores = match_photos(predictions, samples, photos, taxonomy, stage.name, params.constrained)
    document = metrics_document(
        scores, predictions, samples, photos, intervals(scores, params.resamples, params.seed)
    )
    figures = document["metrics"]
    tracked = {f"{stage.name}/{name}": {"value": value, "step": 0} for name, value in figures.items()}
    return document, tracked, coco_results(objects_of(predictions, samples), taxonomy)


def _prediction(answer: Answer, dialogue: Dialogue) -> dict[str, Any]:
    report, objects = dialogue.read(answer.text)
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
