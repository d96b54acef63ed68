"""Stored predictions and metrics: what they hold, and whether they are of the present test split."""

import json
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.metrics import Scores
from lng_kedro.quarantine import DataError
from lng_kedro.taxonomy import Taxonomy

logger = logging.getLogger(__name__)

Document = Mapping[str, Any]
"""Metrics of a stage or detector, as `metrics_document` makes them."""

Stored = Mapping[str, Callable[[], Any]]
"""Name of a stored file -> its loader."""


def match_photos(
    predictions: pd.DataFrame,
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    stage: str,
    constrained: bool = False,
) -> Scores:
    """Stored predictions matched with the truth.

    Args:
        predictions: of a stage, a row a photo in whatever order.
        samples: the test split (photo_id, ground_truth).
        photos: the processed photos.
        taxonomy: the report schema.
        stage: for the message.
        constrained: whether they have to be of answers that could be nothing but reports.

    Raises:
        ValueError: the predictions are of other photos or another report schema, or of the other kind.
    """
    check_predictions(predictions, samples, photos, taxonomy, stage, constrained)
    found = predictions.set_index("photo_id").loc[samples["photo_id"]]
    also = {name: found[name].tolist() for name in ("valid_json", "schema_true")}
    meant = samples["ground_truth"].map(json.loads).tolist()
    return Scores(objects_of(predictions, samples), meant, taxonomy, also)


def objects_of(predictions: pd.DataFrame, samples: pd.DataFrame) -> list[list[dict[str, Any]]]:
    """Predicted objects of each photo, in the order of the test split."""
    texts = predictions.set_index("photo_id")["objects"].loc[samples["photo_id"]]
    return [json.loads(text) for text in texts]


def predictions_hash(predictions: pd.DataFrame) -> str:
    """SHA-256 of what was said of each photo, in whatever order: which predictions metrics are of."""
    said = sorted(predictions["photo_id"] + " " + predictions["objects"])
    return sha256("\n".join(said).encode()).hexdigest()


def prediction_hashes(samples: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy) -> dict[str, str]:
    """What predictions are marked with: columns photos_sha256 and taxonomy_sha256."""
    return {
        "photos_sha256": photos.hash_of_all(samples["photo_id"]),
        "taxonomy_sha256": taxonomy.digest,
    }


def check_predictions(
    predictions: pd.DataFrame,
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    who: str,
    constrained: bool = False,
) -> None:
    """Refuses stored predictions that are not of the present test photos.

    Args:
        predictions: marked with `prediction_hashes`.
        samples: the test split.
        photos: the processed photos.
        taxonomy: the report schema.
        who: made them, for the message.
        constrained: as of `match_photos`.

    Raises:
        ValueError: they are of other photos or another report schema, or of the other kind.
    """
    expected = prediction_hashes(samples, photos, taxonomy)
    if problem := _foreign(predictions, len(samples), expected, constrained):
        raise DataError(f"The stored predictions of '{who}' are of {problem}: run its evaluation again")


def metrics_document(
    scores: Scores,
    predictions: pd.DataFrame,
    samples: pd.DataFrame,
    photos: PhotoFolder,
    intervals: Mapping[str, tuple[float, float]],
) -> dict[str, Any]:
    """All that is stored of a stage's figures, ready for JSON.

    Returns:
        ``about`` (numbers of photos and objects; hashes of the predictions, of the test split with its truth
        and of the taxonomy; whether answers were constrained), ``metrics`` (see `Scores`), ``intervals``
        (figure -> 95 % interval), ``labels``, ``sizes``, ``numbers`` and ``confusion`` (see the methods of
        `Scores`).
    """
    return {
        "about": {
            "photos": scores.n_photos,
            "objects": scores.n_objects,
            "predictions_sha256": predictions_hash(predictions),
            "constrained": _of_constrained(predictions),
            **of_split(samples, photos, scores.taxonomy),
        },
        "metrics": scores.figures(),
        "intervals": {name: list(ends) for name, ends in intervals.items() if not math.isnan(ends[0])},
        "labels": scores.labels(),
        "sizes": scores.sizes(),
        "numbers": scores.numbers(),
        "confusion": scores.confusion(),
    }


