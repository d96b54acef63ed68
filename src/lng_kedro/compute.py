"""One map() over the processes of this machine, or over a Ray cluster: configuration alone says which."""

import logging
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

from joblib import cpu_count
from joblib.executor import get_memmapping_executor
from joblib.externals.loky.process_executor import TerminatedWorkerError
from pydantic import BeforeValidator, Field, field_validator
from tqdm import tqdm

from lng_kedro.params import Params, only_own

In = TypeVar("In")
Out = TypeVar("Out")
Task = TypeVar("Task")

CHUNK = 16
"""Items of a task at most: a task costs milliseconds, and what it returns lies in memory."""

TASKS_A_WORKER = 3
"""Tasks that are running or waiting, so that no worker idles and memory is bounded."""

CONNECT_SECONDS = 10
"""How long a cluster may take to answer."""


class ComputeStopped(Exception):  # noqa: N818  it is the machines that failed
    """The machines failed, not the work; the message says what to do."""


class Processes(Params):
    """Processes of this machine."""

    engine: Literal["processes"]
    workers: int

    @field_validator("workers")
    @classmethod
    def _some(cls, workers: int) -> int:
        if workers < 1 and workers != -1:
            raise ValueError("-1 for all cores, or a number of processes")
        return workers


class Ray(Params):
    """A Ray cluster: `auto`, the one that runs on this machine; `host:port`; `local`, one for this run."""

    engine: Literal["ray"]
    address: str

    @field_validator("address")
    @classmethod
    def _known(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if address not in ("auto", "local") and not (host and port.isdecimal()):
            raise ValueError("auto, local, or host:port")
        return address


ENGINES: dict[str, type[Params]] = {"processes": Processes, "ray": Ray}
"""Where work can be done, and what can be set there."""

ComputeParams = Annotated[
    Processes | Ray, Field(discriminator="engine"), BeforeValidator(only_own("engine", ENGINES))
]
"""Where work is done; see conf/base/parameters/data_processing.yml."""


def parallel_map(
    function: Callable[[In], Out],
    items: Iterable[In],
    total: int,
    compute: Processes | Ray,
    title: str,
    unit: str = "photo",
) -> Iterator[Out]:
    """Results of `function` over `items`, in order, as they come, with a progress bar.

    Items are taken and results are kept only some tasks ahead of what was asked for.

    Args:
        function: picklable; on a cluster, what it needs is there at the same paths.
        items: its arguments.
        total: how many there are.
        compute: where the work is done.
        title: of the progress bar.
        unit: what it counts: one of the items.

    Raises:
        ComputeStopped: a cluster cannot be reached, or a process was killed.
        Exception: whatever `function` raises, as it is.
    """
    results: Iterator[Out]
    if total == 0 or (isinstance(compute, Processes) and _workers(compute) == 1):
        results = map(function, items)
    elif isinstance(compute, Processes):
        results = _on_processes(function, items, total, _workers(compute))
    else:
        results = _on_ray(function, items, total, compute.address)
    return iter(tqdm(results, total=total, desc=title, unit=unit))


def map_ahead(function: Callable[[In], Out], items: Iterable[In], threads: int, ahead: int) -> Iterator[Out]:
    """Results of `function` over `items`, in order, by threads of this process, ahead of what is asked for.

    Args:
        function: what waits, or leaves Python's lock as decoding a photo does; whatever it raises is raised.
        items: its arguments; no more than `ahead` are taken before the first result is.
        threads: how many.
        ahead: results that are kept or being made.
    """
    with ThreadPoolExecutor(threads) as pool:
        yield from _in_order(
            lambda chunk: pool.submit(_each, function, chunk),
            lambda task: task.result(),
            lambda task: task.cancel(),
            ([item] for item in items),
            ahead,
        )


def _workers(compute: Processes) -> int:
    return int(cpu_count()) if compute.workers == -1 else compute.workers


def _on_processes(
    function: Callable[[In], Out], items: Iterable[In], total: int, workers: int
) -> Iterator[Out]:
    # joblib's own processes, without its Parallel, which works ahead however slowly results are taken.
    pool = get_memmapping_executor(workers, initializer=_end_with, initargs=(os.getpid(),))
    try:
        yield from _in_order(
            lambda chunk: pool.submit(_each, function, chunk),
            lambda task: task.result(),
            lambda task: task.cancel(),
            _chunks(items, total, workers),
            TASKS_A_WORKER * workers,
        )
    except TerminatedWorkerError as error:
        raise ComputeStopped(
            "A process was killed, perhaps for want of memory. The same command goes on where this one "
            "stopped; fewer processes need less memory: --params data_processing.compute.workers=1"
        ) from error


def _end_with(parent: int) -> None:
    """Ends this process when its parent is gone: one that was killed could not tell it to."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _on_ray(function: Callable[[In], Out], items: Iterable[In], total: int, address: str) -> Iterator[Out]:
    ray = _connected(address)
    try:
        workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        # A task whose worker or machine died is given to another one.
        remote = ray.remote(num_cpus=1, max_retries=3)(_each)
        shared = ray.put(function)
        yield from _in_order(
            lambda chunk: remote.remote(shared, chunk),
            ray.get,
            ray.cancel,
            _chunks(items, total, workers),
            TASKS_A_WORKER * workers,
        )
    except ray.exceptions.RayTaskError as error:
        raise error.cause from None
    except ray.exceptions.RayError as error:
        raise ComputeStopped(
            f"The Ray cluster lost work and could not repeat it. The same command goes on where this one "
            f"stopped. Ray says: {error}"
        ) from error
    finally:
        ray.shutdown()  # a cluster that was only connected to goes on


def _connected(address: str) -> Any:
    """Ray, connected."""
    # Read when a cluster is started, and by `import ray`.
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError as error:
        raise ComputeStopped(
            "The engine `ray` needs the extra `cluster`: pip install -c constraints.txt -e '.[cluster]'"
        ) from error
    own = {"include_dashboard": False} if address == "local" else {}
    try:
        if address not in ("auto", "local"):
            # Ray itself would wait for ever.
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
        ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, **own)
    except OSError as error:
        where = "on this machine" if address == "auto" else f"at {address}"
        raise ComputeStopped(
            f"No Ray cluster answers {where} ({error}). `ray start --head` starts one; one that asks for a "
            "token wants RAY_AUTH_MODE=token here too; address=local uses this machine alone."
        ) from error
    return ray


def _in_order(
    submit: Callable[[list[In]], Task],
    result: Callable[[Task], Sequence[Out]],
    cancel: Callable[[Task], Any],
    chunks: Iterable[list[In]],
    window: int,
) -> Iterator[Out]:
    tasks: deque[Task] = deque()
    try:
        for chunk in chunks:
            tasks.append(submit(chunk))
            if len(tasks) == window:
                yield from result(tasks.popleft())
        while tasks:
            yield from result(tasks.popleft())
    finally:
        for task in tasks:
            cancel(task)


def _chunks(items: Iterable[In], total: int, workers: int) -> Iterator[list[In]]:
    """Parts for tasks: small where there are few items, so that every worker has some to the end."""
    size = max(1, min(CHUNK, total // (8 * workers)))
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk


def _each(function: Callable[[In], Out], chunk: list[In]) -> list[Out]:
    return [function(item) for item in chunk]
