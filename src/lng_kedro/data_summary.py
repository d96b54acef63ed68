"""What a run of data_processing made of the raw dataset, in figures: tables small enough to look at."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
import pandas as pd

from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.likeness import alike, hashes_of
from lng_kedro.metrics import SIZES
from lng_kedro.quarantine import LEFT_OUT, REASONS
from lng_kedro.reviewed import REVIEWED, corrected
from lng_kedro.taxonomy import Taxonomy

NOTHING = "nothing to report"
"""Stands for the label of photos that show nothing to report."""

AREAS = [0.0, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, np.inf]
"""Edges of the classes of relative area: a box's share of its photo."""

MANY_OBJECTS = 5
"""Photos with so many objects or more are counted together."""

ORIENTATIONS = {
    1: "as stored",
    2: "mirrored",
    3: "turned by 180°",
    4: "flipped",
    5: "mirrored, turned left",
    6: "turned right",
    7: "mirrored, turned right",
    8: "turned left",
}
"""EXIF orientation -> what is done to the stored photo to show it upright."""


@dataclass(frozen=True)
class Tables:
    """The tables of a run, as the catalog has them."""

    manifest: pd.DataFrame
    split: pd.DataFrame
    objects: pd.DataFrame
    label_quarantine: pd.DataFrame
    photo_quarantine: pd.DataFrame

    @property
    def quarantines(self) -> dict[str, pd.DataFrame]:
        """What was read -> what of it was put into quarantine."""
        return {"labels": self.label_quarantine, "photos": self.photo_quarantine}


class Duplicates(NamedTuple):
    """Chosen photos that look alike.

    Attributes:
        groups: how many groups of two photos or more there are.
        photos: photos in them.
        largest: photos of the largest.
        across: photos that look like one of another split: what the split must not have.
    """

    groups: int
    photos: int
    largest: int
    across: int


class Corrected(NamedTuple):
    """What became of the photos that people corrected.

    Attributes:
        photos: of the manifest.
        chosen: split -> photos.
        left_out: photos that are in no split.
        without_place: those of them for which training has no place.
        files: of theirs that were put into quarantine when labels were read.
    """

    photos: int
    chosen: dict[str, int]
    left_out: int
    without_place: int
    files: int


def corrections(tables: Tables) -> Corrected:
    """What became of the photos that people corrected."""
    mine = corrected(tables.manifest)
    chosen = tables.split["split"][tables.split["photo_id"].isin(mine)]
    bad = wrong(tables.label_quarantine)["file"]
    return Corrected(
        photos=len(mine),
        chosen={str(split): int((chosen == split).sum()) for split in ("sft", "grpo", "test")},
        left_out=len(mine) - len(chosen),
        without_place=int((tables.photo_quarantine["reason"] == "no_place").sum()),
        files=bad[bad.str.startswith(REVIEWED)].nunique(),
    )


