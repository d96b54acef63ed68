"""What a trainer calls at each step. Imports transformers: import Unsloth first."""

import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import ProgressCallback, TrainerCallback

from lng_kedro.processes import world_size
from lng_kedro.training.run import Tracker, TrainingStopped, mark_whole


class Progress(ProgressCallback):
    """The bar carries loss and reward; all figures go to the tracker, with speed and memory."""

    def __init__(self, name: str, tracker: Tracker) -> None:
        """`name` is the bar's."""
        super().__init__()
        self._name = name
        self._tracker = tracker
        self._last: tuple[float, float] | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **options: Any) -> None:
        """Starts the bar."""
        super().on_train_begin(args, state, control, **options)
        if self.training_bar is not None:
            self.training_bar.set_description(self._name)
            # Of a run that goes on, which has not done these steps in this time.
            self.training_bar.initial = self.training_bar.n = self.current_step = state.global_step
            self.training_bar.refresh()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        """Tells the figures of the first process, which are those of all."""
        if not state.is_world_process_zero:
            return
        if self.training_bar is not None:
            self.training_bar.set_postfix({k: logs[k] for k in ("loss", "reward") if k in logs})
        figures = {k: float(v) for k, v in logs.items() if isinstance(v, int | float)}
        more = self._speed(state.num_input_tokens_seen) | {"peak_memory_gib": _peak_memory()}
        self._tracker.figures(figures | more, state.global_step)

    def _speed(self, tokens: float) -> dict[str, float]:
        last, self._last = self._last, (tokens, time.monotonic())
        if last is None or tokens <= last[0]:
            return {}
        return {"tokens_per_second": (tokens - last[0]) / (self._last[1] - last[1])}


class Guard(TrainerCallback):
    """Stops in order: on a signal at the end of the step, and before an update that is no number."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.interrupted = False

    @contextmanager
    def signals(self) -> Iterator[None]:
        """Catches Ctrl-C and SIGTERM once; a second one stops at once."""

        def note(number: int, frame: Any) -> None:  # noqa: ARG001
            if self.interrupted:
                raise TrainingStopped("Interrupted in the middle of a step")
            self.interrupted = True
            # Not `print`, which may be in the middle of its work.
            os.write(1, b"\nStopping after this step; once more to stop now.\n")

        # torchrun ends the other processes by SIGTERM when one has failed; they may be waiting for it.
        numbers = [signal.SIGINT, signal.SIGTERM] if world_size() == 1 else [signal.SIGINT]
        if threading.current_thread() is not threading.main_thread():
            numbers = []
        before = {number: signal.signal(number, note) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        """Refuses gradients that are no numbers, before they reach the weights."""
        gradients = [p.grad for p in model.parameters() if p.grad is not None]
        if not torch.nn.utils.get_total_norm(gradients).isfinite():
            raise TrainingStopped(
                f"At step {state.global_step + 1} the loss or its gradient is no finite number: "
                "a lower learning_rate or max_grad_norm helps"
            )

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """All processes stop at the same step."""
        stop = self.interrupted
        if args.world_size > 1:
            flag = torch.tensor(float(stop), device=args.device)
            torch.distributed.all_reduce(flag)
            stop = flag.item() > 0
        if stop:
            self.interrupted = True
            control.should_log = control.should_save = control.should_training_stop = True

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """A checkpoint is whole when every process has written its part."""
        if args.world_size > 1:
            torch.distributed.barrier()
        if state.is_world_process_zero:
            mark_whole(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def _peak_memory() -> float:
    if torch.cuda.is_available():
        return float(torch.cuda.max_memory_allocated() / 2**30)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
