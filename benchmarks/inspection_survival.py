"""Claim: 10,000 photos in flat memory; killed three times, every photo is reported exactly once.

Runs the real command on the shipped tiny model over links to a few small photos, with answers cut off after
a few tokens, so that it takes minutes. `kill -9` comes after 5, 10 and 15 per cent; the fourth command does
the rest, and its memory (resident set) is compared: its second half against its first. It ends with an error
where a photo is reported less or more than once, or memory grows by more than 20 MiB.

    python benchmarks/inspection_survival.py [PHOTOS]
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

ROOT = Path(__file__).parents[1]
DISTINCT = 8
GROWTH = 20.0
"""MiB by which memory may grow."""
KILLED_AT = (0.05, 0.10, 0.15)
SETTINGS = {
    "adapter": "null",
    "inspection.engine.batch_size": 50,
    "inspection.constrained": "false",
    "inspection.max_new_tokens": 8,
}


def main(count: int = 10_000) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_photos(folder / "photos", count)
        lines = folder / "reports/reports.jsonl"
        kept: set[bytes] = set()
        for share in KILLED_AT:
            process = start(folder)
            while written(lines) < share * count:
                assert process.poll() is None, "it ended before it was killed"
                time.sleep(0.02)
            process.kill()
            process.wait()
            whole = {line for line in lines.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")}
            assert kept <= whole, "a report was lost"
            kept = whole
            print(f"killed after {len(whole)} reports")
        begin = time.perf_counter()
        memory = watched(start(folder), lines)
        took = time.perf_counter() - begin
        whole = lines.read_bytes().splitlines(keepends=True)
        assert kept <= set(whole), "a report was made again"
        asked = count - len(kept)
        times = Counter(json.loads(line)["photo"] for line in whole)
    print(f"reports: {len(whole)} of {count} photos, each {max(times.values())} time(s)")
    print(f"last command: {asked} photos in {took:.0f} s, {asked / took:.0f} photos/s")
    growth = grown(memory, asked)
    if times != Counter(f"{i:05}.jpg" for i in range(count)):
        sys.exit("not every photo was reported exactly once")
    if growth > GROWTH:
        sys.exit(f"memory grew by {growth:.1f} MiB, more than {GROWTH}")


def make_photos(folder: Path, count: int) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(min(count, DISTINCT)):
        blots = Image.fromarray(rng.integers(0, 256, (9, 16, 3), dtype=np.uint8))
        blots.resize((480, 270), Image.Resampling.BICUBIC).save(folder / f"{i:05}.jpg")
    for i in range(DISTINCT, count):
        os.link(folder / f"{i % DISTINCT:05}.jpg", folder / f"{i:05}.jpg")


def start(folder: Path) -> subprocess.Popen:
    given = {
        "data_dir": folder / "data",
        "photos": folder / "photos",
        "reports": folder / "reports",
        **SETTINGS,
    }
    said = ",".join(f"{name}={value}" for name, value in given.items())
    command = [
        sys.executable,
        "-m",
        "kedro",
        "run",
        "--env",
        "test",
        "--pipelines",
        "inspection",
        "--params",
        said,
    ]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def written(lines: Path) -> int:
    return lines.read_bytes().count(b"\n") if lines.is_file() else 0


def watched(process: subprocess.Popen, lines: Path) -> list[tuple[int, float]]:
    """Reports made so far and MiB in memory, again and again, until the command has ended."""
    found, before = [], written(lines)
    child = psutil.Process(process.pid)
    while process.poll() is None:
        try:
            found.append((written(lines) - before, child.memory_info().rss / 2**20))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.2)
    assert process.wait() == 0, "the last command failed"
    return found


def grown(memory: list[tuple[int, float]], asked: int) -> float:
    """MiB more in the second half than in the first, at most; says both."""
    # What the first batches allocate once is in neither half; tables are made when all are reported.
    first = max(mib for number, mib in memory if 0.05 * asked <= number < asked / 2)
    second = max(mib for number, mib in memory if asked / 2 <= number < asked)
    tables = max(mib for number, mib in memory if number == asked)
    print(f"memory at most: first half {first:.1f} MiB, second half {second:.1f}, tables {tables:.1f}")
    return second - first


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
