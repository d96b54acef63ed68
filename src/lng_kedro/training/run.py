"""What both stages share: going on where a run was cut off, stopping in order, and telling how it goes."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from lng_kedro.processes import rank
from lng_kedro.training.params import TrainingParams
from lng_kedro.vlm.adapter import TrainedStage
from lng_kedro.vlm.photo_cache import CachedImageProcessor
from lng_kedro.vlm.spec import VlmParams


class Tracker(Protocol):
    """Is told how a run goes, on the first process."""

    def configuration(self, values: dict[str, Any]) -> None:
        """All settings of the trainer, with those that TRL or Unsloth chose."""

    def figures(self, values: dict[str, float], step: int) -> None:
        """The figures of a logged step."""

    def candidates(self, rows: pd.DataFrame) -> None:
        """Candidates for one photo: columns step, photo, completion, reward, and one a reward."""


WHOLE = "whole"
"""File that says that a checkpoint was written to its end."""

STATE = "trainer_state.json"
"""File of a checkpoint that says how far it is."""

PHOTOS = "photos"
"""Folder of processed photos, in that of the run: gigabytes, made anew in minutes."""


class TrainingStopped(Exception):  # noqa: N818  it is no error of the program
    """Training ended early; the message says why, and how it goes on."""


def run_folder(work_dir: Path, *inputs: str) -> Path:
    """A folder for the checkpoints of one run, named by all that its weights depend on.

    The same command goes on from its checkpoints; another starts anew, and leaves those of this one.
    """
    folder = work_dir / hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:12]
    if rank() == 0:
        cut_off = [path for path in folder.glob("checkpoint-*") if not (path / WHOLE).exists()]
        for path in [*cut_off, *work_dir.glob(f"*/{PHOTOS}")]:
            shutil.rmtree(path)
    return folder


def forget_finished(work_dir: Path) -> None:
    """Removes the checkpoints of runs that have come to their end, once what they trained is stored."""
    for folder in {checkpoint.parent for checkpoint in work_dir.rglob("checkpoint-*")}:
        checkpoint = last_checkpoint(folder)
        if checkpoint and has_ended(checkpoint):
            shutil.rmtree(folder)


def last_checkpoint(folder: Path) -> Path | None:
    """Folder of the last whole checkpoint of a run that was cut off or has ended.

    Found without transformers, which Unsloth must be imported before.
    """
    whole = (file.parent for file in folder.glob(f"checkpoint-*/{WHOLE}"))
    return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def read_state(checkpoint: Path) -> dict[str, Any]:
    """How far a checkpoint is, `global_step` of `max_steps`, and its `log_history`."""
    found: dict[str, Any] = json.loads((checkpoint / STATE).read_text())
    return found


def has_ended(checkpoint: Path) -> bool:
    """Whether a checkpoint is a run's last."""
    state = read_state(checkpoint)
    return bool(state["global_step"] >= state["max_steps"])


def mark_whole(checkpoint: Path) -> None:
    """Says that a checkpoint is written to its end, once it is on the disk and would survive a power cut."""
    for path in [*checkpoint.rglob("*"), checkpoint]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    (checkpoint / WHOLE).touch()


def trained_stage(
    stage: str, samples: pd.DataFrame, data_sha256: str, vlm: VlmParams, params: TrainingParams
) -> TrainedStage:
    """What is kept with an adapter of how it was trained."""
    return TrainedStage(
        stage=stage,
        checkpoint=vlm.spec.checkpoint,
        revision=vlm.spec.revision,
        precision=vlm.spec.precision,
        photos=len(samples),
        data_sha256=data_sha256,
        parameters=params.model_dump(mode="json", exclude={"work_dir", "logging_steps", "save_steps"}),
    )


def check_arguments(asked: dict[str, Any], arguments: Any) -> None:
    """Compares what was asked for with what a trainer is configured with: TRL and Unsloth change values.

    Raises:
        ValueError: some value is another.
    """
    found = {name: getattr(arguments, name, None) for name in asked}
    changed = [
        f"{name}: asked for {asked[name]!r}, got {value!r}"
        for name, value in found.items()
        if getattr(value, "value", value) != asked[name]
    ]
    if changed:
        raise ValueError("The trainer changed its configuration: " + "; ".join(changed))


def fit(trainer: Any, folder: Path, tracker: Tracker, name: str) -> pd.DataFrame:
    """Trains, from the last whole checkpoint in `folder` if there is one; each photo is processed once.

    Args:
        trainer: one of TRL's.
        folder: of the run.
        tracker: is told each step's figures.
        name: of the stage, for the progress bar.

    Returns:
        One row a logged step.

    Raises:
        TrainingStopped: interrupted, or the disk is full, the loss is no number or a photo is broken.
    """
    from transformers import ProgressCallback

    from lng_kedro.training.callbacks import Guard, Progress

    guard = Guard()
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress(name, tracker))
    trainer.add_callback(guard)
    checkpoint = last_checkpoint(folder)
    if checkpoint and has_ended(checkpoint):
        return pd.DataFrame(read_state(checkpoint)["log_history"])
    if rank() == 0:
        tracker.configuration(trainer.args.to_dict())
    processor, cache = trainer.processing_class, folder / PHOTOS
    processor.image_processor = CachedImageProcessor(processor.image_processor, cache, trainer.model.dtype)
    with told_why(folder), guard.signals():
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if guard.interrupted and trainer.state.global_step < trainer.state.max_steps:
        raise TrainingStopped(f"Interrupted. {_goes_on(folder)}")
    if rank() == 0:
        shutil.rmtree(cache)
    # The last entry sums the run up. A run shorter than a logged step has no others.
    rows = trainer.state.log_history[:-1]
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["step", "loss"])


@contextmanager
def told_why(folder: Path) -> Iterator[None]:
    """Makes what is no error of the program a `TrainingStopped` that says how the run in `folder` goes on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise TrainingStopped(f"Interrupted. {_goes_on(folder)}") from error
    except Exception as error:
        reason = _reason(error, folder)
        if reason is None:
            raise
        raise TrainingStopped(f"{reason}. {_goes_on(folder)}") from error


def _reason(error: Exception, folder: Path) -> str | None:
    """Why training stopped, where it is no error of the program."""
    broken_photo = isinstance(error, OSError) and "is no whole photo" in str(error)
    if broken_photo or isinstance(error, TrainingStopped):
        return str(error)
    # PyTorch does not say in so many words that a disk is full.
    said = ("No space left", "iostream error", "inline_container")
    if any(words in str(error) for words in said) or shutil.disk_usage(folder).free < 2**20:
        return f"{folder} cannot be written, is its disk full? ({error})"
    return None


def _goes_on(folder: Path) -> str:
    checkpoint = last_checkpoint(folder)
    if checkpoint is None:
        return "No checkpoint was written yet: the same command starts anew."
    return f"The same command goes on from step {checkpoint.name.rpartition('-')[2]} ({checkpoint})."
