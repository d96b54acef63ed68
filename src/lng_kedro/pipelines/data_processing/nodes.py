"""Nodes of data_processing."""

import json
import logging
from collections import Counter, defaultdict
from dataclasses import replace
from typing import Any

import pandas as pd

from lng_kedro import data_summary
from lng_kedro.aihub.choice import choose, choose_all
from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.index import index_labels
from lng_kedro.aihub.label_journal import LabelJournal, key_of
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.aihub.photos import PhotoProcessor, PhotoSettings
from lng_kedro.aihub.split import SPLITS, Pool, check_enough, draw, pools_of, usable
from lng_kedro.among import among
from lng_kedro.coco import coco_truth
from lng_kedro.data_page import DataPageParams, render_data_page
from lng_kedro.data_summary import Tables
from lng_kedro.geometry import PROCESSED_SIZE, Box, coco_to_corners, upright_box, upright_size
from lng_kedro.imaging import PhotoFolder
from lng_kedro.photo_journal import PhotoJournal
from lng_kedro.pipelines.data_processing.params import DataProcessingParams, MadeWith
from lng_kedro.plots import box_sizes
from lng_kedro.prompts import chat_completion, chat_prompt
from lng_kedro.quarantine import QUARANTINE, DataError, check_share, counted
from lng_kedro.report import to_json
from lng_kedro.reviewed import corrected
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy

logger = logging.getLogger(__name__)


def read_labels(
    raw: AIHubFolder,
    taxonomy: Taxonomy,
    journal: LabelJournal,
    params: DataProcessingParams,
    reviewed: AIHubFolder | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, MadeWith]:
    """Reads every label file, those of corrected photos too, unless nothing has changed since they were read.

    Returns:
        The manifest, the quarantine of what cannot be used, and what decided both.
    """
    if reviewed:
        raw = replace(raw, reviewed=reviewed.root)
    reader = LabelReader(taxonomy, params.boxless == "skip", params.clip_boxes)
    key = key_of(raw, reader)
    labels = journal.read(key)
    if labels:
        logger.info("Labels are as they were when they were read.")
    else:
        labels = index_labels(raw, reader, params.compute)
        journal.keep(key, labels)
    manifest, quarantine = labels
    filled = data_summary.filled({"manifest": manifest}).itertuples(index=False)
    logger.info(
        "%d photos, %d objects. Filled: %s. Boxes cut: %d. Left out: %s.",
        manifest["photo_id"].nunique(),
        manifest["label"].count(),
        counted(Counter({f"{row.field}:{row.rule}": row.manifest for row in filled})),
        manifest["clipped"].sum(),
        counted(Counter(quarantine["reason"])),
    )
    archives = quarantine.loc[quarantine["reason"] == "archive", "file"]
    if len(archives):
        said = "%d archives, or files in them, cannot be read, %s for one: label_quarantine.csv says why."
        logger.warning(said, len(archives), archives.iloc[0])
    if reviewed:
        logger.info("%d of these photos were corrected (%s).", len(corrected(manifest)), reviewed.root)
    return manifest, quarantine, params.made_with(_digest(reviewed))


def taxonomy_of_data(
    taxonomy: Taxonomy,
    manifest: pd.DataFrame,
    quarantine: pd.DataFrame,
    params: DataProcessingParams,
    reviewed: AIHubFolder | None = None,
) -> tuple[Taxonomy, MadeWith]:
    """The taxonomy of this run: values that only its data hold, optional fields that it asks for.

    The first node after both tables are saved: here a run of too many bad files ends, and a person can
    open the tables.

    Raises:
        ValueError: more files are bad than the parameters allow; or an optional field is asked for that
            does not exist or that some objects lack.
    """
    _check_rejected(manifest, quarantine, params.max_rejected_share)
    objects = manifest[manifest["label"].notna()]
    for name in params.optional_fields:
        if name not in taxonomy.fields:
            raise DataError(f"optional_fields: the taxonomy has no field '{name}'")
        lacking = int(objects[name].isna().sum())
        if lacking:
            raise DataError(f"optional_fields: {lacking} of {len(objects)} objects have no '{name}'")
    names = [n for n, f in taxonomy.fields.items() if not f.optional or n in params.optional_fields]
    grown = taxonomy.with_data_values({name: objects[name].unique() for name in names})
    return grown, params.made_with(_digest(reviewed))


