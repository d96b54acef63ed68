"""Nodes of sft_training."""

from typing import Any

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.tracking import log_stage
from lng_kedro.training.params import SftParams
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm.spec import VlmParams


def sft(
    samples: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy, vlm: VlmParams, params: SftParams
) -> tuple[Any, pd.DataFrame]:
    """Fine-tunes a new adapter; MLflow gets parameters and losses under ``sft``."""
    return train_sft(samples, photos, taxonomy, vlm, params, log_stage("sft", params))
