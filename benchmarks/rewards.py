"""Claim: all seven rewards together take at most 150 microseconds a completion of three objects.

The peer, measured in the same run, is what a naive reward would do instead: one COCO evaluation of
the completion by pycocotools. Both read the completion's JSON anew.

    python benchmarks/rewards.py
"""

import contextlib
import io
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lng_kedro.report import answer_slice
from lng_kedro.rewards import build_rewards
from lng_kedro.taxonomy import Taxonomy, load_taxonomy

TAXONOMY_FILE = Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml"
OBJECTS = 3
CANDIDATES = 8
PROMPTS = 50
REPEATS = 15
PEER_COMPLETIONS = 40


def batch(taxonomy: Taxonomy, seed: int = 0) -> tuple[list[str], list[str]]:
    """Different completions, `CANDIDATES` of each truth: jittered boxes, some wrong values."""
    rng = np.random.default_rng(seed)
    completions, truths = [], []
    for _ in range(PROMPTS):
        truth = []
        for _ in range(OBJECTS):
            x, y, w, h = (int(n) for n in rng.integers((10, 10, 40, 40), (300, 300, 180, 180)))
            values = {name: str(rng.choice(taxonomy.choices(name))) for name in taxonomy.field_names}
            label = str(rng.choice(taxonomy.label_names))
            truth.append({"label": label, "bbox": [x, y, x + w, y + h], **values})
        for _ in range(CANDIDATES):
            candidate = []
            for item in truth:
                box = [int(n) for n in np.array(item["bbox"]) + rng.integers(-9, 10, 4)]
                label = item["label"] if rng.random() < 0.7 else str(rng.choice(taxonomy.label_names))
                candidate.append(item | {"label": label, "bbox": box})
            names = ", ".join(item["label"] for item in candidate)
            report = json.dumps(candidate, separators=(",", ":"))
            completions.append(f"<think>{OBJECTS}: {names}</think><answer>{report}</answer>")
            truths.append(json.dumps(truth, separators=(",", ":")))
    return completions, truths


def seven_rewards(taxonomy: Taxonomy, completions: list[str], truths: list[str]) -> None:
    # Built anew, they share no parsed text with the repeat before.
    for reward in build_rewards(taxonomy).values():
        reward(completions, truths)


def coco_map(taxonomy: Taxonomy, completion: str, truth: str) -> float:
    """mAP@50 of one completion by pycocotools, all scores equal."""
    number = {label: i + 1 for i, label in enumerate(taxonomy.label_names)}

    def rows(text: str) -> list[dict[str, object]]:
        found = []
        for i, item in enumerate(json.loads(text)):
            x_min, y_min, x_max, y_max = item["bbox"]
            box = [x_min, y_min, x_max - x_min, y_max - y_min]
            row = {"id": i + 1, "image_id": 1, "category_id": number[item["label"]], "bbox": box}
            found.append(row | {"area": box[2] * box[3], "iscrowd": 0, "score": 1.0})
        return found

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": 1}],
            "categories": [{"id": i} for i in number.values()],
            "annotations": rows(truth),
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(rows(answer_slice(completion) or "[]")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[1])


def microseconds(run: Callable[[], object], completions: int) -> tuple[float, float]:
    """Best and median of `REPEATS`, a completion."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) / completions * 1e6)
    return min(times), float(np.median(times))


def main() -> None:
    taxonomy = load_taxonomy(TAXONOMY_FILE)
    completions, truths = batch(taxonomy)
    peers = list(zip(completions, truths, strict=True))[:PEER_COMPLETIONS]
    ours, ours_median = microseconds(lambda: seven_rewards(taxonomy, completions, truths), len(completions))
    peer, peer_median = microseconds(lambda: [coco_map(taxonomy, *pair) for pair in peers], len(peers))
    print(f"completions of {OBJECTS} objects, {np.mean(list(map(len, completions))):.0f} characters")
    print(f"seven rewards        {ours:8.1f} us a completion (median {ours_median:.1f})")
    print(f"one COCO evaluation  {peer:8.1f} us a completion (median {peer_median:.1f})")
    print(f"ratio                {ours / peer:8.3f} (the seven take 1/{peer / ours:.0f} of the time)")


if __name__ == "__main__":
    main()