def draw_photos(
    manifest: pd.DataFrame,
    quarantine: pd.DataFrame,
    taxonomy: Taxonomy,
    manifest_made_with: MadeWith,
    taxonomy_made_with: MadeWith,
    reviewed: AIHubFolder,
    params: DataProcessingParams,
) -> tuple[pd.DataFrame, MadeWith]:
    """The order in which the photos of each pool are taken, corrected ones first.

    Raises:
        ValueError: too many files are bad, which ended the run that read them already; what was read before
            was read with other parameters; or some label has too few photos, and `shortfall` is `error`.
    """
    digest = _digest(reviewed)
    params.check_made_with(manifest_made_with, "ingest", digest)
    params.check_made_with(taxonomy_made_with, "ingest", digest)
    _check_rejected(manifest, quarantine, params.max_rejected_share)
    pools = _pools(taxonomy, params)
    mine = corrected(manifest)
    drawn = draw(manifest, pools, params.seed, mine)
    if params.shortfall == "error":
        check_enough(pools, usable(drawn, pools, mine))
    return drawn, params.made_with(digest)


def process_photos(
    raw: AIHubFolder,
    reviewed: AIHubFolder,
    manifest: pd.DataFrame,
    drawn: pd.DataFrame,
    draw_made_with: MadeWith,
    taxonomy: Taxonomy,
    journal: PhotoJournal,
    params: DataProcessingParams,
) -> tuple[PhotoFolder, pd.DataFrame, pd.DataFrame, MadeWith]:
    """Decodes photos in the order drawn, those that are not finished yet, until every split is full.

    Returns:
        The folder of processed photos, the chosen ones with their splits, the quarantine of those that were
        looked at and not taken, and what decided it all.

    Raises:
        ValueError: too many photos cannot be used, or too few can and `shortfall` is `error`; or the draw was
            made of another manifest or with other parameters.
    """
    digest = _digest(reviewed)
    params.check_made_with(draw_made_with, "split", digest)
    pools = _pools(taxonomy, params)
    _check_not_older("draw", drawn.loc[~among(drawn["photo_id"], manifest["photo_id"]), "photo_id"])
    settings = PhotoSettings(PROCESSED_SIZE, params.jpeg_quality, params.max_pixels)
    both = replace(raw, reviewed=reviewed.root)
    processor = PhotoProcessor(both, manifest, journal, settings, params.compute, params.max_rejected_share)
    order = {str(pool): photo_ids for pool, photo_ids in drawn.groupby("pool")["photo_id"]}
    take = choose_all if params.shortfall == "take_all" else choose
    mine = frozenset(corrected(manifest))
    choice = take(order, pools, processor.look, params.near_duplicate_bits, mine)
    found = choice.found
    if params.shortfall == "error":
        check_enough(pools, found, choice.refused.values())
    for pool in pools:
        if found[pool.name] < pool.needed:
            logger.warning("Too few photos: %s", pool.missing(found[pool.name]))
    without_place = Counter(p.detail for p in choice.refused.values() if p.reason == "no_place")
    for detail, number in without_place.items():
        logger.warning("%d corrected photos have no place: %s", number, detail)
    refused = [problem.row(processor.locator(photo_id)) for photo_id, problem in choice.refused.items()]
    quarantine = pd.DataFrame(refused, columns=QUARANTINE).sort_values("file", ignore_index=True)
    return journal.folder, choice.table(), quarantine, params.made_with(digest)


