"""One map() over the processes of this machine."""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from joblib import Parallel, delayed
from tqdm import tqdm

In = TypeVar("In")
Out = TypeVar("Out")


def parallel_map(
    function: Callable[[In], Out], items: Iterable[In], total: int, n_jobs: int, title: str
) -> Iterator[Out]:
    """Results of `function` over `items`, in order, as they come, with a progress bar.

    Args:
        function: picklable.
        items: its arguments.
        total: how many there are.
        n_jobs: processes; -1 means all cores, 1 none but this one.
        title: of the progress bar.
    """
    results = Parallel(n_jobs=n_jobs, return_as="generator")(delayed(function)(item) for item in items)
    return iter(tqdm(results, total=total, desc=title, unit="photo"))
