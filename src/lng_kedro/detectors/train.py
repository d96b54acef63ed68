"""Training of a detector by ultralytics, going on where it was cut off."""

import json
import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.detectors.data import hold_out, write_dataset
from lng_kedro.detectors.model import About, Detector, build_detector, detect, is_rtdetr
from lng_kedro.detectors.params import BaselinesParams, DetectorParams, TargetParams
from lng_kedro.detectors.quiet import find_weights, keep_quiet
from lng_kedro.detectors.scores import choose_threshold
from lng_kedro.imaging import PhotoFolder
from lng_kedro.results import data_hash
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.training.run import (
    STATE,
    WHOLE,
    Tracker,
    TrainingStopped,
    has_ended,
    last_checkpoint,
    mark_whole,
    read_state,
    run_folder,
    told_why,
)
from lng_kedro.unseen import contents


def train_detector(
    samples: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    params: BaselinesParams,
    chosen: DetectorParams,
    target: TargetParams,
    tracker: Tracker,
) -> tuple[Detector, pd.DataFrame]:
    """Trains on most photos; the others say which epoch is the best and which score is enough.

    The same settings on the same data go on from the last whole epoch. Of its weights ultralytics stores the
    running mean, in half precision, and no state of the random numbers: a run that was cut off does not end
    at the weights of one that was not.

    Args:
        samples: of all training splits; columns photo_id and ground_truth.
        photos: the processed photos.
        taxonomy: the report schema.
        params: of all detectors.
        chosen: which detector.
        target: which field's values are its classes.
        tracker: is told each epoch's figures.

    Returns:
        The detector of the best epoch, with its threshold, and one row an epoch.

    Raises:
        TrainingStopped: interrupted, the disk is full, or there are no such weights.
        ValueError: an object's value is no class.
    """
    classes = taxonomy.choices(target.field)
    fingerprints = (params.fingerprint(), chosen.fingerprint(), target.field, json.dumps(classes))
    folder = run_folder(work_folder(params, chosen, target), *fingerprints, data_hash(samples, photos))
    keep_quiet(params.work_dir)
    train, held_out = hold_out(samples, params.held_out_share, params.seed)
    checkpoint = last_checkpoint(folder)
    if checkpoint is None or not has_ended(checkpoint):
        parts = {"train": train, "val": held_out}
        dataset = write_dataset(folder / "dataset", parts, photos, target.field, classes)
        weights = find_weights(chosen.weights, params.work_dir)
        with told_why(folder):
            checkpoint = _fit(arguments(params, chosen, weights, dataset), folder, tracker)
    best = _best(checkpoint, params, chosen, target, classes)
    found = {"threshold": _threshold(best, held_out, photos, taxonomy, params)}
    about = best.about.model_copy(update=found | {"learned_from": contents(samples)})
    return Detector(best.model, about), pd.DataFrame(read_state(checkpoint)["log_history"])


def work_folder(params: BaselinesParams, chosen: DetectorParams, target: TargetParams) -> Path:
    """Where the checkpoints of a detector of one field lie."""
    return params.work_dir / f"{chosen.name}.{target.field}"


def arguments(params: BaselinesParams, chosen: DetectorParams, weights: str, dataset: Path) -> dict[str, Any]:
    """What ultralytics' trainer is told; all else is as it comes."""
    asked: dict[str, Any] = {
        "task": "detect",
        "mode": "train",
        "model": weights,
        "data": str(dataset),
        "epochs": chosen.epochs,
        "batch": chosen.batch_size,
        "optimizer": chosen.optimizer,
        "imgsz": params.image_size,
        "seed": params.seed,
        "deterministic": True,
        "patience": params.patience,
        "close_mosaic": params.close_mosaic,
        "warmup_epochs": params.warmup_epochs,
        "nbs": params.nominal_batch,
        # True would ask a model that it downloads whether fp16 works.
        "amp": "bf16" if params.bf16 else False,
        "device": params.one_device,
        "workers": params.workers,
        "iou": params.nms_iou,
        "max_det": params.max_detections,
        "plots": False,
    }
    return asked if chosen.learning_rate is None else asked | {"lr0": chosen.learning_rate}


