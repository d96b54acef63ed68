"""Claim: of a stored manifest of ten million rows, photos are drawn in at most 60 s and under 8 GiB, and the
paper's split is chosen in under 6 GiB.

Makes such a manifest with all its columns, every seventh photo with two objects, and runs the nodes
`draw_photos` and `process_photos` on what the catalog reads for them, each in a process of its own. Photos
are known from a journal, as they are when nothing has changed: none is decoded. The peer, measured in the
same run, puts as many photos into a random order with pandas alone (`drop_duplicates` and
`groupby(id).sample`), on the whole table. Prints seconds, largest memory of each process, and ratios.

    python benchmarks/split.py [ROWS]
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from kedro.io import DataCatalog

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.split import pools_of
from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.photo_journal import Finished, PhotoFacts, PhotoJournal, recipe_of
from lng_kedro.pipelines.data_processing.nodes import draw_photos, process_photos
from lng_kedro.pipelines.data_processing.params import DataProcessingParams
from lng_kedro.quarantine import QUARANTINE
from lng_kedro.taxonomy import load_taxonomy

ROOT = Path(__file__).parents[1]
TAXONOMY = load_taxonomy(ROOT / "conf/base/parameters/taxonomy.yml")
PARAMETERS = yaml.safe_load((ROOT / "conf/base/parameters/data_processing.yml").read_text(encoding="utf-8"))
PARAMS = DataProcessingParams.model_validate(PARAMETERS["data_processing"])
BATCH = 500_000
SIZE = (1920, 1080)


class Unchanged(AIHubFolder):
    """A raw folder whose photos are as they were."""

    def fingerprint(self, locator: str) -> str:  # noqa: ARG002
        return "same"


def catalog(folder: Path) -> DataCatalog:
    """The tables as the nodes get them."""
    entries: dict[str, Any] = {}
    for file in ("02_intermediate.yml", "03_primary.yml"):
        text = (ROOT / "conf/base/catalog" / file).read_text(encoding="utf-8")
        entries |= yaml.safe_load(text.replace("${_data_dir}", str(folder)))
    return DataCatalog.from_config(entries)


def write_manifest(folder: Path, rows: int) -> None:
    """Photos named as AI-Hub names them, of all ids alike."""
    path = folder / "02_intermediate/manifest.parquet"
    path.parent.mkdir()
    writer = None
    for start in range(0, rows, BATCH):
        frame = make_manifest(min(BATCH, rows - start), start)
        table = pa.Table.from_pandas(frame, preserve_index=False)
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    assert writer is not None
    writer.close()


def make_manifest(rows: int, seed: int) -> pd.DataFrame:
    """A part of it, with every column of the schema."""
    rng = np.random.default_rng(seed)
    photos = -(-rows * 7 // 8)
    ids = rng.choice([*TAXONOMY.by_id, *TAXONOMY.negative_ids], photos)
    halves = rng.integers(0, 2**63, (photos, 2))
    names = pd.Series([f"{i}_12_{a:016x}-{b:016x}" for i, (a, b) in zip(ids, halves.tolist(), strict=True)])
    objects = np.concatenate([np.arange(photos), np.arange(0, photos, 7)])[:rows]
    rng.shuffle(objects)
    folder = "3.개방데이터/1.데이터/Training/0"
    labels = pd.Series(ids).map({i: name for i, (name, _) in TAXONOMY.by_id.items()}).astype("str")
    columns: dict[str, Any] = {
        "photo_id": names,
        "photo": folder + "1.원천데이터/TS_표면처리_균열_도장.zip!/" + names + ".jpg",
        "label_file": folder + "2.라벨링데이터/TL_표면처리_균열_도장.zip!/" + names + ".json",
        "photo_category_id": ids,
        **{"width": SIZE[0], "height": SIZE[1], "category_id": ids, "label": labels},
        **dict.fromkeys("xywh", 100.0),
        **{"box_source": "label", "clipped": False},
        **dict.fromkeys(TAXONOMY.fields, "Outer wall"),
        "filled": "part:zip,quality:id",
    }
    return pd.DataFrame(columns).take(objects).reset_index(drop=True)


def draw_all(folder: Path) -> tuple[int, int]:
    """How many photos were drawn, and in how many pools."""
    tables, none = catalog(folder), pd.DataFrame(columns=QUARANTINE, dtype="str")
    made_with = PARAMS.made_with()
    drawn, _ = draw_photos(tables.load("manifest@draw"), none, TAXONOMY, made_with, made_with, PARAMS)
    tables.save("draw", drawn)
    return len(drawn), drawn["pool"].nunique()


def finish_photos(folder: Path) -> None:
    """Puts the first photos of each pool into the journal."""
    drawn, journal = catalog(folder).load("draw"), PhotoJournal(folder / "photos/journal.jsonl")
    rng, recipe = np.random.default_rng(0), recipe_of(PROCESSED_SIZE, PARAMS.jpeg_quality)
    per_label = PARAMS.per_label.model_dump()
    for pool in pools_of(TAXONOMY, per_label, PARAMS.good_share, PARAMS.negative_share):
        for photo_id in drawn.loc[drawn["pool"] == pool.name, "photo_id"].head(pool.needed):
            facts = PhotoFacts(*SIZE, 1, sha256=photo_id, dhash=rng.bytes(32).hex(), size=1)
            journal.add(photo_id, Finished("same", recipe, photo_id, facts), b"x")


def choose_photos(folder: Path) -> int:
    """How many photos were chosen."""
    tables = catalog(folder)
    _, split, refused, _ = process_photos(
        Unchanged(folder),
        tables.load("manifest@photos"),
        tables.load("draw"),
        PARAMS.made_with(),
        TAXONOMY,
        PhotoJournal(folder / "photos/journal.jsonl"),
        PARAMS,
    )
    assert refused.empty
    return len(split)


def with_pandas_alone(folder: Path) -> int:
    """The peer."""
    photos = pd.read_parquet(folder / "02_intermediate/manifest.parquet").drop_duplicates("photo_id")
    return len(photos.groupby("photo_category_id").sample(frac=1, random_state=0))


def measured(work: Callable[..., Any], *given: Any) -> tuple[Any, float, float]:
    """What comes of some work in a process of its own, its seconds, and its largest memory in GiB."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_measured, work, *given).result()


def _measured(work: Callable[..., Any], *given: Any) -> tuple[Any, float, float]:
    start = time.perf_counter()
    found = work(*given)
    seconds = time.perf_counter() - start
    return found, seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        measured(write_manifest, folder, rows)
        (drawn, pools), ours, our_peak = measured(draw_all, folder)
        measured(finish_photos, folder)
        chosen, process, process_peak = measured(choose_photos, folder)
        _, theirs, their_peak = measured(with_pandas_alone, folder)
    print(f"{rows:,} rows, {drawn:,} photos in {pools} pools, {chosen:,} chosen")
    print(f"draw_photos     {ours:6.1f} s, at most {our_peak:.1f} GiB")
    print(f"process_photos  {process:6.1f} s, at most {process_peak:.1f} GiB, no photo decoded")
    print(f"pandas alone    {theirs:6.1f} s, at most {their_peak:.1f} GiB, draws")
    print(f"ratio           {ours / theirs:6.2f}   {our_peak / their_peak:.2f}")


if __name__ == "__main__":
    main()
