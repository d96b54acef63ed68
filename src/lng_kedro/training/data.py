"""Samples on disk (processed frame) -> TRL's datasets, in the frame that the model speaks."""

import json
from itertools import chain
from typing import Any, Self

import numpy as np
import pandas as pd
from PIL.JpegImagePlugin import JpegImageFile

from lng_kedro.geometry import Frame
from lng_kedro.imaging import PhotoFolder, broken_photo
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
    return _dataset(samples, photos, {"prompt": prompts, "completion": completions})


def grpo_dataset(samples: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy, frame: Frame) -> Any:
    """Columns photo_id, prompt, images, ground_truth and answer.

    The ground truth is the true report in the model's frame, the answer the text that should be written: the
    report behind a line of reasoning.

    Args:
        samples: columns photo_id and ground_truth.
        photos: the processed photos.
        taxonomy: the report schema.
        frame: the coordinate frame in which the model is spoken with.
    """
    prompt = chat_prompt(taxonomy, frame, reasoning=True)
    objects = [json.loads(truth) for truth in samples["ground_truth"]]
    truths = [to_json(found, taxonomy, frame) for found in objects]
    pairs = zip(truths, objects, strict=True)
    answers = [chat_completion(truth, found, reasoning=True)[0]["content"] for truth, found in pairs]
    columns = {"photo_id": samples["photo_id"].tolist(), "prompt": [prompt] * len(samples)}
    return _dataset(samples, photos, {**columns, "ground_truth": truths, "answer": answers})


def _dataset(samples: pd.DataFrame, photos: PhotoFolder, columns: dict[str, list[Any]]) -> Any:
    from datasets import Dataset

    paths = [[str(photos.path(photo_id))] for photo_id in samples["photo_id"]]
    return Dataset.from_dict({**columns, "images": paths}).with_transform(_open_photos)


class _SharedPhoto(JpegImageFile):
    """A processed photo, not decoded yet. GRPO's trainer copies its photos, which would decode any other."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self


def _open_photos(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Photos that are not decoded yet: `CachedImageProcessor` decodes those that it has not met.

    Each is opened once a batch, however many candidates it has there.
    """
    opened = {path: _open_photo(path) for path in chain.from_iterable(batch["images"])}
    return {**batch, "images": [[opened[path] for path in paths] for paths in batch["images"]]}


def _open_photo(path: str) -> _SharedPhoto:
    try:
        return _SharedPhoto(path)
    except FileNotFoundError:
        raise
    except (SyntaxError, OSError) as error:  # Pillow's ways to say that a file is no JPEG, or half of one
        raise OSError(broken_photo(path, error)) from error