def _fit(asked: dict[str, Any], folder: Path, tracker: Tracker) -> Path:
    """Trains to the end, and returns the last checkpoint."""
    from ultralytics.models.rtdetr.train import RTDETRTrainer
    from ultralytics.models.yolo.detect import DetectionTrainer
    from ultralytics.nn.tasks import load_checkpoint, yaml_model_load

    weights, run, history = asked["model"], folder / "run", list[dict[str, float]]()
    from_yaml = weights.endswith(".yaml")
    architecture = yaml_model_load(weights) if from_yaml else load_checkpoint(weights)[0].yaml
    shutil.rmtree(run, ignore_errors=True)
    if checkpoint := last_checkpoint(folder):
        shutil.copytree(checkpoint, run / "weights")
        history = read_state(checkpoint)["log_history"]
        asked = asked | {"resume": str(run / "weights/last.pt")}
    trainer = (RTDETRTrainer if is_rtdetr(architecture) else DetectionTrainer)(
        overrides=asked | {"save_dir": str(run)}
    )
    trainer.add_callback("on_pretrain_routine_end", _check_photos)
    trainer.add_callback("on_model_save", partial(_keep, folder=folder, history=history, tracker=tracker))
    trainer.train()
    shutil.rmtree(run)
    return folder / f"checkpoint-{trainer.epoch + 1}"


def _check_photos(trainer: Any) -> None:
    """ultralytics leaves out what it cannot read, and only warns."""
    for part, loader in (("train", trainer.train_loader), ("val", trainer.test_loader)):
        given = len(list(Path(trainer.data[part]).iterdir()))
        if len(loader.dataset) != given:
            raise TrainingStopped(
                f"{given - len(loader.dataset)} of {given} photos cannot be read, the warnings above name "
                "them: make them anew by data_processing"
            )


def _keep(trainer: Any, folder: Path, history: list[dict[str, float]], tracker: Tracker) -> None:
    """Stores an epoch so that it is whole or not there, and tells its figures."""
    epoch = trainer.epoch + 1
    measured = trainer.label_loss_items(trainer.tloss) | trainer.metrics | trainer.lr
    figures = {name.replace("(B)", ""): float(value) for name, value in measured.items()}
    # It halves its batch where the GPU's memory does not suffice.
    figures["batch_size"] = float(trainer.batch_size)
    history.append({"epoch": epoch} | figures)
    state = {"global_step": epoch, "max_steps": epoch if trainer.stop else trainer.epochs}
    checkpoint = folder / f"checkpoint-{epoch}"
    shutil.copytree(trainer.wdir, checkpoint, ignore=shutil.ignore_patterns(STATE, WHOLE))
    (checkpoint / STATE).write_text(json.dumps(state | {"log_history": history}))
    before = last_checkpoint(folder)
    # An epoch that is cut off here is told twice; the other way round its place in the curve stays empty.
    tracker.figures(figures, epoch)
    mark_whole(checkpoint)
    if before:
        shutil.rmtree(before)


def _best(
    checkpoint: Path,
    params: BaselinesParams,
    chosen: DetectorParams,
    target: TargetParams,
    classes: Sequence[str],
) -> Detector:
    from ultralytics.nn.tasks import load_checkpoint

    model = load_checkpoint(checkpoint / "best.pt")[0]
    about = About(
        name=chosen.name,
        field=target.field,
        classes=tuple(classes),
        image_size=params.image_size,
        threshold=params.min_score,
        learned_from={},
        architecture={k: v for k, v in model.yaml.items() if k != "yaml_file"},
    )
    # Built as it will be when it is loaded: where weights lie in memory changes the last digit.
    return build_detector(about, model.state_dict())


def _threshold(
    detector: Detector,
    held_out: pd.DataFrame,
    photos: PhotoFolder,
    taxonomy: Taxonomy,
    params: BaselinesParams,
) -> float:
    loaders = [partial(photos.load, photo_id) for photo_id in held_out["photo_id"]]
    said = list(detect(detector, loaders, taxonomy, params))
    truths = [json.loads(truth) for truth in held_out["ground_truth"]]
    return choose_threshold(said, truths, detector.about.field, taxonomy)
