"""The data page: what a run of data_processing made of the raw dataset, in one HTML file."""

import base64
import io
import json
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from PIL import Image
from pydantic import Field

from lng_kedro import data_summary as summary
from lng_kedro.among import among
from lng_kedro.charts import Bar, BarRow
from lng_kedro.data_summary import NOTHING, Tables
from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.html import render_html
from lng_kedro.imaging import PhotoFolder
from lng_kedro.params import Params, flat
from lng_kedro.taxonomy import Taxonomy

THUMBNAIL = 192
"""Side of a contact sheet's photo in pixels."""

THUMBNAIL_QUALITY = 75

SHOWN_SIZES = 8
"""Sizes of photos that are named."""

DETAIL = 240
"""Characters of a quarantine row's detail that are shown."""

QUARANTINE_FILES = {"labels": "label_quarantine", "photos": "photo_quarantine"}
"""What was read -> the table of what could not be used."""

_MARK = r"^'(?=[=+@-])"
"""What a quarantine has before a file's name that begins as a formula does; the manifest has none."""

BOTH = {"manifest": "manifest", "chosen": "chosen"}
"""What is counted side by side, with its name for people."""


class DataPageParams(Params):
    """See conf/base/parameters/data_processing.yml for what each value means."""

    photos_per_label: int = Field(ge=0)
    examples: int = Field(ge=0)
    files: dict[str, str]


Shown = tuple[str, str, tuple[float, ...]]
"""Label, quality and corners (fractions of the processed frame in per cent) of an object."""


class Thumbnail(NamedTuple):
    """A photo of a contact sheet.

    Attributes:
        photo_id: of the photo.
        split: that it is in.
        source: data URI of its JPEG.
        objects: that it shows.
        says: label and quality of its objects, each with how many there are.
    """

    photo_id: str
    split: str
    source: str
    objects: list[Shown]
    says: list[tuple[str, str, int]]


def render_data_page(
    tables: Tables,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    split_counts: pd.DataFrame,
    settings: Mapping[str, Any],
    params: DataPageParams,
) -> str:
    """HTML of the data page.

    Args:
        tables: of the run.
        photos: the processed photos.
        taxonomy: of the run.
        split_counts: what each split was to have and has (see `data_summary.counts`).
        settings: parameters of data_processing; its `seed` chooses the photos of the contact sheets,
            its `near_duplicate_bits` says which photos look alike.
        params: what the page shows.

    Raises:
        OSError: a photo of a contact sheet is missing or broken.
    """
    counts = summary.counts(split_counts, taxonomy)
    found = summary.boxes(tables.manifest, tables.objects)
    of_photo = tables.manifest.drop_duplicates("photo_id")
    chosen = of_photo[among(of_photo["photo_id"], tables.split["photo_id"])]
    labels = _labels(taxonomy, counts)
    return render_html(
        "data_page.html",
        ["page.css", "data_page.css"],
        corrected=summary.corrections(tables),
        n=_totals(tables, of_photo, split_counts),
        splits=list(dict.fromkeys(counts["split"])),
        rows=_count_rows(counts, labels),
        reasons=_reasons(tables, params.examples),
        box_table=_box_rows(found, labels),
        areas=_bars({name: summary.area_classes(objects) for name, objects in found.items()}),
        per_photo=_objects_a_photo(tables, of_photo),
        heat=_heat(summary.field_shares(tables.objects, taxonomy), labels),
        filled=summary.filled(found).to_dict("records"),
        sizes=_photo_sizes(of_photo, chosen),
        orientations=_orientations(tables.split),
        as_stored=summary.taken_as_stored(tables.split),
        duplicates=summary.duplicates(tables.split, settings["near_duplicate_bits"]),
        sheets=list(_sheets(tables, photos, labels, settings["seed"], params.photos_per_label)),
        settings={n: v if isinstance(v, str) else json.dumps(v) for n, v in flat(settings)},
        files=params.files,
        side=PROCESSED_SIZE,
        thumbnail=THUMBNAIL,
    )


