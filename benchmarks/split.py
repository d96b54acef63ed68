"""Claim: a manifest of ten million rows is drawn in at most 60 s and under 8 GiB.

Makes such a manifest in memory: photo_id, photo_category_id and label, all that the draw reads; every
seventh photo shows two objects. The peer, measured in the same run, puts as many photos into a random order
with pandas alone (`drop_duplicates` and `groupby(id).sample`), which depends on the order of rows. Prints
seconds, largest memory of the process meanwhile, and ratios.

    python benchmarks/split.py [ROWS]
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from lng_kedro.aihub.split import draw, pools_of
from lng_kedro.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml")
PER_LABEL = {"sft": 500, "grpo": 500, "test": 500}


def make_manifest(rows: int) -> pd.DataFrame:
    """Photos named as AI-Hub names them, of all ids alike; every seventh shows two objects."""
    rng = np.random.default_rng(0)
    photos = rows * 7 // 8
    ids = rng.choice([*TAXONOMY.by_id, *TAXONOMY.negative_ids], photos)
    halves = rng.integers(0, 2**63, (photos, 2))
    names = [f"{i}_12_{a:016x}-{b:016x}" for i, (a, b) in zip(ids, halves.tolist(), strict=True)]
    objects = np.concatenate([np.arange(photos), np.arange(0, photos, 7)])[:rows]
    rng.shuffle(objects)
    labels = pd.Series(ids).map({i: name for i, (name, _) in TAXONOMY.by_id.items()}).astype("str")
    frame = pd.DataFrame({"photo_id": names, "photo_category_id": ids, "label": labels})
    return frame.take(objects).reset_index(drop=True)


def measured(work: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, float, float]:
    """What comes of some work, its seconds, and the largest memory of this process meanwhile in GiB."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux counts the peak anew
    start = time.perf_counter()
    found = work()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    return found, seconds, int(status.split("VmHWM:")[1].split()[0]) / 2**20


def main() -> None:
    manifest = make_manifest(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000_000)
    pools = pools_of(TAXONOMY, PER_LABEL, 0.3, 0.1)
    found, ours, our_peak = measured(lambda: draw(manifest, pools, 42))
    print(f"{len(manifest):,} rows, {len(found):,} photos in {found['pool'].nunique()} pools")
    del found
    groups = "photo_category_id"
    _, theirs, their_peak = measured(
        lambda: manifest.drop_duplicates("photo_id").groupby(groups).sample(frac=1, random_state=0)
    )
    print(f"draw            {ours:6.1f} s, at most {our_peak:.1f} GiB with the manifest")
    print(f"pandas alone    {theirs:6.1f} s, at most {their_peak:.1f} GiB")
    print(f"ratio           {ours / theirs:6.2f}   {our_peak / their_peak:.2f}")


if __name__ == "__main__":
    main()
