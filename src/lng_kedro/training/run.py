"""What both stages share: going on where a run was cut off, and telling how it goes."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from lng_kedro.vlm.photo_cache import CachedImageProcessor

Log = Callable[[dict[str, float], int], None]
"""Receives the figures of a step and its number."""


def run_folder(work_dir: Path, *inputs: str) -> Path:
    """A folder for the checkpoints of one run, named by all that it depends on; those of others go.

    The same command goes on from its checkpoints; a changed input starts anew. The checkpoints of a
    finished run stay until then, since its adapter is stored after it.
    """
    folder = work_dir / hashlib.sha256("\n".join(inputs).encode()).hexdigest()[:12]
    for other in work_dir.glob("*"):
        if other != folder:
            shutil.rmtree(other)
    return folder


def last_checkpoint(folder: Path) -> Path | None:
    """Folder of the last checkpoint of a run that was cut off or has ended.

    Found without transformers, which Unsloth must be imported before.
    """
    return max(folder.glob("checkpoint-*"), key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def fit(trainer: Any, folder: Path, log: Log) -> pd.DataFrame:
    """Trains, from the last checkpoint in `folder` if there is one; each photo is processed once.

    Returns:
        One row a logged step.
    """
    from transformers import ProgressCallback

    class Progress(ProgressCallback):
        """The bar carries loss and reward; all figures go to `log`."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if self.training_bar is not None:
                self.training_bar.set_postfix({k: logs[k] for k in ("loss", "reward") if k in logs})
            log({k: float(v) for k, v in logs.items() if isinstance(v, int | float)}, state.global_step)

    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Progress())
    checkpoint = last_checkpoint(folder)
    cache = folder / "photos"
    processor = trainer.processing_class
    processor.image_processor = CachedImageProcessor(processor.image_processor, cache)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    shutil.rmtree(cache)
    # The last entry sums the run up.
    return pd.DataFrame(trainer.state.log_history[:-1])
