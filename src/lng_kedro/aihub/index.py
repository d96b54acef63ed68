"""All label files of a raw dataset -> the manifest and the quarantine."""

from collections.abc import Iterable, Mapping
from functools import partial

import pandas as pd

from lng_kedro.aihub.folder import AIHubFolder, stem
from lng_kedro.aihub.labels import LabelReader, Row, refusal
from lng_kedro.compute import Processes, Ray, parallel_map
from lng_kedro.quarantine import QUARANTINE, Rejected

CHUNK = 1024
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
    claims = _claims(manifest, refused, listing.labels, photos)
    manifest = manifest.merge(claims.loc[claims["reason"].isna(), [*_CLAIM, "photo"]], on=_CLAIM)
    manifest.insert(1, "photo", manifest.pop("photo"))
    spoken_of = set(claims["photo_id"])
    unlabelled = [photo for name, photo in photos.items() if name not in spoken_of]
    left_out = [
        pd.DataFrame(listing.problems, columns=QUARANTINE),
        _rows(repeated, "duplicate", (f"{photos[stem(photo)]} was taken" for photo in repeated)),
        _rows(unlabelled, "photo_without_label", ("no label file has this name" for _ in unlabelled)),
        _of_claims(claims),
        _of_refused(refused, claims),
    ]
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
        *parallel_map(work, chunks, len(chunks), compute, "Label files"),
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


def _claims(
    rows: pd.DataFrame, refused: pd.DataFrame, labels: list[str], photos: Mapping[str, str]
) -> pd.DataFrame:
    """One row a photo and label file that speaks of it: photo, own (has its name), reason not to take it."""
    claims = pd.concat([rows[_CLAIM], refused[_CLAIM].dropna()]).drop_duplicates()
    claims["photo"] = claims["photo_id"].map(photos).astype("str")
    claims["own"] = claims["label_file"].map(stem) == claims["photo_id"]
    claims["order"] = claims["label_file"].map({label: k for k, label in enumerate(labels)})
    claims = claims.sort_values(["own", "order"], ascending=[False, True], ignore_index=True)
    claims["taken"] = claims.groupby("photo_id")["label_file"].transform("first")
    claims["reason"] = pd.Series(None, index=claims.index, dtype="str")
    claims.loc[claims["taken"] != claims["label_file"], "reason"] = "duplicate"
    claims.loc[claims["photo"].isna(), "reason"] = "label_without_photo"
    return claims


def _of_claims(claims: pd.DataFrame) -> pd.DataFrame:
    """Labels of no photo, and labels of photos that another label file has spoken of."""
    lone = claims[claims["reason"] == "label_without_photo"]
    repeated = claims[claims["reason"] == "duplicate"]
    names = [f"no photo has the name {name}" for name in lone["photo_id"]]
    others = [f"{name}: {label} was taken" for name, label in repeated[["photo_id", "taken"]].to_numpy()]
    return pd.concat(
        [
            _rows(lone["label_file"], "label_without_photo", names),
            _rows(repeated["label_file"], "duplicate", others),
        ]
    )


def _of_refused(refused: pd.DataFrame, claims: pd.DataFrame) -> pd.DataFrame:
    """What the reader refused; it is named by the label file, or by the photo if that has another name."""
    known = refused.merge(claims[[*_CLAIM, "photo", "taken"]], on=_CLAIM, how="left")
    known = known[
        known["photo_id"].isna() | (known["photo"].notna() & (known["taken"] == known["label_file"]))
    ]
    foreign = known["photo"].notna() & (known["label_file"].map(stem) != known["photo_id"])
    return pd.DataFrame(
        {
            "file": known["photo"].where(foreign, known["label_file"]),
            "reason": known["reason"],
            "detail": (known["detail"] + " (in " + known["label_file"] + ")").where(foreign, known["detail"]),
        }
    )


def _rows(files: Iterable[str], reason: str, details: Iterable[str]) -> pd.DataFrame:
    rows = [Rejected(reason, detail).row(file) for file, detail in zip(files, details, strict=True)]
    return pd.DataFrame(rows, columns=QUARANTINE)
