"""The model in models/ is what its recipe says, and the recipe is what conf/ says."""

import json
import subprocess
import sys
from hashlib import sha256

import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from tests.project import ROOT

MODEL = ROOT / "models" / "tiny_qwen2_5_vl"


@pytest.fixture(scope="module")
def shipped():
    return json.loads(MODEL.with_suffix(".recipe.json").read_text())


def test_the_weights_are_the_ones_described(shipped):
    weights = (MODEL / "model.safetensors").read_bytes()
    assert sha256(weights).hexdigest() == shipped["sha256"]
    assert len(weights) <= 16 * 2**20


def test_the_recipe_is_the_one_in_conf(shipped):
    stated = yaml.safe_load((ROOT / "conf/base/parameters/base_model.yml").read_text())["base_model"]
    assert shipped["recipe"] == {k: v for k, v in stated.items() if k != "work_dir"}


def test_size_and_type(shipped):
    weights = load_file(MODEL / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.bfloat16}
    assert 2e6 < sum(w.numel() for w in weights.values()) < 6e6


def test_the_log_tells_the_whole_training(shipped):
    log = pd.read_csv(MODEL.with_suffix(".log.csv"))
    assert log["step"].iloc[-1] == shipped["recipe"]["steps"]
    assert log["loss"].notna().all()


def test_pretraining_never_loads_the_renderer():
    code = (
        "import sys, yaml\n"
        "from itertools import islice\n"
        "import lng_kedro.pipelines.base_model.nodes, lng_kedro.pretraining.losses\n"
        "from lng_kedro.pretraining.samples import generic_samples\n"
        "from lng_kedro.taxonomy import load_taxonomy\n"
        "taxonomy = load_taxonomy('conf/base/parameters/taxonomy.yml')\n"
        "list(islice(generic_samples(taxonomy, 128, 0, 0.5, 0.5), 10))\n"
        "print([m for m in sys.modules if m.startswith('lng_kedro.aihub')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
