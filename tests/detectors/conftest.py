"""Photos of large coloured rectangles, which detectors learn in seconds."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageDraw

from lng_kedro.detectors.params import BaselinesParams, DetectorParams, TargetParams
from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import Taxonomy

KINDS = (("crack", "Defective", "red"), ("welding", "Good", "blue"))
LABEL, QUALITY = TargetParams(field="label"), TargetParams(field="quality")
NARROW = Path(__file__).parents[2] / "conf/demo/rtdetr_narrow.yaml"


class Told:
    """A tracker that remembers, and may stop the run while it stores the epoch after `stop_after`."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.epochs: list[int] = []
        self._stop_after = stop_after

    def configuration(self, values) -> None:
        pass

    def candidates(self, rows) -> None:
        pass

    def figures(self, values, step) -> None:
        self.epochs.append(step)
        if self._stop_after is not None and step > self._stop_after:
            raise KeyboardInterrupt


def found(label: str, quality: str, box: list[int]) -> dict:
    rest = {"tank_type": "C", "location": "Inside", "sub_location": "Floor", "part": "Joint"}
    return {"label": label, "bbox": box, **rest, "quality": quality}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    """What a detector learns in few epochs depends on the number of threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def rectangles(tmp_path_factory):
    """(samples, photos): forty with one rectangle each, red ones cracks, blue ones welds; four with none."""
    folder = tmp_path_factory.mktemp("rectangles")
    rng = np.random.default_rng(0)
    rows = []
    for i in range(44):
        photo = Image.new("RGB", (512, 512), "grey")
        objects = []
        if i < 40:
            label, quality, colour = KINDS[i % 2]
            x, y = (int(v) for v in rng.integers(10, 240, 2))
            w, h = (int(v) for v in rng.integers(160, 260, 2))
            ImageDraw.Draw(photo).rectangle((x, y, x + w, y + h), fill=colour)
            objects = [found(label, quality, [x, y, x + w, y + h])]
        photo.save(folder / f"r{i}.jpg")
        rows.append({"photo_id": f"r{i}", "ground_truth": json.dumps(objects)})
    return pd.DataFrame(rows), PhotoFolder(folder)


@pytest.fixture(scope="session")
def two_labels(taxonomy) -> Taxonomy:
    """The taxonomy with the two labels of the photos."""
    kept = [label for label in taxonomy.labels if label.name in {"crack", "welding"}]
    return Taxonomy(**{**taxonomy.model_dump(), "labels": kept})


def baselines_params(work_dir: Path, **changes) -> BaselinesParams:
    values = {
        "seed": 1,
        "image_size": 64,
        "held_out_share": 0.2,
        "patience": 50,
        "close_mosaic": 20,
        "warmup_epochs": 1.0,
        "nominal_batch": 6,
        "bf16": False,
        "device": "cpu",
        "workers": 0,
        "min_score": 0.001,
        "nms_iou": 0.7,
        "max_detections": 20,
        "predict_batch": 8,
        "work_dir": work_dir,
    }
    return BaselinesParams(**values | changes)


def yolo(**changes) -> DetectorParams:
    values = {"name": "YOLO", "weights": "yolo11n.yaml", "epochs": 1, "batch_size": 6}
    return DetectorParams(**values | {"optimizer": "AdamW", "learning_rate": 3e-3} | changes)
