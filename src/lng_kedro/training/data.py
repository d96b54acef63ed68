"""Samples on disk (processed frame) -> TRL's datasets, in the frame that the model speaks."""

import json
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from lng_kedro.geometry import Frame
from lng_kedro.imaging import PhotoFolder
from lng_kedro.prompts import chat_completion, chat_prompt
from lng_kedro.report import to_json
from lng_kedro.taxonomy import Taxonomy


def sft_dataset(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    frame: Frame,
    reasoning_share: float,
    seed: int,
) -> Any:
    """Columns prompt, completion and images: TRL then counts the loss on the completion only.

    The column length, by which samples are grouped to batches, is that of the completion in characters.

    Args:
        samples: columns photo_id and ground_truth.
        photos: the processed photos.
        taxonomy: the report schema.
        frame: the coordinate frame in which the model is spoken with.
        reasoning_share: share of samples shown in the GRPO stage's form, with ``<think>``.
        seed: of the choice of these samples.
    """
    reasoned = np.random.default_rng(seed).random(len(samples)) < reasoning_share
    prompts, completions = [], []
    for truth, reasoning in zip(samples["ground_truth"], reasoned, strict=True):
        objects = json.loads(truth)
        report = to_json(objects, taxonomy, frame)
        prompts.append(chat_prompt(taxonomy, frame, bool(reasoning)))
        completions.append(chat_completion(report, objects, bool(reasoning)))
    lengths = [len(completion[0]["content"]) for completion in completions]
    return _dataset(samples, photos, {"prompt": prompts, "completion": completions, "length": lengths})


def grpo_dataset(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    frame: Frame,
    photos_per_step: int = 1,
    seed: int = 0,
) -> Any:
    """Columns prompt, images and ground_truth (the true report in the model's frame), in random order.

    Args:
        samples: columns photo_id and ground_truth.
        photos: the processed photos.
        taxonomy: the report schema.
        frame: the coordinate frame in which the model is spoken with.
        photos_per_step: so many photos that follow each other have reports of similar length. A step is as
            long as its longest report.
        seed: of the order.
    """
    import torch
    from transformers.trainer_pt_utils import get_length_grouped_indices

    lengths = samples["ground_truth"].str.len().tolist()
    generator = torch.Generator().manual_seed(seed)
    ordered = samples.iloc[get_length_grouped_indices(lengths, photos_per_step, generator=generator)]
    prompt = chat_prompt(taxonomy, frame, reasoning=True)
    truths = [to_json(json.loads(truth), taxonomy, frame) for truth in ordered["ground_truth"]]
    return _dataset(ordered, photos, {"prompt": [prompt] * len(ordered), "ground_truth": truths})


def _dataset(samples: pd.DataFrame, photos: PhotoFolder, columns: dict[str, list[Any]]) -> Any:
    from datasets import Dataset

    paths = [[str(photos.path(photo_id))] for photo_id in samples["photo_id"]]
    return Dataset.from_dict({**columns, "images": paths}).with_transform(_open_photos)


def _open_photos(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Photos that are not decoded yet: `CachedImageProcessor` decodes those that it has not met."""
    if "images" not in batch:  # a single column is asked for, as that of lengths is
        return batch
    return {**batch, "images": [[Image.open(path) for path in paths] for paths in batch["images"]]}
