"""Nodes of base_model."""

from typing import Any

import pandas as pd

from lng_kedro.pretraining.train import PretrainingParams, pretrain
from lng_kedro.taxonomy import Taxonomy


def pretrain_base(taxonomy: Taxonomy, params: PretrainingParams) -> tuple[tuple[Any, Any], pd.DataFrame]:
    """Pretrains the tiny Qwen2.5-VL: (model, processor), and one row a logged step."""
    model, processor, history = pretrain(taxonomy, params)
    return (model, processor), pd.DataFrame(history)