def _labels(taxonomy: Taxonomy, counts: pd.DataFrame) -> list[str]:
    """Labels that photos were wanted for; last, if some were, photos with nothing to report."""
    wanted = counts.loc[counts["label"] != NOTHING, "label"].unique()
    nothing = counts.loc[counts["label"] == NOTHING, "wanted"].any()
    return [*(label for label in taxonomy.label_names if label in wanted), *([NOTHING] if nothing else [])]


def _totals(tables: Tables, of_photo: pd.DataFrame, split_counts: pd.DataFrame) -> dict[str, int]:
    wrong, left_out = summary.n_rejected(tables)
    rejected = pd.concat(tables.quarantines.values(), ignore_index=True)
    files = rejected["file"].str.replace(_MARK, "", regex=True)
    others = rejected[~among(files, of_photo["photo"])]
    return {
        "photos": len(of_photo),
        "chosen": len(tables.split),
        "objects": int(tables.manifest["label"].notna().sum()),
        "chosen_objects": len(tables.objects),
        "labels": tables.split["photo_label"].nunique(),
        "all_labels": split_counts["label"].nunique(),
        "wrong": wrong,
        "left_out": left_out,
        "files": len(of_photo) + summary.subjects(others).nunique(),
        "short": int((split_counts["wanted"] - split_counts["got"]).clip(lower=0).sum()),
        "wanted": int(split_counts["wanted"].sum()),
    }


def _count_rows(counts: pd.DataFrame, labels: Sequence[str]) -> list[tuple[str, list[dict[Hashable, Any]]]]:
    """Of all and of each label: what each split has; last all splits together."""
    numbers = counts.set_index(["label", "split"])
    rows = {"all": numbers.groupby("split", sort=False).sum()}
    rows |= {label: numbers.loc[[label]].droplevel("label") for label in labels}
    return [(label, [*frame.to_dict("records"), frame.sum().to_dict()]) for label, frame in rows.items()]


def _reasons(tables: Tables, number: int) -> list[dict[str, Any]]:
    rows = summary.reasons(tables).to_dict("records")
    for row in rows:
        quarantine = tables.quarantines[row["read"]]
        row["file"] = QUARANTINE_FILES[row["read"]]
        row["examples"] = [
            (file, detail if len(detail) <= DETAIL else f"{detail[:DETAIL]}…")
            for file, detail in summary.examples(quarantine, row["reason"], number)
        ]
    return [{str(k): v for k, v in row.items()} for row in rows]


