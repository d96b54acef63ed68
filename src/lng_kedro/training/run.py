"""What both stages share: going on where a run was cut off, stopping in order, and telling how it goes."""

import hashlib
import os
import shutil
import traceback
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from lng_kedro.processes import rank
from lng_kedro.vlm.photo_cache import CachedImageProcessor


class Tracker(Protocol):
    """Is told how a run goes, on the first process."""

    def figures(self, values: dict[str, float], step: int) -> None:
        """The figures of a logged step."""

    def candidates(self, rows: pd.DataFrame) -> None:
        """Candidates for one photo: columns step, photo, completion, reward, and one a reward."""


WHOLE = "whole"
"""File that says that a checkpoint was written to its end."""


class TrainingStopped(Exception):  # noqa: N818  it is no error of the program
    """Training ended early; the message says why, and how it goes on."""


def run_folder(work_dir: Path, *inputs: str) -> Path:
    """A folder for the checkpoints of one run, named by all that it depends on; those of others go.

    The same command goes on from its checkpoints; a changed input starts anew. The checkpoints of a
    finished run stay until then, since its adapter is stored after it.
    """
    folder = work_dir / hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:12]
    if rank() == 0:
        for other in [*work_dir.glob("*"), *folder.glob("checkpoint-*")]:
            if other != folder and not (other / WHOLE).exists():
                shutil.rmtree(other)
    return folder


def last_checkpoint(folder: Path) -> Path | None:
    """Folder of the last whole checkpoint of a run that was cut off or has ended.

    Found without transformers, which Unsloth must be imported before.
    """
    whole = (file.parent for file in folder.glob(f"checkpoint-*/{WHOLE}"))
    return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def mark_whole(checkpoint: Path) -> None:
    """Says that a checkpoint is written to its end, once it is on the disk and would survive a power cut."""
    for path in [*checkpoint.rglob("*"), checkpoint]:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
    (checkpoint / WHOLE).touch()


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
    cache = folder / "photos"
    processor = trainer.processing_class
    processor.image_processor = CachedImageProcessor(processor.image_processor, cache)
    try:
        with guard.signals():
            trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except Exception as error:
        reason = _reason(error, folder)
        if reason is None:
            raise
        raise TrainingStopped(f"{reason} {_goes_on(folder)}") from error
    if guard.interrupted and trainer.state.global_step < trainer.state.max_steps:
        raise TrainingStopped(f"Interrupted. {_goes_on(folder)}")
    if rank() == 0:
        shutil.rmtree(cache)
    # The last entry sums the run up.
    return pd.DataFrame(trainer.state.log_history[:-1])


def _reason(error: Exception, folder: Path) -> str | None:
    """Why training stopped, where it is no error of the program."""
    full = "No space left" in str(error) or shutil.disk_usage(folder).free < 2**20
    # What writes a checkpoint says of a full disk what it likes.
    if full or any(frame.name == "_save_checkpoint" for frame in traceback.extract_tb(error.__traceback__)):
        return f"{folder} cannot be written ({error}): its disk is {'' if full else 'perhaps '}full."
    if isinstance(error, TrainingStopped) or (
        isinstance(error, OSError) and "is no whole photo" in str(error)
    ):
        return f"{error}."
    return None


def _goes_on(folder: Path) -> str:
    checkpoint = last_checkpoint(folder)
    if checkpoint is None:
        return "No checkpoint was written yet: the same command starts anew."
    return f"The same command goes on from step {checkpoint.name.rpartition('-')[2]} ({checkpoint})."
