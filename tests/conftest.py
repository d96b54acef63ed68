"""What all tests share."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import Taxonomy, load_taxonomy
from lng_kedro.vlm.spec import VlmParams

ROOT = Path(__file__).parents[1]
TAXONOMY_FILE = ROOT / "conf/base/parameters/taxonomy.yml"


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    return load_taxonomy(TAXONOMY_FILE)


@pytest.fixture(scope="session")
def vlm_params():
    spec = {
        "family": "qwen2_5_vl",
        "checkpoint": str(ROOT / "models" / "tiny_qwen2_5_vl"),
        "revision": "main",
        "device": "cpu",
        "backend": "transformers",
        "dtype": "float32",
        "lora_targets": r".*language_model.*\.self_attn\.(q|k|v|o)_proj",
    }
    return VlmParams(model="tiny", frame="native", models={"tiny": spec})


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((512, 512)).save(folder / f"p{i}.jpg")
    return PhotoFolder(folder)


@pytest.fixture(scope="session")
def samples(taxonomy):
    rows = []
    for i in range(8):
        finding = {
            "label": taxonomy.label_names[i],
            "bbox": [40 * i, 60, 40 * i + 120, 260],
            "tank_type": "C",
            "location": "Inside",
            "sub_location": "Floor",
            "part": "Joint",
            "quality": "Defective",
        }
        rows.append({"photo_id": f"p{i}", "ground_truth": json.dumps([finding])})
    return pd.DataFrame(rows)
