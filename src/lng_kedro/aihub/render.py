"""Writing the demo raw dataset: rendered photos in the folders, zips and JSON of AI-Hub's dataset 71690.

The tree is as untidy as the real one where that costs the reader effort: zip names in NFC and NFD, two
spellings of one defect, `.JPG` beside `.jpg`, Korean, English and coded metadata.
"""

import json
import tempfile
import unicodedata
import uuid
import zipfile
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lng_kedro.aihub.scenes import HEIGHT, WIDTH, RenderedObject, render_photo
from lng_kedro.compute import Processes, parallel_map
from lng_kedro.taxonomy import Taxonomy

DATA = Path("3.개방데이터") / "1.데이터"
PHOTOS, LABELS = "01.원천데이터", "02.라벨링데이터"
PREFIXES = {
    ("Training", PHOTOS): "TS",
    ("Training", LABELS): "TL",
    ("Validation", PHOTOS): "VS",
    ("Validation", LABELS): "VL",
}
DOMAINS = {1: "용접", 2: "표면처리", 3: "배관", 4: "케이블", 5: "절단", 6: "폼스프레이"}
"""First digit of an AI-Hub id -> the domain in zip names."""

JPEG_QUALITY = 90
VALIDATION_EVERY = 7
"""One photo in so many is in Validation, the others in Training."""
NFD_EVERY = 5
UPPERCASE_SHARE = 0.1
SPELLING_SHARES = {"korean": 0.75, "english": 0.2, "code": 0.05}
"""How the metadata of a photo are spelled."""
NEGATIVE_PART = "Coating"
TIMESTAMP = (2024, 1, 1, 0, 0, 0)
"""Of every zip member, so that the same arguments give the same bytes."""


@dataclass(frozen=True)
class _Written:
    """A rendered photo on its way into the zips."""

    split: str
    stem: str
    zip_stem: str
    suffix: str


def write_dataset(
    root: Path,
    counts: Mapping[int, int],
    taxonomy: Taxonomy,
    seed: int,
    difficulty: float = 0.3,
    n_jobs: int = 1,
) -> None:
    """Writes a dataset of AI-Hub's shape; the same arguments give the same bytes, whatever `n_jobs`.

    The tree appears at `root` only when it is complete.

    Args:
        root: folder to create.
        counts: AI-Hub id -> number of photos whose file name carries that id.
        taxonomy: says what the ids stand for and how values are spelled.
        seed: of all that is random.
        difficulty: see `scenes.render_photo`.
        n_jobs: processes that render.

    Raises:
        FileExistsError: `root` exists and is not empty.
        ValueError: an id of `counts` is not in the taxonomy.
    """
    unknown = counts.keys() - taxonomy.by_id.keys() - set(taxonomy.negative_ids)
    if unknown:
        raise ValueError(f"not in the taxonomy: {', '.join(map(str, sorted(unknown)))}")
    if root.exists() and any(root.iterdir()):
        raise FileExistsError(f"{root} is not empty")
    root.parent.mkdir(parents=True, exist_ok=True)
    jobs = [(category_id, i) for category_id in sorted(counts) for i in range(counts[category_id])]
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as folder:
        loose, tree = Path(folder) / "loose", Path(folder) / "tree"
        loose.mkdir()
        tree.mkdir()
        write = partial(_write_photo, loose, taxonomy, seed, difficulty)
        here = Processes(engine="processes", workers=n_jobs)
        written = list(parallel_map(write, jobs, len(jobs), here, "Rendering"))
        _pack(loose, tree, written)
        tree.replace(root)


