"""Nodes of data_processing."""

import json
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd

from lng_kedro.aihub.folder import AIHubFolder, stem
from lng_kedro.aihub.labels import LabelReader, Row
from lng_kedro.aihub.split import balanced_split
from lng_kedro.coco import coco_truth
from lng_kedro.compute import parallel_map
from lng_kedro.geometry import PROCESSED_SIZE, coco_to_corners
from lng_kedro.imaging import PhotoFolder, process_photo
from lng_kedro.pipelines.data_processing.params import DataProcessingParams
from lng_kedro.prompts import chat_completion, chat_prompt
from lng_kedro.quarantine import LEFT_OUT, Rejected
from lng_kedro.report import to_json
from lng_kedro.taxonomy import BBOX, Taxonomy

PHOTO_CHUNK = 256
"""Photos written to disk at a time."""

MANIFEST_COLUMNS = ["photo_id", "photo", "label_file", "photo_category_id", "width", "height"]
MANIFEST_COLUMNS += ["category_id", "label", "x", "y", "w", "h", "box_source"]


def read_labels(
    raw: AIHubFolder, taxonomy: Taxonomy, params: DataProcessingParams
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads every label file: the manifest, and the quarantine of what cannot be used."""
    photos, repeated = _by_stem(list(raw.photos()))
    labels, repeated_labels = _by_stem(list(raw.labels()))
    rejected = [Rejected("duplicate", "another file has this name").row(locator) for locator in repeated]
    rejected += [
        Rejected("duplicate", "another label has this name").row(locator) for locator in repeated_labels
    ]
    rejected += [
        Rejected("photo_without_label", "no label file has this name").row(photos[name])
        for name in photos
        if name not in labels
    ]
    reader = LabelReader(taxonomy, skip_boxless=params.boxless == "skip")
    rows: list[Row] = []
    for name, locator in labels.items():
        kept, refused = reader.read(locator, raw.read(locator), photos.get(name))
        rows += kept
        rejected += refused
    _check_rejected(rejected, len(photos), params.max_rejected_share)
    columns = [*MANIFEST_COLUMNS, *taxonomy.fields, "filled"]
    quarantine = pd.DataFrame(rejected, columns=["file", "reason", "detail"]).sort_values(
        "file", kind="stable"
    )
    return _typed(pd.DataFrame(rows, columns=columns)), quarantine.reset_index(drop=True)


def taxonomy_of_data(taxonomy: Taxonomy, manifest: pd.DataFrame, params: DataProcessingParams) -> Taxonomy:
    """The taxonomy of this run: values that only its data hold, optional fields that it asks for.

    Raises:
        ValueError: an optional field is asked for that does not exist or that some objects lack.
    """
    objects = manifest[manifest["label"].notna()]
    for name in params.optional_fields:
        if name not in taxonomy.fields:
            raise ValueError(f"optional_fields: the taxonomy has no field '{name}'")
        lacking = int(objects[name].isna().sum())
        if lacking:
            raise ValueError(f"optional_fields: {lacking} of {len(objects)} objects have no '{name}'")
    names = [n for n, f in taxonomy.fields.items() if not f.optional or n in params.optional_fields]
    return taxonomy.with_data_values({name: objects[name].unique() for name in names})


def split_photos(manifest: pd.DataFrame, taxonomy: Taxonomy, params: DataProcessingParams) -> pd.DataFrame:
    """Chooses the photos of each split; labels whose objects are skipped have none."""
    if params.boxless == "skip":
        boxed = tuple(o for o in taxonomy.labels if o.defective_id not in taxonomy.boxless_ids)
        taxonomy = taxonomy.model_copy(update={"labels": boxed})
    return balanced_split(
        manifest,
        taxonomy,
        params.per_label.model_dump(),
        params.good_share,
        params.negative_share,
        params.seed,
    )


def corner_boxes(manifest: pd.DataFrame, split: pd.DataFrame) -> pd.DataFrame:
    """Objects of the chosen photos with corners in the processed frame, eqs (1)-(4).

    The order within a photo is from top to bottom, then left to right: one that can be seen.
    """
    objects = manifest[manifest["label"].notna()].merge(split[["photo_id", "split"]], on="photo_id")
    corners = [
        coco_to_corners((x, y, w, h), width, height, PROCESSED_SIZE)
        for x, y, w, h, width, height in objects[["x", "y", "w", "h", "width", "height"]].itertuples(
            index=False
        )
    ]
    sides = ["x_min", "y_min", "x_max", "y_max"]
    objects[sides] = pd.DataFrame(corners, columns=sides, index=objects.index, dtype=float)
    kept = objects.drop(columns=["photo", "label_file", "x", "y", "w", "h", "width", "height"])
    return kept.sort_values(["photo_id", "y_min", "x_min"], ignore_index=True)


def resize_photos(
    raw: AIHubFolder, manifest: pd.DataFrame, split: pd.DataFrame, params: DataProcessingParams
) -> Iterator[dict[str, bytes]]:
    """Decodes, squeezes and encodes the chosen photos, in parallel; yields some at a time."""
    chosen = manifest.drop_duplicates("photo_id").merge(split[["photo_id"]], on="photo_id")
    work = partial(_resize, raw, PROCESSED_SIZE, params.jpeg_quality, params.max_pixels)
    jpegs = parallel_map(work, chosen["photo"], len(chosen), params.compute, "Photos")
    chunk: dict[str, bytes] = {}
    for photo_id, jpeg in zip(chosen["photo_id"], jpegs, strict=True):
        chunk[photo_id] = jpeg
        if len(chunk) == PHOTO_CHUNK:
            yield chunk
            chunk = {}
    yield chunk


def chat_samples(
    split: pd.DataFrame, objects: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One chat a photo for SFT, GRPO and test, in the processed frame.

    Raises:
        FileNotFoundError: a chosen photo is not in the folder.
    """
    of_photo = dict(list(objects.groupby("photo_id")))
    rows = []
    for photo_id, name, label in split[["photo_id", "split", "photo_label"]].itertuples(index=False):
        if not photos.path(photo_id).is_file():
            raise FileNotFoundError(f"{photos.path(photo_id)} is missing: run data_processing again")
        findings = [
            {str(k): v for k, v in row.items()}
            | {BBOX: (row["x_min"], row["y_min"], row["x_max"], row["y_max"])}
            for row in (of_photo[photo_id].to_dict("records") if photo_id in of_photo else [])
        ]
        report = to_json(findings, taxonomy)
        # GRPO asks for reasoning by its system prompt; the other two show the SFT prompt (section III.B).
        reasoning = name == "grpo"
        rows.append(
            {
                "split": name,
                "photo_id": photo_id,
                "photo_label": label,
                "prompt": chat_prompt(taxonomy, reasoning=reasoning),
                "completion": chat_completion(report, json.loads(report), reasoning),
                "ground_truth": report,
            }
        )
    columns = ["split", "photo_id", "photo_label", "prompt", "completion", "ground_truth"]
    samples = pd.DataFrame(rows, columns=columns)
    sft, grpo, test = (
        samples[samples["split"] == name].drop(columns="split").reset_index(drop=True)
        for name in ("sft", "grpo", "test")
    )
    return sft, grpo, test


def truth_of_test(samples: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, Any]:
    """The test split in COCO's form."""
    return coco_truth(samples["photo_id"].tolist(), samples["ground_truth"].map(json.loads), taxonomy)


def _resize(raw: AIHubFolder, size: int, quality: int, max_pixels: int, locator: str) -> bytes:
    try:
        return process_photo(raw.read(locator), size, quality, max_pixels).jpeg
    except Rejected as error:
        raise ValueError(
            f"{raw.root / locator} is not a photo that can be decoded: {error.detail}"
        ) from error


def _by_stem(locators: list[str]) -> tuple[dict[str, str], list[str]]:
    """Name -> first file of that name, and the other files of names seen before."""
    first: dict[str, str] = {}
    repeated = [locator for locator in locators if first.setdefault(stem(locator), locator) != locator]
    return first, repeated


def _check_rejected(rejected: list[Row], n_photos: int, max_share: float) -> None:
    if not n_photos:
        raise ValueError("The raw dataset holds no photo: is --params raw_dir=PATH the right folder?")
    wrong = [row for row in rejected if row["reason"] not in LEFT_OUT]
    if len(wrong) > max_share * n_photos:
        counts = Counter(row["reason"] for row in wrong)
        reasons = ", ".join(f"{reason} {count}" for reason, count in counts.most_common())
        raise ValueError(
            f"{len(wrong)} rejections for {n_photos} photos, more than max_rejected_share={max_share} "
            f"allows ({reasons}); the first: {wrong[0]['file']}: {wrong[0]['detail']}"
        )


def _typed(rows: pd.DataFrame) -> pd.DataFrame:
    integers = dict.fromkeys(["photo_category_id", "width", "height", "category_id"], "int64")
    numbers = integers | dict.fromkeys(["x", "y", "w", "h"], "float64")
    texts = dict.fromkeys(rows.columns.difference(list(numbers)), "str")
    return rows.astype(numbers | texts).sort_values(["photo_id", "y", "x"], ignore_index=True)