def _box_rows(found: Mapping[str, pd.DataFrame], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Boxes of the chosen photos, of all and of each label, between them those of the whole manifest."""
    chosen = summary.box_table(found["chosen"], [label for label in labels if label != NOTHING])
    whole = summary.box_table(found["manifest"], []).assign(label="all of the manifest")
    rows = pd.concat([chosen.head(1).assign(label="all chosen"), whole, chosen.iloc[1:]])
    return [{str(k): v for k, v in row.items()} for row in rows.to_dict("records")]


def _bars(numbers: Mapping[str, pd.Series]) -> list[BarRow]:
    """Shares of classes in per cent, a bar for each of `numbers`, which have the same classes."""
    totals = {name: number.sum() for name, number in numbers.items()}
    return [
        BarRow(
            str(row),
            " / ".join(f"{number[row]:,}" for number in numbers.values()),
            [
                Bar(name, BOTH[name], 100 * number[row] / totals[name] if totals[name] else 0.0, None)
                for name, number in numbers.items()
            ],
        )
        for row in next(iter(numbers.values())).index
    ]


def _objects_a_photo(tables: Tables, of_photo: pd.DataFrame) -> list[BarRow]:
    objects = tables.manifest[tables.manifest["label"].notna()]
    rows = _bars(
        {
            "manifest": summary.objects_a_photo(of_photo, objects),
            "chosen": summary.objects_a_photo(tables.split, tables.objects),
        }
    )
    last = rows[-1]
    return [*rows[:-1], last._replace(name=f"{last.name} and more")]


def _photo_sizes(of_photo: pd.DataFrame, chosen: pd.DataFrame) -> list[BarRow]:
    whole = summary.photo_sizes(of_photo, SHOWN_SIZES)
    sizes = summary.sizes(chosen).value_counts()
    named = sizes.reindex(whole.index, fill_value=0)
    if len(whole) > SHOWN_SIZES:
        named.iloc[-1] = sizes.sum() - named.iloc[:-1].sum()
    return _bars({"manifest": whole, "chosen": named})


def _orientations(split: pd.DataFrame) -> list[BarRow]:
    number = split["orientation"].value_counts().sort_index()
    number.index = pd.Index([f"{i}: {summary.ORIENTATIONS[i]}" for i in number.index])
    return _bars({"chosen": number})


def _heat(shares: pd.DataFrame, labels: Sequence[str]) -> dict[str, Any]:
    """Values of each field, and rows of (value, per cent or None, first of its field)."""
    fields: dict[str, list[str]] = {}
    for field in shares.columns.unique(0):
        fields[field] = list(shares[field].columns)
    columns = [(field, value, value == values[0]) for field, values in fields.items() for value in values]
    rows = {
        name: [
            (f"{field} {value}", None if np.isnan(share) else 100 * share, first)
            for (field, value, first), share in zip(columns, shares.loc[name], strict=True)
        ]
        for name in ["all", *(label for label in labels if label != NOTHING)]
    }
    return {"fields": fields, "rows": rows}


def _sheets(
    tables: Tables, photos: PhotoFolder, labels: Sequence[str], seed: int, number: int
) -> Iterator[tuple[str, int, list[Thumbnail]]]:
    """Of each label how many photos were chosen, and some of them, drawn by the seed."""
    label_of = tables.split["photo_label"].fillna(NOTHING)
    drawn = {}
    for i, label in enumerate(labels):
        pool = tables.split[label_of == label].sort_values("photo_id", ignore_index=True)
        order = np.random.default_rng([seed, i]).permutation(len(pool))[:number]
        drawn[label] = len(pool), pool.loc[order, ["photo_id", "split"]]
    photo_ids = [photo_id for _, rows in drawn.values() for photo_id in rows["photo_id"]]
    shown = _objects_of(tables.objects, photo_ids)
    for label, (total, rows) in drawn.items():
        sheet = [
            _thumbnail(photos, shown.get(photo_id, []), photo_id, split)
            for photo_id, split in rows.itertuples(index=False)
        ]
        yield label, total, sheet


def _objects_of(objects: pd.DataFrame, photo_ids: Sequence[str]) -> dict[str, list[Shown]]:
    """Objects of some photos, by photo."""
    rows = objects[objects["photo_id"].isin(photo_ids)]
    corners = (100 * rows[["x_min", "y_min", "x_max", "y_max"]] / PROCESSED_SIZE).round(2)
    found: dict[str, list[Shown]] = {}
    for (photo_id, label, quality), box in zip(
        rows[["photo_id", "label", "quality"]].itertuples(index=False),
        corners.itertuples(index=False, name=None),
        strict=True,
    ):
        found.setdefault(photo_id, []).append((label, quality, box))
    return found


def _thumbnail(photos: PhotoFolder, objects: list[Shown], photo_id: str, split: str) -> Thumbnail:
    names = [(label, quality) for label, quality, _ in objects]
    return Thumbnail(
        photo_id,
        split,
        _data_uri(photos.load(photo_id, THUMBNAIL)),
        objects,
        [(*name, names.count(name)) for name in dict.fromkeys(names)],
    )


def _data_uri(small: Image.Image) -> str:
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
