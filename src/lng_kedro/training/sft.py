"""Stage one: supervised fine-tuning (paper, section III.C.1)."""

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.results import data_hash
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.training.data import sft_dataset
from lng_kedro.training.memory import check_gpu
from lng_kedro.training.order import SimilarLengths
from lng_kedro.training.params import SftParams
from lng_kedro.training.run import Tracker, check_arguments, fit, last_checkpoint, run_folder, trained_stage
from lng_kedro.unseen import contents
from lng_kedro.vlm.adapter import Adapter
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.photos_once import encode_photos_once
from lng_kedro.vlm.spec import VlmParams


def train_sft(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    vlm_params: VlmParams,
    params: SftParams,
    tracker: Tracker,
) -> tuple[Adapter, pd.DataFrame]:
    """Trains a new adapter on the base model.

    Args:
        samples: the SFT split.
        photos: the processed photos.
        taxonomy: the report schema.
        vlm_params: which model.
        params: how.
        tracker: is told each step's figures.

    Returns:
        The adapter, and one row a logged step.
    """
    data = data_hash(samples, photos)
    folder = run_folder(
        params.work_dir, params.fingerprint(), vlm_params.fingerprint(), taxonomy.model_dump_json(), data
    )
    start = last_checkpoint(folder)
    arguments = params.arguments(vlm_params.spec, folder)
    check_gpu(vlm_params, params, samples, taxonomy)
    vlm = load_vlm(
        vlm_params,
        adapter=start,
        new_adapter=None if start else params.lora,
        trainable=True,
        seed=params.seed,
        gradient_checkpointing=params.gradient_checkpointing,
    )
    if vlm_params.spec.lora_targets == "language_attention":
        encode_photos_once(vlm.model, keep=params.samples_per_step)
    arguments |= {
        # No cut at a length: it could fall among the photo's tokens.
        "max_length": vlm.max_length,
        "completion_only_loss": True,
        "include_num_input_tokens_seen": "all",
        "remove_unused_columns": False,
    }
    from trl import SFTConfig

    from lng_kedro.training.trainers import OrderedSftTrainer

    dataset = sft_dataset(samples, photos, taxonomy, vlm.frame, params.reasoning_share, params.seed)
    answers = dataset.with_format(None)["completion"]  # without opening the photos
    lengths = [len(answer[0]["content"]) for answer in answers]
    trainer = OrderedSftTrainer(
        model=vlm.model,
        args=SFTConfig(**arguments),
        train_dataset=dataset,
        processing_class=vlm.processor,
        order=SimilarLengths(lengths, params.samples_per_step, params.seed),
    )
    check_arguments(arguments, trainer.args)
    history = fit(trainer, folder, tracker, "SFT")
    adapter = Adapter(
        trainer.model,
        Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=False),
        contents(samples),
        [trained_stage("SFT", samples, data, vlm_params, params)],
    )
    return adapter, history