def write_photos(
    root: Path, count: int, taxonomy: Taxonomy, seed: int, difficulty: float = 0.3, n_jobs: int = 1
) -> None:
    """Writes photos without labels, as a camera leaves them; the same arguments give the same bytes.

    The folder appears at `root` only when it is complete.

    Args:
        root: folder to create.
        count: photos, of each id of the taxonomy in turn, which their names do not tell.
        taxonomy: says what the ids stand for.
        seed: of all that is random.
        difficulty: see `scenes.render_photo`.
        n_jobs: processes that render.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    ids = sorted(taxonomy.by_id.keys() | set(taxonomy.negative_ids))
    with tempfile.TemporaryDirectory(dir=root.parent, prefix=f".{root.name}-") as folder:
        tree = Path(folder) / "tree"
        tree.mkdir()
        write = partial(_write_bare_photo, tree, taxonomy, seed, difficulty)
        jobs = [(ids[i % len(ids)], i) for i in range(count)]
        here = Processes(engine="processes", workers=n_jobs)
        list(parallel_map(write, jobs, count, here, "Rendering"))
        tree.replace(root)


# --- one photo and its label file --------------------------------------------------------------------


def _write_photo(
    loose: Path, taxonomy: Taxonomy, seed: int, difficulty: float, job: tuple[int, int]
) -> _Written:
    """Writes one photo and its JSON into `loose`."""
    category_id, index = job
    rng = np.random.default_rng(np.random.SeedSequence((seed, category_id, index)))
    photo, objects = render_photo(int(rng.integers(2**31)), category_id, taxonomy, difficulty)
    part = objects[0].attributes["part"] if objects else NEGATIVE_PART
    stem = f"{category_id}_{_part_code(part, taxonomy)}_{uuid.UUID(bytes=rng.bytes(16), version=4)}"
    suffix = ".JPG" if rng.random() < UPPERCASE_SHARE else ".jpg"
    photo.save(loose / (stem + suffix), format="JPEG", quality=JPEG_QUALITY)
    label = _label_json(stem + suffix, index, objects, taxonomy, rng)
    (loose / f"{stem}.json").write_text(json.dumps(label, ensure_ascii=False, indent=2), encoding="utf-8")
    split = "Validation" if index % VALIDATION_EVERY == VALIDATION_EVERY // 2 else "Training"
    return _Written(split, stem, _zip_stem(category_id, index, part, taxonomy), suffix)


def _write_bare_photo(
    folder: Path, taxonomy: Taxonomy, seed: int, difficulty: float, job: tuple[int, int]
) -> None:
    category_id, index = job
    rng = np.random.default_rng(np.random.SeedSequence((seed, category_id, index)))
    photo, _ = render_photo(int(rng.integers(2**31)), category_id, taxonomy, difficulty)
    photo.save(folder / f"photo_{index + 1:03}.jpg", format="JPEG", quality=JPEG_QUALITY)


def _label_json(
    file_name: str, index: int, objects: list[RenderedObject], taxonomy: Taxonomy, rng: np.random.Generator
) -> dict[str, Any]:
    """The COCO file of one photo."""
    day = np.datetime64("2023-07-01") + int(rng.integers(180))
    image = {
        "id": index + 1,
        "file_name": file_name,
        "width": WIDTH,
        "height": HEIGHT,
        "date_captured": f"{day} {int(rng.integers(8, 18)):02d}:{int(rng.integers(60)):02d}:00",
    }
    style = str(rng.choice(list(SPELLING_SHARES), p=list(SPELLING_SHARES.values())))
    annotations = [
        {
            "id": number,
            "image_id": index + 1,
            "category_id": found.category_id,
            "bbox": list(found.bbox) if found.bbox else None,
            "segmentation": [],
            "area": found.bbox[2] * found.bbox[3] if found.bbox else 0,
            "iscrowd": 0,
            "attributes": {f: _spell(f, v, style, taxonomy, rng) for f, v in found.attributes.items()},
        }
        for number, found in enumerate(objects, start=1)
    ]
    return {"images": [image], "annotations": annotations, "categories": []}


def _spell(field: str, value: str, style: str, taxonomy: Taxonomy, rng: np.random.Generator) -> str:
    """A spelling of a value that the taxonomy knows; Korean where it has no code, else the value itself."""
    others = taxonomy.fields[field].values.get(value, ())
    codes = [s for s in others if s.isdigit()]
    names = [s for s in others if not s.isdigit()]
    if style == "english" or not names:
        return value
    if style == "code" and codes:
        return codes[0]
    return names[int(rng.integers(len(names)))]


def _part_code(part: str, taxonomy: Taxonomy) -> str:
    """The part's two digits in file names, which the taxonomy lists among its spellings."""
    return next(s for s in taxonomy.fields["part"].values[part] if s.isdigit())


# --- zips -----------------------------------------------------------------------------------------------


def _zip_stem(category_id: int, index: int, part: str, taxonomy: Taxonomy) -> str:
    """`<domain>_<defect>_<part>` in Korean; every spelling of a defect gets its share of the photos."""
    domain = DOMAINS[category_id // 1000]
    defect = f"{domain}양품"
    if category_id in taxonomy.by_id:
        name, quality = taxonomy.by_id[category_id]
        spellings = next(label.korean for label in taxonomy.labels if label.name == name)
        defect = spellings[index % len(spellings)]
        if quality == "Good":
            defect = defect.removesuffix("불량").removesuffix("손상") + "양품"
    korean = next(s for s in taxonomy.fields["part"].values[part] if not s.isdigit())
    return f"{domain}_{defect}_{korean}"


def _pack(loose: Path, tree: Path, written: list[_Written]) -> None:
    """Moves the loose files into their zips; every fifth zip is named in NFD, the others in NFC."""
    members: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for photo in written:
        members[photo.split, PHOTOS, photo.zip_stem].append(photo.stem + photo.suffix)
        members[photo.split, LABELS, photo.zip_stem].append(f"{photo.stem}.json")
    for number, (split, kind, stem) in enumerate(sorted(members)):
        form: Literal["NFC", "NFD"] = "NFC" if number % NFD_EVERY else "NFD"
        name = unicodedata.normalize(form, f"{PREFIXES[split, kind]}_{stem}.zip")
        target = tree / DATA / split / kind / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
            for member in sorted(members[split, kind, stem]):
                archive.writestr(zipfile.ZipInfo(member, TIMESTAMP), (loose / member).read_bytes())
                (loose / member).unlink()
