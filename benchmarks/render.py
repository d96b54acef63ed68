"""Claim: two processes render 1,000 photos of 1920 x 1080 pixels in at most 60 s.

The peer, measured in the same run, is one process; a second one beside it shows what rendering costs over
writing the photos' JPEG files, which every renderer must. Prints seconds for 1,000 photos and ratios.

    python benchmarks/render.py
"""

import io
import tempfile
import time
from pathlib import Path

from lng_kedro.aihub.render import JPEG_QUALITY, write_dataset
from lng_kedro.aihub.scenes import render_photo
from lng_kedro.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml")
PHOTOS_PER_ID = 13
PEER_PHOTOS = 40


def rendering(n_jobs: int) -> float:
    """Seconds for 1,000 photos, all ids alike, label files and zips included."""
    counts = dict.fromkeys([*TAXONOMY.by_id, *TAXONOMY.negative_ids], PHOTOS_PER_ID)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        write_dataset(Path(folder) / "raw", counts, TAXONOMY, seed=1, n_jobs=n_jobs)
        return (time.perf_counter() - start) / sum(counts.values()) * 1000


def encoding() -> float:
    """Seconds for the JPEG files of 1,000 photos, one process."""
    photos = [render_photo(seed, 2102, TAXONOMY)[0] for seed in range(PEER_PHOTOS)]
    start = time.perf_counter()
    for photo in photos:
        photo.save(io.BytesIO(), format="JPEG", quality=JPEG_QUALITY)
    return (time.perf_counter() - start) / PEER_PHOTOS * 1000


def main() -> None:
    rendering(2)  # starts the processes
    two, one, jpeg = rendering(2), rendering(1), encoding()
    print(f"two processes      {two:6.1f} s for 1,000 photos")
    print(f"one process        {one:6.1f} s, ratio {one / two:.2f}")
    print(f"JPEG files alone   {jpeg:6.1f} s on one process, ratio {one / jpeg:.2f}")


if __name__ == "__main__":
    main()