def split_counts(
    manifest: pd.DataFrame,
    drawn: pd.DataFrame,
    split: pd.DataFrame,
    taxonomy: Taxonomy,
    params: DataProcessingParams,
) -> pd.DataFrame:
    """Photos wanted and taken of each pool and split, and the objects of its ids that the split shows.

    A photo counts for the id in its name, an object for its own: a photo of a crack may show a scratch.
    """
    pools = _pools(taxonomy, params)
    pool_of_id = {i: pool.name for pool in pools for i in pool.ids}
    photos = split.merge(drawn[["photo_id", "pool"]], on="photo_id").groupby(["pool", "split"]).size()
    objects = manifest[manifest["label"].notna()].merge(split[["photo_id", "split"]], on="photo_id")
    seen = objects.groupby([objects["category_id"].map(pool_of_id), "split"]).size()
    return pd.DataFrame(
        [
            {
                "pool": pool.name,
                "label": pool.label,
                "split": name,
                "wanted": wanted,
                "got": int(photos.get((pool.name, name), 0)),
                "objects": int(seen.get((pool.name, name), 0)),
            }
            for pool in pools
            for name, wanted in pool.wanted.items()
        ]
    )


def corner_boxes(
    manifest: pd.DataFrame,
    split: pd.DataFrame,
    split_made_with: MadeWith,
    reviewed: AIHubFolder,
    params: DataProcessingParams,
) -> pd.DataFrame:
    """Objects of the chosen photos with corners in the processed frame, eqs (1)-(4).

    Boxes turn as their photo was turned upright, unless its label speaks of the upright photo already. The
    order within a photo is from top to bottom, then left to right: one that can be seen.

    Raises:
        ValueError: the split was made of another manifest or with other parameters. A photo of a defect
            without its object would teach that there is nothing to report.
    """
    params.check_made_with(split_made_with, "images", _digest(reviewed))
    facts = ["photo_id", "split", "stored_width", "stored_height", "orientation"]
    objects = manifest[manifest["label"].notna()].merge(split[facts], on="photo_id")
    known = among(split["photo_id"], manifest["photo_id"])
    as_chosen = among(split["photo_id"], objects["photo_id"]) == split["photo_label"].notna()
    _check_not_older("split", split.loc[~(known & as_chosen), "photo_id"])
    columns = ["x", "y", "w", "h", "width", "height", *facts[2:]]
    corners = [
        _corners((x, y, w, h), (width, height), (stored_width, stored_height), orientation)
        for x, y, w, h, width, height, stored_width, stored_height, orientation in objects[
            columns
        ].itertuples(index=False)
    ]
    sides = ["x_min", "y_min", "x_max", "y_max"]
    objects[sides] = pd.DataFrame(corners, columns=sides, index=objects.index, dtype=float)
    kept = objects.drop(columns=["photo", "label_file", *columns])
    return kept.sort_values(["photo_id", "y_min", "x_min"], ignore_index=True)


