"""Adapters that change what a tiny model says, without a training."""

from pathlib import Path

import pytest
import torch

from lng_kedro.datasets import AdapterDataset
from lng_kedro.vlm.adapter import Adapter, TrainedStage
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import LoraParams

LORA = LoraParams(rank=4, alpha=8, dropout=0.0)


def make_adapter(folder: Path, params, taxonomy, reasoning=False, strength=0.3, stages=None) -> Path:
    """An adapter of random weights."""
    vlm = load_vlm(params, new_adapter=LORA)
    torch.manual_seed(1)
    for name, weight in vlm.model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=strength)
    dialogue = Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=reasoning)
    if stages is None:
        stages = [stage_of(params)]
    AdapterDataset(filepath=str(folder)).save(
        Adapter(vlm.model, dialogue, {"p0": "hash", "p1": None}, stages)
    )
    return folder


def stage_of(params, **other):
    spec = params.spec
    told = {"stage": "SFT", "checkpoint": spec.checkpoint, "revision": spec.revision, "precision": "16bit"}
    told |= {"photos": 2, "data_sha256": "d" * 64, "parameters": {"seed": 42, "lora": {"rank": 4}}}
    return TrainedStage(**told | other)


@pytest.fixture(scope="session")
def family_adapter(family_params, taxonomy, tmp_path_factory):
    return make_adapter(tmp_path_factory.mktemp("adapter") / "a", family_params, taxonomy)
