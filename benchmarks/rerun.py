"""Claim: over 22,500 photos that did not change, `kedro run --pipelines data_processing` takes at most 10 s.

Makes a raw dataset of small photos in zips, just enough for the paper's split, and runs data_processing by
the real command twice; the first run is the peer. Small photos make it as fast as it can be: of real ones, a
first run decodes 50 times the pixels, and an unchanged one none. Prints seconds of the whole command and of
its processors, what the stage `images` takes of it, and the ratio.

    python benchmarks/rerun.py [PHOTOS_A_LABEL]
"""

import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from lng_kedro.taxonomy import load_taxonomy

ROOT = Path(__file__).parents[1]
TAXONOMY = load_taxonomy(ROOT / "conf/base/parameters/taxonomy.yml")
GOOD_SHARE = 0.3
SIZE = (256, 144)
ATTRIBUTES = {"tank_type": "C", "location": "Inside", "sub_location": "Floor", "part": "Coating"}


def photo(rng: np.random.Generator) -> bytes:
    """Blots that look like no other photo's."""
    blots = Image.fromarray(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8))
    buffer = io.BytesIO()
    blots.resize(SIZE, Image.Resampling.BILINEAR).save(buffer, "JPEG")
    return buffer.getvalue()


def write_raw(root: Path, per_label: int) -> int:
    """One zip of photos and one of labels for each id; returns how many photos."""
    rng = np.random.default_rng(0)
    counts = {}
    for label in TAXONOMY.labels:
        good = round(per_label / 3 * GOOD_SHARE) * 3 if label.good_id else 0
        counts |= {label.defective_id: per_label - good} | ({label.good_id: good} if good else {})
    root.mkdir()
    for number, count in counts.items():
        image = {"id": 1, "width": SIZE[0], "height": SIZE[1]}
        found = {"image_id": 1, "category_id": number, "bbox": [10, 20, 100, 50], "attributes": ATTRIBUTES}
        content = json.dumps({"images": [image], "annotations": [found]})
        with (
            zipfile.ZipFile(root / f"TS_{number}.zip", "w") as photos,
            zipfile.ZipFile(root / f"TL_{number}.zip", "w") as labels,
        ):
            for k in range(count):
                photos.writestr(f"{number}_12_{k:05}.jpg", photo(rng))
                labels.writestr(f"{number}_12_{k:05}.json", content)
    return sum(counts.values())


class Times(NamedTuple):
    """Of a command: seconds that it took, and those of all processors that it used."""

    wall: float
    cpu: float


def run(folder: Path, per_label: int, *more: str) -> Times:
    """The real command."""
    wanted = ",".join(f"data_processing.per_label.{s}={per_label // 3}" for s in ("sft", "grpo", "test"))
    command = [sys.executable, "-m", "kedro", "run", "--env", "test", "--pipelines", "data_processing", *more]
    command += ["--params", f"raw_dir={folder / 'raw'},data_dir={folder / 'data'},{wanted}"]
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Times(time.perf_counter() - start, cpu)


def journals(data: Path) -> dict[str, int]:
    """When each file was written that tells what need not be done again."""
    files = [data / "04_feature/photos/journal.jsonl", *(data / "02_intermediate/label_journal").iterdir()]
    return {file.name: file.stat().st_mtime_ns for file in files}


def main() -> None:
    per_label = int(sys.argv[1]) if len(sys.argv) > 1 else 1500
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        count = write_raw(folder / "raw", per_label)
        first = run(folder, per_label)
        known = journals(folder / "data")
        again = run(folder, per_label)
        images = run(folder, per_label, "--tags", "images")
        start = run(folder, per_label, "--nodes", "truth_of_test")
        assert journals(folder / "data") == known  # nothing was read or decoded
    print(f"{count:,} photos of {SIZE[0]} x {SIZE[1]} pixels")
    print(f"first run              {first.wall:6.1f} s, processors {first.cpu:.1f} s")
    print(f"unchanged run          {again.wall:6.1f} s, processors {again.cpu:.1f} s")
    print(f"ratio                  {again.wall / first.wall:6.3f}")
    print(f"of it Kedro's start    {start.wall:6.1f} s, processors {start.cpu:.1f} s")
    print(
        f"and the stage `images` {images.wall - start.wall:6.1f} s, processors {images.cpu - start.cpu:.1f} s"
    )


if __name__ == "__main__":
    main()
