"""All figures of the paper's test split: 7,500 photos with two objects each.

Wanted: at most 10 s on one core, intervals left out, and AP equal to pycocotools' own to 1e-9.
"""

import contextlib
import io
import sys
import time
from pathlib import Path

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lng_kedro.bootstrap import intervals
from lng_kedro.metrics import Scores
from lng_kedro.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml")
PHOTOS, OBJECTS, RESAMPLES = 7500, 2, 1000


def main() -> None:
    predictions, truths = make_data()
    start = time.process_time()
    scores = Scores(predictions, truths, TAXONOMY)
    found = scores.figures()
    scores.labels(), scores.sizes(), scores.numbers(), scores.confusion()
    ours = time.process_time() - start
    start = time.process_time()
    expected = [coco(predictions, truths, labels) for labels in (list(TAXONOMY.label_names), None)]
    theirs = time.process_time() - start
    differences = [abs(found[k] - e) for k, e in zip(("map_50", "ap_50_agnostic"), expected, strict=True)]
    print(f"{len(found)} figures and all breakdowns of {PHOTOS} photos: {ours:.1f} s on one core (wanted 10)")
    print(f"  two of them by pycocotools alone, with its defaults at one IoU: {theirs:.1f} s")
    print(f"  differences to it: {max(differences):.1e} (wanted 1e-9)")
    start = time.process_time()
    intervals(scores, RESAMPLES, 0)
    print(f"intervals of all figures from {RESAMPLES} resamples: {time.process_time() - start:.1f} s")


def make_data() -> tuple[list, list]:
    """Truths, and predictions of which two thirds hit and a fifth is misnamed."""
    rng = np.random.default_rng(0)
    predictions, truths = [], []
    for _ in range(PHOTOS):
        true = [an_object(rng) for _ in range(OBJECTS)]
        truths.append(true)
        predictions.append([prediction(o, rng) for o in true])
    return predictions, truths


def an_object(rng) -> dict:
    x, y, w, h = rng.uniform(0, 300), rng.uniform(0, 300), *rng.uniform(20, 200, 2)
    values = {name: str(rng.choice(TAXONOMY.choices(name))) for name in ("label", *TAXONOMY.field_names)}
    return values | {"bbox": [x, y, x + w, y + h]}


def prediction(true: dict, rng) -> dict:
    x_min, y_min, x_max, y_max = true["bbox"]
    shift = rng.normal(0, 0.12, 2) * [x_max - x_min, y_max - y_min]
    box = [x_min + shift[0], y_min + shift[1], x_max + shift[0], y_max + shift[1]]
    label = true["label"] if rng.random() < 0.8 else str(rng.choice(TAXONOMY.label_names))
    return true | {"bbox": box, "label": label, "score": float(rng.normal())}


def coco(predictions, truths, labels) -> float:
    def rows(photos):
        return [
            {
                "id": 0,
                "image_id": i,
                "category_id": labels.index(o["label"]) + 1 if labels else 1,
                "bbox": [*o["bbox"][:2], o["bbox"][2] - o["bbox"][0], o["bbox"][3] - o["bbox"][1]],
                "iscrowd": 0,
                "score": o.get("score"),
            }
            for i, objects in enumerate(photos)
            for o in objects
        ]

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        annotations = [
            a | {"id": k + 1, "area": a["bbox"][2] * a["bbox"][3]} for k, a in enumerate(rows(truths))
        ]
        classes = [{"id": c + 1} for c in range(len(labels or [0]))]
        truth.dataset = {
            "images": [{"id": i} for i in range(len(truths))],
            "annotations": annotations,
            "categories": classes,
        }
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(rows(predictions)), "bbox")
        evaluation.params.iouThrs = np.array([0.5])
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return float(precision[precision > -1].mean())


if __name__ == "__main__":
    sys.exit(main())