def counts(split_counts: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Photos and objects of each label and split.

    Args:
        split_counts: one row a pool and split: pool (its ids), label, split, wanted, got, objects.
        taxonomy: says which quality an id is of.

    Returns:
        One row a label (`NOTHING` among them) and split: label, split, and each of wanted, got and objects,
        of all, `_good` and `_defective`.
    """
    quality_of = {str(number): quality for number, (_, quality) in taxonomy.by_id.items()}
    quality = split_counts["pool"].map(quality_of)
    keys = [split_counts["label"].fillna(NOTHING), split_counts["split"]]
    columns = {}
    for column in ("wanted", "got", "objects"):
        numbers = split_counts[column]
        columns[column] = numbers.groupby(keys, sort=False).sum()
        for name in ("Good", "Defective"):
            of_quality = numbers.where(quality == name, 0)
            columns[f"{column}_{name.lower()}"] = of_quality.groupby(keys, sort=False).sum()
    return pd.DataFrame(columns).astype(int).reset_index()


def reasons(tables: Tables) -> pd.DataFrame:
    """What is in quarantine, the most frequent first.

    Returns:
        One row a table and reason: read (labels or photos), reason, meaning, count, share (of the rows of its
        table), left_out (nothing is wrong with it).
    """
    rows = []
    for read, quarantine in tables.quarantines.items():
        for reason, count in quarantine["reason"].value_counts().items():
            meaning = REASONS[str(reason)]
            rows.append((read, reason, meaning, count, count / len(quarantine), reason in LEFT_OUT))
    return pd.DataFrame(rows, columns=["read", "reason", "meaning", "count", "share", "left_out"])


def examples(quarantine: pd.DataFrame, reason: str, number: int) -> list[tuple[str, str]]:
    """File and detail of the first rows of a reason."""
    first = quarantine[quarantine["reason"] == reason].head(number).fillna("")
    return list(zip(first["file"], first["detail"], strict=True))


def subjects(quarantine: pd.DataFrame) -> pd.Series:
    """What each row speaks of: its file, or one of the many photos that a merged label file names in vain."""
    named = quarantine["detail"].where(quarantine["reason"] == "label_without_photo", "")
    return quarantine["file"] + "\n" + named


def wrong(quarantine: pd.DataFrame) -> pd.DataFrame:
    """Rows of files with which something is wrong."""
    return quarantine[~quarantine["reason"].isin(LEFT_OUT)]


def n_rejected(tables: Tables) -> tuple[int, int]:
    """What is in quarantine: with something wrong, and left out though nothing is."""
    rows = pd.concat(tables.quarantines.values(), ignore_index=True)
    bad = wrong(rows)
    others = rows[~rows["file"].isin(bad["file"])]
    return subjects(bad).nunique(), subjects(others).nunique()


def boxes(manifest: pd.DataFrame, objects: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Objects of the manifest and of the chosen photos, each with its box's share of the photo (`area`)."""
    of_raw = manifest[manifest["label"].notna()].copy()
    of_raw["area"] = of_raw["w"] * of_raw["h"] / (of_raw["width"] * of_raw["height"])
    chosen = objects.copy()
    sides = (chosen["x_max"] - chosen["x_min"]), (chosen["y_max"] - chosen["y_min"])
    chosen["area"] = sides[0] * sides[1] / PROCESSED_SIZE**2
    return {"manifest": of_raw, "chosen": chosen}


def area_classes(objects: pd.DataFrame) -> pd.Series:
    """How many boxes are of each class of relative area; a whole photo that stands for one is none."""
    area = objects.loc[objects["box_source"] != "image", "area"]
    # A box of a tenth stays one where rounding made it a little less.
    classes = pd.cut(
        area + 1e-9, AREAS, right=False, labels=_names([f"{100 * edge:g}" for edge in AREAS[1:-1]])
    )
    return classes.value_counts(sort=False)


def _names(edges: list[str]) -> list[str]:
    between = [f"{low} to {high} %" for low, high in pairwise(edges)]
    return [f"below {edges[0]} %", *between, f"{edges[-1]} % and more"]


def box_table(objects: pd.DataFrame, labels: Iterable[str]) -> pd.DataFrame:
    """Boxes of each label: COCO's sizes in the processed frame, where they are from, how many were cut.

    Returns:
        One row of all and one a label: label, objects, small, medium, large, median (relative area),
        label_box, segmentation, image, clipped.
    """
    boxed = objects["box_source"] != "image"
    pixels = objects["area"] * PROCESSED_SIZE**2
    sizes = {name: boxed & (pixels >= low) & (pixels < high) for name, (low, high) in SIZES.items()}
    sources = {
        column: objects["box_source"] == source
        for column, source in (("label_box", "label"), ("segmentation", "segmentation"), ("image", "image"))
    }
    marks = pd.DataFrame({**sizes, **sources, "clipped": objects["clipped"].astype(bool)})
    rows = {"all": _box_row(marks, objects["area"], boxed)}
    for label in labels:
        of_label = objects["label"] == label
        rows[label] = _box_row(marks[of_label], objects.loc[of_label, "area"], boxed[of_label])
    return pd.DataFrame(rows.values(), index=pd.Index(rows, name="label")).reset_index()


def _box_row(marks: pd.DataFrame, areas: pd.Series, boxed: pd.Series) -> dict[str, float]:
    numbers = {str(name): int(number) for name, number in marks.sum().items()}
    return {"objects": len(marks), **numbers, "median": areas[boxed].median()}


def objects_a_photo(split: pd.DataFrame, objects: pd.DataFrame) -> pd.Series:
    """How many photos have no object, one, two …; the last entry is of `MANY_OBJECTS` and more."""
    number = objects["photo_id"].value_counts().reindex(split["photo_id"], fill_value=0)
    found = number.clip(upper=MANY_OBJECTS).value_counts()
    return found.reindex(range(MANY_OBJECTS + 1), fill_value=0)


def field_shares(objects: pd.DataFrame, taxonomy: Taxonomy) -> pd.DataFrame:
    """Share of each value of each field, over all objects and in each label.

    Returns:
        Rows `all` and labels, columns (field, value); NaN where a label has no object. Fractions.
    """
    both = pd.concat([objects.assign(label="all"), objects])
    shares = {}
    for field in taxonomy.field_names:
        counts = pd.crosstab(both["label"], both[field])
        share = counts.div(counts.sum(axis="columns"), axis="index")
        shares[field] = share.reindex(columns=taxonomy.choices(field), fill_value=0)
    return pd.concat(shares, axis="columns").reindex(["all", *taxonomy.label_names])


def filled(found: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Values that no label stated and a rule filled.

    Args:
        found: `manifest` and `chosen` -> objects.

    Returns:
        One row a field and rule: field, rule, manifest, chosen (numbers of objects).
    """
    numbers: dict[tuple[str, str], dict[str, int]] = {}
    for name, objects in found.items():
        # Few texts among many rows: each is taken apart once.
        for text, count in objects["filled"].value_counts().items():
            for entry in filter(None, str(text).split(",")):
                field, _, rule = entry.partition(":")
                row = numbers.setdefault((field, rule), dict.fromkeys(found, 0))
                row[name] += int(count)
    rows = [{"field": field, "rule": rule, **row} for (field, rule), row in numbers.items()]
    table = pd.DataFrame(rows, columns=["field", "rule", *found])
    return table.sort_values(["manifest", "field", "rule"], ascending=[False, True, True], ignore_index=True)


def sizes(photos: pd.DataFrame) -> pd.Series:
    """Width and height of each photo, as its label states them."""
    return photos["width"].astype(str) + " x " + photos["height"].astype(str)


def photo_sizes(photos: pd.DataFrame, number: int) -> pd.Series:
    """How many photos have each of the `number` most frequent sizes; last how many have another."""
    found = sizes(photos).value_counts()
    others = found.iloc[number:]
    if others.empty:
        return found
    return pd.concat([found.head(number), pd.Series({f"others ({len(others)})": others.sum()})])


def taken_as_stored(split: pd.DataFrame) -> int:
    """Turned photos as wide and high before as after, whose labels are taken to speak of the stored photo."""
    turned = split["orientation"] > 1
    quarter = split["orientation"] >= 5
    return int((turned & ~(quarter & (split["stored_width"] != split["stored_height"]))).sum())


def duplicates(split: pd.DataFrame, near_bits: int) -> Duplicates:
    """Groups of chosen photos that look alike, as they were chosen, and photos like one of another split.

    Args:
        split: the chosen photos (columns photo_id, split, dhash and near_duplicate_of are used).
        near_bits: photos whose difference hashes differ in so many bits or fewer look alike.
    """
    group = split["near_duplicate_of"].fillna(split["photo_id"])
    groups = split.groupby(group)["split"].size()
    groups = groups[groups > 1]
    return Duplicates(
        groups=len(groups),
        photos=int(groups.sum()),
        largest=int(groups.max()) if len(groups) else 0,
        across=_across(split, near_bits),
    )


def _across(split: pd.DataFrame, near_bits: int) -> int:
    hashes = {str(name): hashes_of(dhashes) for name, dhashes in split.groupby("split")["dhash"]}
    found: set[tuple[str, int]] = set()
    for one, other in combinations(hashes, 2):
        for i, column in enumerate(hashes[one].T):
            near = alike(hashes[other], column[:, None], near_bits)
            if len(near):
                found |= {(one, i), *((other, int(j)) for j in near)}
    return len(found)