def chat_samples(
    split: pd.DataFrame, objects: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """One chat a photo for SFT, GRPO and test, in the processed frame.

    Raises:
        FileNotFoundError: a chosen photo is not in the folder.
    """
    of_photo: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    sides = ["x_min", "y_min", "x_max", "y_max"]
    for row in objects[["photo_id", *sides, LABEL, *taxonomy.field_names]].itertuples(index=False, name=None):
        values = zip((LABEL, *taxonomy.field_names), row[5:], strict=True)
        of_photo[row[0]].append({**dict(values), BBOX: row[1:5]})
    # GRPO asks for reasoning by its system prompt; the other two show the SFT prompt (section III.B).
    prompts = {name: chat_prompt(taxonomy, reasoning=name == "grpo") for name in SPLITS}
    rows, chosen = [], ["photo_id", "split", "photo_label", "sha256"]
    for photo_id, name, label, content in split[chosen].itertuples(index=False):
        if not photos.path(photo_id).is_file():
            raise FileNotFoundError(f"{photos.path(photo_id)} is missing: run data_processing again")
        report = to_json(of_photo[photo_id], taxonomy)
        rows.append(
            {
                "split": name,
                "photo_id": photo_id,
                "photo_label": label,
                "prompt": prompts[name],
                "completion": chat_completion(report, of_photo[photo_id], reasoning=name == "grpo"),
                "ground_truth": report,
                "sha256": content,
            }
        )
    columns = ["split", "photo_id", "photo_label", "prompt", "completion", "ground_truth", "sha256"]
    samples = pd.DataFrame(rows, columns=columns)
    sft, grpo, test = (
        samples[samples["split"] == name].drop(columns="split").reset_index(drop=True) for name in SPLITS
    )
    return sft, grpo, test


def truth_of_test(samples: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, Any]:
    """The test split in COCO's form."""
    return coco_truth(samples["photo_id"].tolist(), samples["ground_truth"].map(json.loads), taxonomy)


def data_plots(
    manifest: pd.DataFrame,
    split: pd.DataFrame,
    objects: pd.DataFrame,
    label_quarantine: pd.DataFrame,
    photo_quarantine: pd.DataFrame,
    taxonomy: Taxonomy,
) -> tuple[pd.DataFrame, Any]:
    """To look at in kedro-viz: how often each reason is in quarantine, and how large the boxes are."""
    tables = Tables(manifest, split, objects, label_quarantine, photo_quarantine)
    chosen = data_summary.boxes(manifest, objects)["chosen"]
    return data_summary.reasons(tables), box_sizes(chosen, taxonomy.label_names)


def data_page(
    manifest: pd.DataFrame,
    split: pd.DataFrame,
    objects: pd.DataFrame,
    label_quarantine: pd.DataFrame,
    photo_quarantine: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    split_counts: pd.DataFrame,
    split_made_with: MadeWith,
    reviewed: AIHubFolder,
    params: DataProcessingParams,
    page: DataPageParams,
) -> str:
    """The data page.

    Raises:
        ValueError: the split was made with other parameters.
    """
    params.check_made_with(split_made_with, "images", _digest(reviewed))
    tables = Tables(manifest, split, objects, label_quarantine, photo_quarantine)
    return render_data_page(tables, photos, taxonomy, split_counts, split_made_with, page)


def _digest(reviewed: AIHubFolder | None) -> str | None:
    return reviewed.digest() if reviewed else None


def _pools(taxonomy: Taxonomy, params: DataProcessingParams) -> list[Pool]:
    """Pools of all labels but those whose objects are skipped."""
    if params.boxless == "skip":
        boxed = tuple(o for o in taxonomy.labels if o.defective_id not in taxonomy.boxless_ids)
        taxonomy = taxonomy.model_copy(update={"labels": boxed})
    return pools_of(taxonomy, params.per_label.model_dump(), params.good_share, params.negative_share)


def _corners(
    box: tuple[float, float, float, float], stated: tuple[int, int], stored: tuple[int, int], orientation: int
) -> Box:
    """A box in its label's frame -> corners in the processed frame."""
    if stated == stored:  # a label of another size speaks of the upright photo already
        box = upright_box(box, *stored, orientation)
        stated = upright_size(*stored, orientation)
    return coco_to_corners(box, *stated, PROCESSED_SIZE)


def _check_not_older(table: str, photo_ids: "pd.Series[str]") -> None:
    if len(photo_ids):
        raise DataError(
            f"{len(photo_ids)} photos of the {table}, {photo_ids.iloc[0]} for one, are not in the manifest, "
            "or not with such objects: labels were read again since. Run --tags split,images,samples,report"
        )


def _check_rejected(manifest: pd.DataFrame, quarantine: pd.DataFrame, max_share: float) -> None:
    bad = data_summary.wrong(quarantine)
    n_bad = data_summary.subjects(bad).nunique()
    what = "photos, labels and archives (label_quarantine.csv lists all)"
    check_share(bad.to_dict("records"), n_bad, n_bad + manifest["photo_id"].nunique(), what, max_share)
