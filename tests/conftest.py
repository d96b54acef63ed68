"""What all tests share."""

import gc
import json
import os
import secrets
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from playwright.sync_api import sync_playwright

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


def pytest_collection_finish() -> None:
    """Trainers and loaders collect garbage often: they need not go through all that is imported by now."""
    gc.freeze()


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


@pytest.fixture(scope="module")
def browser():
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.fail("These tests need Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser):
    """Opens an address; at the end, no page complained or asked for anything but files."""
    pages, said, asked = [], [], []

    def do(address, width=1280, **options):
        page = browser.new_page(viewport={"width": width, "height": 800}, **options)
        page.set_default_timeout(10_000)
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        pages.append(page)
        return page

    yield do
    hacked = [page.evaluate("window.hacked") for page in pages]
    for page in pages:
        page.close()
    assert not any(hacked)
    assert [line for line in said if "ERR_FILE_NOT_FOUND" not in line or "nowhere" not in asked[-1]] == []
    assert [address for address in asked if not address.startswith("file://")] == []
