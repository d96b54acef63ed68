"""Samples on disk (processed frame) -> TRL's datasets, in the frame that the model speaks."""

import json
from itertools import chain
from typing import Any, Self

import numpy as np
import pandas as pd
from PIL.JpegImagePlugin import JpegImageFile

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
    """Columns prompt, images, ground_truth and answer, in random order.

    The ground truth is the true report in the model's frame, the answer the text that should be written: the
    report behind a line of reasoning.

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
    order = get_length_grouped_indices(lengths, photos_per_step, generator=generator)
    # It goes from long to short again and again; steps in random order make a reward's curve readable. The
    # trainer drops a step that is not full: it must be the last.
    steps = [order[i : i + photos_per_step] for i in range(0, len(order), photos_per_step)]
    shuffled = [steps[i] for i in torch.randperm(len(steps), generator=generator).tolist()]
    shuffled.sort(key=len, reverse=True)
    ordered = samples.iloc[list(chain.from_iterable(shuffled))]
    prompt = chat_prompt(taxonomy, frame, reasoning=True)
    objects = [json.loads(truth) for truth in ordered["ground_truth"]]
    truths = [to_json(found, taxonomy, frame) for found in objects]
    pairs = zip(truths, objects, strict=True)
    answers = [chat_completion(truth, found, reasoning=True)[0]["content"] for truth, found in pairs]
    prompts = [prompt] * len(ordered)
    return _dataset(ordered, photos, {"prompt": prompts, "ground_truth": truths, "answer": answers})


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
    if "images" not in batch:  # a single column is asked for, as that of lengths is
        return batch
    opened = {path: _open_photo(path) for path in chain.from_iterable(batch["images"])}
    return {**batch, "images": [[opened[path] for path in paths] for paths in batch["images"]]}


def _open_photo(path: str) -> _SharedPhoto:
    try:
        return _SharedPhoto(path)
    except FileNotFoundError:
        raise
    except (SyntaxError, OSError) as error:  # Pillow's ways to say that a file is no JPEG, or half of one
        raise OSError(f"{path} is no whole photo ({error}); run data_processing again") from error
