"""Nodes of baselines."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.detectors.data import training_samples
from lng_kedro.detectors.model import Detector, detect, load_detector, read_about, weights_hash
from lng_kedro.detectors.params import BaselinesParams, DetectorParams, TargetParams
from lng_kedro.detectors.scores import AP, detector_metrics
from lng_kedro.detectors.train import train_detector
from lng_kedro.imaging import PhotoFolder
from lng_kedro.results import check_predictions, objects_of, of_split, prediction_hashes
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.tracking import track_detector
from lng_kedro.unseen import check_unseen


def train(
    sft_samples: pd.DataFrame,
    grpo_samples: pd.DataFrame,
    test_samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    params: BaselinesParams,
    chosen: DetectorParams,
    target: TargetParams,
) -> tuple[Detector, pd.DataFrame]:
    """Trains a detector of one field on all training photos; MLflow is told under ``<name>.<field>``."""
    samples = training_samples(test_samples, sft_samples, grpo_samples)
    tracker = track_detector(f"{chosen.name}.{target.field}", samples, photos, params, chosen)
    return train_detector(samples, photos, taxonomy, params, chosen, target, tracker)


def predict(
    samples: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy, params: BaselinesParams, folder: Path
) -> pd.DataFrame:
    """What a detector finds in each test photo, of any score, in the form of a stage's predictions.

    Raises:
        ValueError: it has learned from test photos.
    """
    about = read_about(folder)
    check_unseen(about.learned_from, samples, f"{about.name} ({about.field})")
    loaders = [partial(photos.load, photo_id) for photo_id in samples["photo_id"]]
    found = list(detect(load_detector(folder, params.work_dir), loaders, taxonomy, params))
    return pd.DataFrame(
        {
            "photo_id": samples["photo_id"].to_numpy(),
            "text": "",
            "objects": [json.dumps(objects) for objects in found],
            "valid_json": True,
            "schema_true": False,
            "n_tokens": 0,
            "finished": True,
            "weights_sha256": weights_hash(folder),
            **prediction_hashes(samples, photos, taxonomy),
            "constrained": False,
        }
    )


def score(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    label: pd.DataFrame,
    quality: pd.DataFrame,
    label_detector: Path,
    quality_detector: Path,
) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
    """Figures of one architecture, as fractions: for the file and, in MLflow's form, for the run.

    Raises:
        ValueError: the predictions are of other photos or another report schema.
    """
    said = {"label": label, "quality": quality}
    abouts = {"label": read_about(label_detector), "quality": read_about(quality_detector)}
    for field, table in said.items():
        check_predictions(table, samples, photos, taxonomy, f"{abouts[field].name} ({field})")
    thresholds = {field: about.threshold for field, about in abouts.items()}
    metrics = detector_metrics(
        {field: objects_of(table, samples) for field, table in said.items()},
        thresholds,
        samples["ground_truth"].map(json.loads).tolist(),
        taxonomy,
    )
    of_thresholds = {f"threshold_{field}": value for field, value in thresholds.items()}
    name = abouts["label"].name
    figures = metrics | of_thresholds
    tracked = {f"{name}/{figure}": {"value": value, "step": 0} for figure, value in figures.items()}
    about = {"name": name, "constrained": None, **of_split(samples, photos, taxonomy)}
    labels = {k.removeprefix(AP): {"ap_50": v} for k, v in metrics.items() if k.startswith(AP)}
    document = {"about": about, "metrics": metrics, "intervals": {}, "labels": labels, **of_thresholds}
    return document, tracked
