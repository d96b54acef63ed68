"""Claim: a report page of 7,500 photos and three stages is usable within 2 s, a filter takes 200 ms at most.

Chromium opens the page from disk. *Usable*: from the request to the first photos with their boxes, filters
ready. *A filter*: from the change to the next frame. The peer, of the same run, draws all cards at once.

    python benchmarks/page.py
"""

import json
import random
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import pandas as pd
from playwright.sync_api import Page, sync_playwright

from lng_kedro.page import render_page
from lng_kedro.taxonomy import Taxonomy, load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml")
PHOTOS, STAGES, REPEATS = 7500, ("base", "sft", "sft_grpo"), 5
NEXT_FRAME = "new Promise(done => requestAnimationFrame(() => setTimeout(done)))"
FILTERS = [{"label": "crack"}, {"kind": "missed"}, {"stage": "base"}, {"q": "77"}, {"sort": "mistakes"}, {}]


def objects(rng: random.Random, taxonomy: Taxonomy) -> list[dict[str, object]]:
    """One to three findings anywhere."""
    found = []
    for _ in range(rng.randint(1, 3)):
        x, y = rng.randint(0, 300), rng.randint(0, 300)
        values = {field: rng.choice(taxonomy.choices(field)) for field in taxonomy.field_names}
        label = rng.choice(taxonomy.label_names)
        found.append({"label": label, "bbox": [x, y, x + 150, y + 150], **values, "score": -rng.random()})
    return found


def predictions(rng: random.Random, truths: list[list[dict[str, object]]]) -> pd.DataFrame:
    """Half of the answers are right."""
    said = [truth if rng.random() < 0.5 else objects(rng, TAXONOMY) for truth in truths]
    texts = [f"<think>as seen</think><answer>{json.dumps(found)}</answer>" for found in said]
    rows = {
        "photo_id": [f"photo_{i}" for i in range(PHOTOS)],
        "text": texts,
        "objects": map(json.dumps, said),
    }
    return pd.DataFrame(rows).assign(valid_json=True, schema_true=True, n_tokens=99, finished=True)


def page_text() -> str:
    rng = random.Random(1)
    truths = [objects(rng, TAXONOMY) for _ in range(PHOTOS)]
    samples = pd.DataFrame(
        {
            "photo_id": [f"photo_{i}" for i in range(PHOTOS)],
            "photo_label": [truth[0]["label"] for truth in truths],
            "ground_truth": map(json.dumps, truths),
        }
    )
    said = {stage: predictions(rng, truths) for stage in STAGES}
    start = time.perf_counter()
    text = render_page("benchmark", TAXONOMY, {}, {}, samples, said, {}, "photos")
    print(f"written in         {time.perf_counter() - start:6.2f} s, {len(text.encode()) / 2**20:.1f} MiB")
    return text


def opening(page: Page, url: str) -> float:
    """Seconds until the page is usable."""
    page.goto("about:blank")
    page.goto(url, wait_until="domcontentloaded")
    page.evaluate(NEXT_FRAME)
    return page.evaluate("performance.getEntriesByName('usable')[0].startTime") / 1000


def timed(page: Page, command: str) -> float:
    """Milliseconds until the page shows what a command did."""
    return page.evaluate(
        f"(async () => {{ const start = performance.now(); {command}; await {NEXT_FRAME};"
        " return performance.now() - start })()"
    )


def filtering(page: Page, changes: dict[str, str]) -> float:
    """Milliseconds until the page shows what a filter chose."""
    given = {"label": "", "kind": "", "stage": "sft_grpo", "q": "", "sort": ""} | changes
    return timed(page, f"choose({json.dumps(given)})")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "report.html")
        path.write_text(page_text(), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(300_000)
        usable = median(opening(page, path.as_uri()) for _ in range(REPEATS))
        print(f"usable after       {usable:6.2f} s")
        worst = 0.0
        for changes in FILTERS:
            milliseconds = median(filtering(page, changes) for _ in range(REPEATS))
            worst = max(worst, milliseconds)
            print(f"{changes or 'no filter'!s:24} {milliseconds:6.0f} ms")
        every = timed(page, "more(Infinity)")
        print(f"all cards at once  {every:6.0f} ms, ratio to the slowest filter {every / worst:.0f}")
        browser.close()


if __name__ == "__main__":
    main()