def current_metrics(
    stored: Mapping[str, Callable[[], Document]],
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    constrained: bool = False,
) -> dict[str, dict[str, Document]]:
    """Stored metrics that are of the present test split: model -> stage -> document.

    Others are left out, and said.

    Args:
        stored: ``model/stage`` -> loader.
        samples: the test split.
        photos: the processed photos.
        taxonomy: the report schema.
        constrained: as of `match_photos`; a detector has no answers to constrain.
    """
    expected = of_split(samples, photos, taxonomy)
    found: dict[str, dict[str, Document]] = {}
    for name, load in sorted(stored.items()):
        document = load()
        model, _, stage = name.partition("/")
        about = document.get("about", {})
        if not expected.items() <= about.items():
            logger.warning("Left out: the metrics of %s are of another test split or taxonomy.", name)
        elif about.get("constrained", False) not in (constrained, None):
            logger.warning("Left out: the metrics of %s are of %s.", name, _kind(not constrained))
        else:
            found.setdefault(model, {})[stage] = document
    return found


def current_predictions(
    stored: Mapping[str, Callable[[], pd.DataFrame]],
    stages: Iterable[str],
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    constrained: bool = False,
) -> dict[str, pd.DataFrame]:
    """Stored predictions of the present test photos, of those stages that there are.

    Others are left out, and said.

    Args:
        stored: ``predictions_<stage>`` -> loader.
        stages: in the order that is wanted.
        samples: the test split.
        photos: the processed photos.
        taxonomy: the report schema.
        constrained: as of `match_photos`.
    """
    expected = prediction_hashes(samples, photos, taxonomy)
    found = {}
    for stage in stages:
        if f"predictions_{stage}" not in stored:
            continue
        predictions = stored[f"predictions_{stage}"]()
        if problem := _foreign(predictions, len(samples), expected, constrained):
            logger.warning("Left out: the predictions of %s are of %s.", stage, problem)
        else:
            found[stage] = predictions
    return found


def data_hash(samples: pd.DataFrame, photos: PhotoFolder) -> str:
    """SHA-256 of samples in their order: ids, true answers and the bytes of the photos."""
    whole = sha256()
    for photo_id, truth in zip(samples["photo_id"], samples["ground_truth"], strict=True):
        whole.update(json.dumps([photo_id, truth, photos.hash_of(photo_id)]).encode())
    return whole.hexdigest()


def of_split(samples: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy) -> dict[str, str]:
    """Hashes of a test split with its truth, and of the report schema: what a figure is of."""
    whole = sha256(taxonomy.model_dump_json().encode()).hexdigest()
    return {"data_sha256": data_hash(samples, photos), "taxonomy_sha256": whole}


def _of_constrained(predictions: pd.DataFrame) -> bool:
    # Earlier versions knew no such answers.
    return "constrained" in predictions and bool(predictions["constrained"].any())


def _kind(constrained: bool) -> str:
    return f"{'constrained' if constrained else 'unconstrained'} answers"


def _foreign(
    predictions: pd.DataFrame, number: int, expected: Mapping[str, str], constrained: bool
) -> str | None:
    """Of what else the predictions are; None where they are of the present photos."""
    if not expected.keys() <= set(predictions.columns):
        return "an earlier version"
    if len(predictions) != number or (predictions["photos_sha256"] != expected["photos_sha256"]).any():
        return "other test photos"
    if (predictions["taxonomy_sha256"] != expected["taxonomy_sha256"]).any():
        return "another report schema"
    if number and _of_constrained(predictions) != constrained:
        return _kind(not constrained)
    return None
