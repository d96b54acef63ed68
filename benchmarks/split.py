"""Claim: of a stored manifest of ten million rows, photos are drawn in at most 60 s and under 8 GiB.

Makes such a manifest with all its columns, every seventh photo with two objects, stores it, and runs the
nodes `draw_photos` and `process_photos` on what the catalog reads of it for them; no photo is decoded. The
peer, measured in the same run, puts as many photos into a random order with pandas alone (`drop_duplicates`
and `groupby(id).sample`), on the whole table. Prints seconds, largest memory of the process meanwhile, and
ratios.

    python benchmarks/split.py [ROWS]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.split import SPLITS
from lng_kedro.photo_journal import PhotoJournal
from lng_kedro.pipelines.data_processing.nodes import draw_photos, process_photos
from lng_kedro.pipelines.data_processing.params import DataProcessingParams
from lng_kedro.quarantine import QUARANTINE
from lng_kedro.taxonomy import load_taxonomy

ROOT = Path(__file__).parents[1]
TAXONOMY = load_taxonomy(ROOT / "conf/base/parameters/taxonomy.yml")
CATALOG = yaml.safe_load((ROOT / "conf/base/catalog/02_intermediate.yml").read_text(encoding="utf-8"))
BATCH = 500_000


def read(path: Path, what: str) -> pd.DataFrame:
    """The manifest as the catalog reads it for a node."""
    return pd.read_parquet(path, **CATALOG[f"manifest@{what}"]["load_args"])


def write_manifest(path: Path, rows: int) -> None:
    """Photos named as AI-Hub names them, of all ids alike."""
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
        **{"width": 1920, "height": 1080, "category_id": ids, "label": labels},
        **dict.fromkeys("xywh", 100.0),
        **{"box_source": "label", "clipped": False},
        **dict.fromkeys(TAXONOMY.fields, "Outer wall"),
        "filled": "part:zip,quality:id",
    }
    return pd.DataFrame(columns).take(objects).reset_index(drop=True)


def measured(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """What comes of some work, its seconds, and the largest memory of this process meanwhile in GiB."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux counts the peak anew
    start = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    return found, seconds, int(status.split("VmHWM:")[1].split()[0]) / 2**20


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000
    content = yaml.safe_load((ROOT / "conf/base/parameters/data_processing.yml").read_text(encoding="utf-8"))
    # No photo is wanted, so that none is decoded: what the nodes do with their tables is left.
    params = DataProcessingParams.model_validate(
        content["data_processing"] | {"per_label": dict.fromkeys(SPLITS, 0)}
    )
    made_with, none = params.made_with(), pd.DataFrame(columns=QUARANTINE, dtype="str")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.parquet"
        write_manifest(path, rows)
        drawn, ours, our_peak = measured(
            lambda: draw_photos(read(path, "draw"), none, TAXONOMY, made_with, made_with, params)[0]
        )
        raw, journal = AIHubFolder(Path(folder)), PhotoJournal(Path(folder) / "photos/journal.jsonl")
        _, process, process_peak = measured(
            lambda: process_photos(raw, read(path, "photos"), drawn, made_with, TAXONOMY, journal, params)
        )
        print(f"{rows:,} rows, {len(drawn):,} photos in {drawn['pool'].nunique()} pools")
        _, theirs, their_peak = measured(
            lambda: (
                pd.read_parquet(path)
                .drop_duplicates("photo_id")
                .groupby("photo_category_id")
                .sample(frac=1, random_state=0)
            )
        )
    print(f"draw_photos     {ours:6.1f} s, at most {our_peak:.1f} GiB")
    print(f"process_photos  {process:6.1f} s, at most {process_peak:.1f} GiB, no photo among it")
    print(f"pandas alone    {theirs:6.1f} s, at most {their_peak:.1f} GiB, draws")
    print(f"ratio           {ours / theirs:6.2f}   {our_peak / their_peak:.2f}")


if __name__ == "__main__":
    main()
