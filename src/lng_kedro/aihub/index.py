"""All label files of a raw dataset -> the manifest and the quarantine."""

from collections.abc import Iterable, Mapping
from functools import partial

import pandas as pd

from lng_kedro.aihub.folder import AIHubFolder, context, stem
from lng_kedro.aihub.labels import LabelReader, Row, missing, refusal
from lng_kedro.compute import Processes, Ray, parallel_map
from lng_kedro.quarantine import QUARANTINE, DataError, Rejected
from lng_kedro.reviewed import REVIEWED, corrected

CHUNK, PARTS = 512, 256
"""Label files that a process reads at a time, at most, and the parts of fewer files: merged ones are few."""

_REFUSED = ["photo_id", "label_file", "reason", "detail"]
_CLAIM = ["photo_id", "label_file"]
_INTEGERS = ["photo_category_id", "width", "height", "category_id"]
_BOX = ["x", "y", "w", "h"]


def index_labels(
    raw: AIHubFolder, reader: LabelReader, compute: Processes | Ray
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Reads every label file and finds the photo that each belongs to.

    Of several files of one name the first is taken, in the order of their locators; a label file that can be
    used comes before one that cannot, a correction before any other, one that is named as its photo before
    one that only says so. Where two that can be used differ nobody can tell which is true, unless one of them
    is a correction: their photo is left out. The number of processes changes nothing.

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
    if all(photo.startswith(REVIEWED) for photo in listing.photos):
        found = "".join(f"\n{row['file']}: {row['reason']}, {row['detail']}" for row in listing.problems[:10])
        raise DataError(f"The raw dataset holds no photo: is --params raw_dir=PATH the right folder?{found}")
    photos: dict[str, str] = {}
    repeated = [photo for photo in listing.photos if photos.setdefault(stem(photo), photo) != photo]
    manifest, refused = _read(raw, reader, listing.labels, photos, compute)
    manifest, partless = _parts_of_photos(manifest, reader, photos)
    refused = pd.concat([refused, partless], ignore_index=True)
    claims = _claims(manifest, refused, listing.labels)
    taken: dict[str, str] = {}
    others = [(name, label) for name, label in claims if taken.setdefault(name, label) != label]
    contradicted = _contradicted(manifest) & photos.keys()
    unlabelled = [photo for name, photo in photos.items() if name not in taken]
    lone = {(name, label) for name, label in claims if name not in photos}
    spare = [pair for pair in others if pair[0] in photos and pair[0] not in contradicted]
    left_out = [
        pd.DataFrame(listing.problems, columns=QUARANTINE),
        _rows("duplicate", ((photo, f"{photos[stem(photo)]} was taken") for photo in repeated)),
        _rows("photo_without_label", ((photo, "no label file has this name") for photo in unlabelled)),
        _rows(
            "label_without_photo", ((label, f"no photo has the name {name}") for name, label in sorted(lone))
        ),
        _rows("duplicate", _passed_over(spare, taken, refused)),
        _rows("contradiction", _who_differ(contradicted, claims, photos)),
        _of_refused(refused, taken, photos),
    ]
    manifest = manifest[_is_taken(manifest, taken, photos) & ~manifest["photo_id"].isin(contradicted)]
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
    size = max(1, min(CHUNK, len(items) // PARTS))
    chunks = [items[start : start + size] for start in range(0, len(items), size)]
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


def _parts_of_photos(
    manifest: pd.DataFrame, reader: LabelReader, photos: Mapping[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fills parts that no label states from where the photos lie, which only this process knows.

    Returns:
        The manifest without objects, and refusals of photos, whose part nothing tells.
    """
    manifest = manifest.copy()
    rules = manifest["filled"][manifest["filled"].str.contains("part:name|part:photo")]
    folders = manifest["photo_id"][rules.index].map(photos).map(context, na_action="ignore")
    told = folders.map(reader.part_of_folders, na_action="ignore").dropna()
    manifest.loc[told.index, "part"] = told
    manifest.loc[told.index, "filled"] = rules[told.index].str.replace("part:name", "part:photo")
    lost = manifest.loc[rules.index, _CLAIM][manifest.loc[rules.index, "part"].isna()].drop_duplicates()
    kept = ~pd.MultiIndex.from_frame(manifest[_CLAIM]).isin(pd.MultiIndex.from_frame(lost))
    rows = [refusal(name, label, missing("part")) for name, label in lost.itertuples(index=False)]
    return manifest[kept], pd.DataFrame(rows, columns=_REFUSED).astype("str")


def _claims(manifest: pd.DataFrame, refused: pd.DataFrame, labels: list[str]) -> list[tuple[str, str]]:
    """Who speaks of which photo, (name, label file), those that are believed first."""
    place = {label: number for number, label in enumerate(labels)}
    used, unused = (
        set(table[_CLAIM].dropna().itertuples(index=False, name=None)) for table in (manifest, refused)
    )

    def order(claim: tuple[str, str]) -> tuple[bool, bool, bool, int, str]:
        name, label = claim
        return claim not in used, not label.startswith(REVIEWED), stem(label) != name, place[label], name

    return sorted(used | unused, key=order)


def _contradicted(manifest: pd.DataFrame) -> set[str]:
    """Photos of which two label files do not say the same; in which order they say it is all one."""
    mine = manifest["label_file"].str.startswith(REVIEWED)
    manifest = manifest[mine | ~manifest["photo_id"].isin(corrected(manifest))]
    claims = manifest[_CLAIM].drop_duplicates()
    several = claims["photo_id"][claims["photo_id"].duplicated()]
    told = manifest[manifest["photo_id"].isin(several)]
    said = pd.util.hash_pandas_object(told.drop(columns=[*_CLAIM, "filled"]), index=False)
    whole = said.groupby([told["photo_id"], told["label_file"]]).sum()
    differing = whole.groupby("photo_id").nunique() > 1
    return set(differing.index[differing])


def _who_differ(
    contradicted: set[str], claims: list[tuple[str, str]], photos: Mapping[str, str]
) -> Iterable[tuple[str, str]]:
    files: dict[str, list[str]] = {name: [] for name in sorted(contradicted)}
    for name, label in claims:
        if name in files:
            files[name].append(label)
    return ((photos[name], " and ".join(labels)) for name, labels in files.items())


def _passed_over(
    spare: list[tuple[str, str]], taken: Mapping[str, str], refused: pd.DataFrame
) -> Iterable[tuple[str, str]]:
    """Label files that another one was preferred to, and what is wrong with them, if something is."""
    wrong = {(name, label): f"{why}, {detail}" for name, label, why, detail in refused[_REFUSED].to_numpy()}
    for pair in spare:
        name, label = pair
        yield label, f"{name}: {taken[name]} was taken" + (f"; here {wrong[pair]}" if pair in wrong else "")


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
