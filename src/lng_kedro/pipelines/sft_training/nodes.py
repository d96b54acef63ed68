"""Nodes of sft_training."""

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.tracking import track_stage
from lng_kedro.training.params import SftParams
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm.adapter import Adapter
from lng_kedro.vlm.spec import VlmParams


def sft(
    samples: pd.DataFrame, photos: PhotoFolder, taxonomy: Taxonomy, vlm: VlmParams, params: SftParams
) -> tuple[Adapter, pd.DataFrame]:
    """Fine-tunes a new adapter; MLflow is told under ``sft``."""
    tracker = track_stage("sft", samples, photos, vlm, params)
    return train_sft(samples, photos, taxonomy, vlm, params, tracker)
