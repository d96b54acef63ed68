"""Claim: a review page takes memory as its size asks, not as there are reports, and opens within a second.

The peer, of the same run, is a page of a tenth of the reports; both leave out most of them.
*Usable*: from the request to the first photos with their boxes, filters ready, in Chromium, from disk.

    python benchmarks/review_page.py
"""

import io
import random
import shutil
import tempfile
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from lng_kedro.files import write_whole
from lng_kedro.inspection.record import MadeBy, PhotoReport
from lng_kedro.inspection.review_page import render_review_page
from lng_kedro.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml")
MIB, FEW, MANY = 24.0, 10_000, 100_000
MADE_BY = MadeBy(
    model="m", adapter_sha256=None, taxonomy_sha256="", engine="e", constrained=True, prompt_sha256=""
)


def reports(number: int, digest: str) -> Iterator[PhotoReport]:
    rng = random.Random(1)
    for i in range(number):
        values = {name: rng.choice(TAXONOMY.choices(name)) for name in TAXONOMY.field_names}
        found = {"label": rng.choice(TAXONOMY.label_names), "bbox": [99, 99, 999, 999], **values}
        score = rng.random()
        yield PhotoReport(
            photo=f"{i}.jpg",
            fingerprint="",
            sha256=digest,
            width=1920,
            height=1080,
            findings=[found | {"score": score}],
            score=score,
            text="[]",
            made_by=MADE_BY,
            time=datetime.now(UTC),
        )


def photo() -> bytes:
    blots = np.random.default_rng(1).integers(0, 256, (54, 96, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blots).resize((1920, 1080), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


def written(path: Path, number: int) -> float:
    """MiB of memory at most while a page is written."""
    content = photo()
    digest = sha256(content).hexdigest()
    tracemalloc.start()
    write_whole(path, render_review_page(reports(number, digest), lambda _: content, TAXONOMY, MIB))
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return peak


def usable(path: Path) -> float:
    """Seconds until the page can be used."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))))
    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]).new_page()
        page.goto(path.as_uri(), wait_until="domcontentloaded")
        return page.evaluate("performance.getEntriesByName('usable')[0].startTime") / 1000


with tempfile.TemporaryDirectory() as folder:
    pages = {number: Path(folder, f"{number}.html") for number in (FEW, MANY)}
    peaks = {number: written(path, number) for number, path in pages.items()}
    for number, path in pages.items():
        shown = path.read_text(encoding="utf-8").count('class="report"')
        size = path.stat().st_size / 2**20
        print(f"{number:6} reports: {shown} on a page of {size:.1f} MiB, {peaks[number]:.1f} MiB of memory")
    print(f"memory, {MANY} against {FEW} reports: {peaks[MANY] / peaks[FEW]:.2f}")
    print(f"usable after {usable(pages[MANY]):.2f} s")
