"""Nodes of base_model."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.pretraining.train import PretrainingParams, pretrain
from lng_kedro.taxonomy import Taxonomy


def pretrain_base(taxonomy: Taxonomy, params: PretrainingParams) -> tuple[tuple[Any, Any], pd.DataFrame]:
    """Pretrains the tiny Qwen2.5-VL: (model, processor), and one row a logged step."""
    model, processor, history = pretrain(taxonomy, params)
    return (model, processor), pd.DataFrame(history)


def describe_base(checkpoint: Path, params: PretrainingParams) -> dict[str, Any]:
    """What is shipped beside the weights: their recipe and their SHA-256."""
    weights = (checkpoint / "model.safetensors").read_bytes()
    return {
        "recipe": params.model_dump(mode="json", exclude={"work_dir"}),
        "sha256": sha256(weights).hexdigest(),
    }
