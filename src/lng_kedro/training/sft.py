"""Stage one: supervised fine-tuning (paper, section III.C.1)."""

from typing import Any

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.training.data import sft_dataset
from lng_kedro.training.params import SftParams
from lng_kedro.training.run import Log, fit, run_folder
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import VlmParams


def train_sft(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: SftParams,
    log: Log,
) -> tuple[Any, pd.DataFrame]:
    """Trains a new adapter on the base model.

    Args:
        samples: the SFT split.
        photos: the processed photos.
        taxonomy: the report schema.
        vlm_params: which model.
        params: how.
        log: is told each step's figures.

    Returns:
        The `PeftModel`, and one row a logged step.
    """
    vlm = load_vlm(vlm_params, new_adapter=params.lora, trainable=True, seed=params.seed)
    from trl import SFTConfig, SFTTrainer

    dataset = sft_dataset(samples, photos, taxonomy, vlm.frame, params.reasoning_share, params.seed)
    folder = run_folder(
        params.work_dir,
        params.model_dump_json(),
        vlm_params.model_dump_json(),
        taxonomy.model_dump_json(),
        *samples["photo_id"],
        *samples["ground_truth"],
    )
    arguments = params.arguments(vlm_params.spec.device) | {"output_dir": str(folder)}
    trainer = SFTTrainer(
        model=vlm.model,
        # No cut at a length: it could fall among the photo's tokens.
        args=SFTConfig(
            **arguments,
            max_length=None,
            completion_only_loss=True,
            # A batch is padded to its longest answer; the trainer would drop the column of lengths.
            train_sampling_strategy="group_by_length",
            remove_unused_columns=False,
        ),
        train_dataset=dataset,
        processing_class=vlm.processor,
    )
    return trainer.model, fit(trainer, folder, log)
