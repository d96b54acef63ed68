"""Nodes of grpo_training."""

from pathlib import Path

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.tracking import track_stage
from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.params import GrpoParams
from lng_kedro.vlm.adapter import Adapter
from lng_kedro.vlm.spec import VlmParams


def grpo(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm: VlmParams,
    params: GrpoParams,
    adapter: Path,
) -> tuple[Adapter, pd.DataFrame]:
    """Trains the SFT adapter further; MLflow is told under ``grpo``."""
    tracker = track_stage("grpo", samples, photos, vlm, params)
    return train_grpo(samples, photos, taxonomy, vlm, params, tracker, adapter)


def grpo_only(
    samples: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy, vlm: VlmParams, params: GrpoParams
) -> tuple[Adapter, pd.DataFrame]:
    """Trains a new adapter by GRPO alone; MLflow is told under ``grpo_only``."""
    tracker = track_stage("grpo_only", samples, photos, vlm, params)
    return train_grpo(samples, photos, taxonomy, vlm, params, tracker, None)
