"""The one map over processes."""

import os
import time

import pytest

from lng_kedro.compute import parallel_map


def late_if_first(n: int) -> int:
    time.sleep(0.2 if n == 0 else 0)
    return n * n


def process_id(_: int) -> int:
    return os.getpid()


def fail_at_three(n: int) -> int:
    if n == 3:
        raise ValueError("three")
    return n


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_results_come_in_order(n_jobs: int) -> None:
    assert list(parallel_map(late_if_first, range(6), 6, n_jobs, "Test")) == [0, 1, 4, 9, 16, 25]


def test_one_job_stays_in_this_process_and_two_do_not() -> None:
    assert set(parallel_map(process_id, range(3), 3, 1, "Test")) == {os.getpid()}
    assert os.getpid() not in set(parallel_map(process_id, range(3), 3, 2, "Test"))


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_reaches_the_caller(n_jobs: int) -> None:
    with pytest.raises(ValueError, match="three"):
        list(parallel_map(fail_at_three, range(6), 6, n_jobs, "Test"))


def test_results_are_given_as_they_come() -> None:
    seen: list[int] = []
    results = parallel_map(lambda n: seen.append(n) or n, range(1000), 1000, 1, "Test")
    assert next(results) == 0
    assert len(seen) < 1000


def test_nothing_gives_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(parallel_map(late_if_first, [], 0, 1, "Photos")) == []
    assert "Photos" in capsys.readouterr().err
