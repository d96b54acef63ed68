"""All label files of a raw dataset -> the manifest and the quarantine."""

from collections.abc import Iterable, Mapping
from functools import partial

import pandas as pd

from lng_kedro.aihub.folder import AIHubFolder, stem
from lng_kedro.aihub.labels import LabelReader, Row, refusal
from lng_kedro.compute import Processes, Ray, parallel_map
from lng_kedro.quarantine import QUARANTINE, Rejected

CHUNK = 512
"""Label files that a process reads at a time."""

_REFUSED = ["photo_id", "label_file", "reason", "detail"]
_CLAIM = ["photo_id", "label_file"]
_INTEGERS = ["photo_category_id", "width", "height", "category_id"]
_BOX = ["x", "y", "w", "h"]


def index_labels(
    raw: AIHubFolder, reader: LabelReader, compute: Processes | Ray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads every label file and finds the photo that each belongs to.

    Of several files of one name the first is taken, in the order of their locators; a label file that is
    named as its photo comes before one that only says so. The number of processes changes nothing.

    Args:
        raw: the dataset.
        reader: of its label files.
        compute: where label files are read.

    Returns:
        The manifest, and the quarantine: columns file, reason and detail. Every photo is in one of them.

    Raises:
        ValueError: the dataset holds no photo.
    """
    listing = raw.listing()
    if not listing.photos:
        found = "".join(f"\n{row['file']}: {row['reason']}, {row['detail']}" for row in listing.problems[:10])
        raise ValueError(f"The raw dataset holds no photo: is --params raw_dir=PATH the right folder?{found}")
    photos: dict[str, str] = {}
    repeated = [photo for photo in listing.photos if photos.setdefault(stem(photo), photo) != photo]
    manifest, refused = _read(raw, reader, listing.labels, photos, compute)
    taken, others = _label_of_each_photo([manifest, refused], listing.labels)
    unlabelled = [photo for name, photo in photos.items() if name not in taken]
    lone = {(name, label) for name, label in (*taken.items(), *others) if name not in photos}
    spare = [(name, label) for name, label in others if name in photos]
    left_out = [
        pd.DataFrame(listing.problems, columns=QUARANTINE),
        _rows("duplicate", ((photo, f"{photos[stem(photo)]} was taken") for photo in repeated)),
        _rows("photo_without_label", ((photo, "no label file has this name") for photo in unlabelled)),
        _rows(
            "label_without_photo", ((label, f"no photo has the name {name}") for name, label in sorted(lone))
        ),
        _rows("duplicate", ((label, f"{name}: {taken[name]} was taken") for name, label in spare)),
        _of_refused(refused, taken, photos),
    ]
    manifest = manifest[_is_taken(manifest, taken, photos)]
    places = [photos[name] for name in manifest["photo_id"]]
    manifest.insert(1, "photo", pd.Series(places, index=manifest.index, dtype="str"))
    quarantine = pd.concat(left_out, ignore_index=True).astype("str")
    return (
        manifest.sort_values(["photo_id", "y", "x"], ignore_index=True),
        quarantine.sort_values("file", kind="stable", ignore_index=True),
    )


def _read(
    raw: AIHubFolder,
    reader: LabelReader,
    labels: list[str],
    photos: Mapping[str, str],
    compute: Processes | Ray,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of the manifest that lack the photo's locator, and refusals."""
    items = [(label, stem(label) in photos) for label in labels]
    chunks = [items[start : start + CHUNK] for start in range(0, len(items), CHUNK)]
    work = partial(_read_chunk, raw, reader)
    parts = [
        _read_chunk(raw, reader, []),
        *parallel_map(work, chunks, len(chunks), compute, "Label files", unit="chunk"),
    ]
    rows, refused = zip(*parts, strict=True)
    return pd.concat(rows, ignore_index=True), pd.concat(refused, ignore_index=True)


def _read_chunk(
    raw: AIHubFolder, reader: LabelReader, chunk: Iterable[tuple[str, bool]]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows: list[Row] = []
    refused: list[Row] = []
    for label, has_photo in chunk:
        try:
            content = raw.read(label)
        except Rejected as problem:
            refused.append(refusal(stem(label) if has_photo else None, label, problem))
            continue
        found, problems = reader.read(label, content, has_photo)
        rows += found
        refused += problems
    columns = ["photo_id", "label_file", *_INTEGERS, "label", *_BOX, "box_source", "clipped"]
    frame = pd.DataFrame(rows, columns=[*columns, *reader.taxonomy.fields, "filled"])
    types = dict.fromkeys(frame.columns, "str") | dict.fromkeys(_INTEGERS, "int64")
    types |= dict.fromkeys(_BOX, "float64") | {"clipped": "bool"}
    return frame.astype(types), pd.DataFrame(refused, columns=_REFUSED).astype("str")


def _label_of_each_photo(
    tables: Iterable[pd.DataFrame], labels: list[str]
) -> tuple[dict[str, str], list[tuple[str, str]]]:
    """Photo's name -> the label file that is taken, and the other (name, label file) that speak of it."""
    place = {label: number for number, label in enumerate(labels)}
    claims = {
        claim for table in tables for claim in table[_CLAIM].dropna().itertuples(index=False, name=None)
    }
    taken: dict[str, str] = {}
    others = [
        (name, label)
        for name, label in sorted(claims, key=lambda c: (stem(c[1]) != c[0], place[c[1]], c[0]))
        if taken.setdefault(name, label) != label
    ]
    return taken, others


def _is_taken(table: pd.DataFrame, taken: Mapping[str, str], photos: Mapping[str, str]) -> "pd.Series[bool]":
    pairs = zip(table["photo_id"], table["label_file"], strict=True)
    mine = [name in photos and taken[name] == label for name, label in pairs]
    return pd.Series(mine, index=table.index, dtype="bool")


def _of_refused(refused: pd.DataFrame, taken: Mapping[str, str], photos: Mapping[str, str]) -> pd.DataFrame:
    """What the reader refused; it is named by the label file, or by the photo if that has another name."""
    refused = refused[refused["photo_id"].isna() | _is_taken(refused, taken, photos)]
    rows = []
    for name, label, reason, detail in refused[_REFUSED].itertuples(index=False, name=None):
        foreign = name in photos and name != stem(label)
        told = f"{detail} (in {label})" if foreign else detail
        rows.append(Rejected(reason, told).row(photos[name] if foreign else label))
    return pd.DataFrame(rows, columns=QUARANTINE)


def _rows(reason: str, files: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Rows of the quarantine: files with details."""
    rows = [Rejected(reason, detail).row(file) for file, detail in files]
    return pd.DataFrame(rows, columns=QUARANTINE)
