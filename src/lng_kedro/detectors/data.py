"""Samples (processed frame) -> a folder as ultralytics trains on, and which photos are for what."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import BBOX


def training_samples(test: pd.DataFrame, *splits: pd.DataFrame) -> pd.DataFrame:
    """All photos of the training splits together.

    Args:
        test: the test split.
        splits: the training splits; columns photo_id, ground_truth, and sha256 where it is known.

    Raises:
        ValueError: a test photo is among them.
    """
    samples = pd.concat(
        [split.filter(["photo_id", "ground_truth", "sha256"]) for split in splits], ignore_index=True
    )
    shared = sorted(set(samples["photo_id"]) & set(test["photo_id"]))
    if shared:
        raise ValueError(
            f"{len(shared)} test photos are among the training photos ({', '.join(shared[:3])}): "
            "run data_processing again"
        )
    return samples


def hold_out(samples: pd.DataFrame, share: float, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Photos to train on, and photos held out, on which training is watched and the threshold is chosen.

    Args:
        samples: of all training splits.
        share: of the photos to hold out; at least one is.
        seed: of the draw.
    """
    chosen = np.random.default_rng(seed).permutation(len(samples))[: max(round(share * len(samples)), 1)]
    held_out = np.isin(np.arange(len(samples)), chosen)
    return samples[~held_out], samples[held_out]


def write_dataset(
    folder: Path,
    parts: dict[str, pd.DataFrame],
    photos: PhotoFolder,
    field: str,
    classes: Sequence[str],
) -> Path:
    """Writes photos (links) and labels in YOLO's form: class, centre, width and height as fractions.

    A photo without objects has an empty file: all of it is background.

    Args:
        folder: made anew.
        parts: ``train`` and ``val`` -> their samples.
        photos: the processed photos.
        field: the field whose values are the classes.
        classes: these values; their order numbers them.

    Returns:
        The file that describes the dataset.

    Raises:
        ValueError: an object's value is no class.
    """
    shutil.rmtree(folder, ignore_errors=True)
    for part, samples in parts.items():
        images, labels = folder / "images" / part, folder / "labels" / part
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for photo_id, truth in zip(samples["photo_id"], samples["ground_truth"], strict=True):
            (images / f"{photo_id}.jpg").symlink_to(photos.path(photo_id).resolve())
            lines = [_line(o, field, classes, photo_id) for o in json.loads(truth)]
            (labels / f"{photo_id}.txt").write_text("".join(f"{line}\n" for line in lines))
    about = {"path": str(folder.resolve()), "names": dict(enumerate(classes))}
    about |= {part: f"images/{part}" for part in parts}
    file = folder / "dataset.yaml"
    file.write_text(yaml.safe_dump(about, allow_unicode=True), encoding="utf-8")
    return file


def _line(item: dict[str, Any], field: str, classes: Sequence[str], photo_id: str) -> str:
    if item[field] not in classes:
        raise ValueError(f"Photo {photo_id}: {field} '{item[field]}' is none of {', '.join(classes)}")
    x_min, y_min, x_max, y_max = (value / PROCESSED_SIZE for value in item[BBOX])
    numbers = ((x_min + x_max) / 2, (y_min + y_max) / 2, x_max - x_min, y_max - y_min)
    return " ".join([str(classes.index(item[field])), *(f"{n:.6f}" for n in numbers)])
