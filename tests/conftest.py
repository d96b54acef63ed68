"""What all tests share."""

import json
import os
import secrets
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import Taxonomy, load_taxonomy
from lng_kedro.vlm.spec import VlmParams
from tests.checkpoints import make_checkpoint

ROOT = Path(__file__).parents[1]
# `import ray` reads these: clusters of the tests obey the tests alone, and put no token into the home folder
os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
# Unsloth and bitsandbytes, which `make test` installs beside the environment.
UNSLOTH = ROOT / ".venv/unsloth"
sys.path.append(str(UNSLOTH))
TAXONOMY_FILE = ROOT / "conf/base/parameters/taxonomy.yml"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects what needs a GPU where there is none."""
    if not torch.cuda.is_available():
        config.hook.pytest_deselected(items=[item for item in items if item.get_closest_marker("gpu")])
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


@pytest.fixture(scope="session")
def taxonomy() -> Taxonomy:
    return load_taxonomy(TAXONOMY_FILE)


@pytest.fixture(scope="session")
def vlm_params():
    spec = {
        "family": "qwen2_5_vl",
        "checkpoint": str(ROOT / "models" / "tiny_qwen2_5_vl"),
        "revision": "main",
        "frame": "resized_pixels",
        "lora_targets": "language_attention",
        "pixels": [128**2, 128**2],
        "eos_tokens": {"<|im_end|>": 258},
        "per_device_batch": None,
        "precision": "32bit",
        "backend": "transformers",
        "device": "cpu",
    }
    return VlmParams(model="tiny", frame="native", models={"tiny": spec})


FAMILIES = {
    "qwen2_5_vl": ("resized_pixels", [112**2, 112**2], {"<|im_end|>": 2, "<|endoftext|>": 0}),
    "gemma3": ("thousandths", [56**2, 56**2], {"<end_of_turn>": 5, "<eos>": 1}),
    "llava_next": ("fractions", [56 * 112, 112**2], {"</s>": 2}),
}
"""Frame, pixels and tokens that end an answer, of the checkpoints of tests/checkpoints.py."""


@pytest.fixture(scope="session", params=list(FAMILIES))
def family_params(request, vlm_params, taxonomy, tmp_path_factory):
    """A tiny random model of each family."""
    frame, pixels, eos_tokens = FAMILIES[request.param]
    folder = make_checkpoint(request.param, tmp_path_factory.mktemp(request.param), taxonomy)
    own = {"family": request.param, "checkpoint": str(folder), "frame": frame, "pixels": pixels}
    spec = vlm_params.spec.model_dump() | own | {"eos_tokens": eos_tokens}
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
