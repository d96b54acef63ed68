"""One map, over processes of this machine or a Ray cluster."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from joblib import Parallel, delayed
from pydantic import TypeAdapter, ValidationError

from lng_kedro import compute
from lng_kedro.compute import ComputeParams, ComputeStopped, Processes, Ray, map_ahead, parallel_map
from lng_kedro.quarantine import Rejected


def late_if_first(n: int) -> int:
    time.sleep(0.2 if n == 0 else 0)
    return n * n


def process_id(_: int) -> int:
    time.sleep(0.1)
    return os.getpid()


def fail_at_three(n: int) -> int:
    if n == 3:
        raise Rejected("truncated", "three")
    return n


def dies_at_seven_once(marker: Path, n: int) -> int:
    if n == 7 and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return n * n


def dies_at_seven(n: int) -> int:
    if n == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


def note(folder: Path, n: int) -> int:
    (folder / str(n)).touch()
    return n


def processes(workers: int) -> Processes:
    return Processes(engine="processes", workers=workers)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A cluster of two workers that somebody else started; its address."""
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=0"]
    command += ["--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        said = (re.search(r"--address='([0-9.]+:[0-9]+)'", line) for line in server.stdout)
        yield next(filter(None, said))[1]
        below = psutil.Process(server.pid).children(recursive=True)
        server.terminate()
        _, left = psutil.wait_procs(below, timeout=20)
    assert not left


@pytest.fixture(params=["one", "two", "ray"])
def engine(request: pytest.FixtureRequest) -> Processes | Ray:
    if request.param == "ray":
        return Ray(engine="ray", address=request.getfixturevalue("cluster"))
    return processes({"one": 1, "two": 2}[request.param])


class TestEveryEngine:
    def test_results_come_in_order(self, engine: Processes | Ray) -> None:
        assert list(parallel_map(late_if_first, range(100), 100, engine, "Test")) == [
            n * n for n in range(100)
        ]

    def test_an_error_reaches_the_caller_as_it_is(self, engine: Processes | Ray) -> None:
        with pytest.raises(Rejected) as caught:
            list(parallel_map(fail_at_three, range(100), 100, engine, "Test"))
        assert type(caught.value) is Rejected
        assert caught.value.row("a.jpg") == {"file": "a.jpg", "reason": "truncated", "detail": "three"}

    def test_work_is_done_only_a_little_ahead(self, engine: Processes | Ray, tmp_path: Path) -> None:
        taken: list[int] = []
        items = (taken.append(n) or n for n in range(10_000))
        results = parallel_map(partial(note, tmp_path), items, 10_000, engine, "Test")
        assert taken == []
        assert next(results) == 0
        time.sleep(0.5)  # whatever would work ahead has time to
        assert len(taken) <= compute.CHUNK * compute.TASKS_A_WORKER * 2
        assert len(list(tmp_path.iterdir())) <= len(taken)
        results.close()

    def test_nothing_gives_nothing(self, engine: Processes | Ray, capsys: pytest.CaptureFixture[str]) -> None:
        assert list(parallel_map(late_if_first, [], 0, engine, "Photos")) == []
        assert "Photos" in capsys.readouterr().err

    def test_the_bar_says_what_it_counts(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert list(parallel_map(fail_at_three, [1, 2], 2, processes(1), "Files", unit="part")) == [1, 2]
        assert re.search(r"Files: 100%.* 2/2 .*part/s", capsys.readouterr().err)


class TestProcesses:
    def test_one_stays_in_this_process_and_two_do_not(self) -> None:
        assert set(parallel_map(process_id, range(3), 3, processes(1), "Test")) == {os.getpid()}
        used = set(parallel_map(process_id, range(20), 20, processes(2), "Test"))
        assert len(used) == 2
        assert os.getpid() not in used

    def test_minus_one_is_all_cores(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compute, "cpu_count", lambda: 3)
        assert len(set(parallel_map(process_id, range(60), 60, processes(-1), "Test"))) == 3

    def test_a_killed_process_says_what_to_do_and_the_next_map_works(self) -> None:
        with pytest.raises(ComputeStopped, match=r"was killed.*The same command goes on"):
            list(parallel_map(dies_at_seven, range(100), 100, processes(2), "Test"))
        assert list(parallel_map(late_if_first, range(4), 4, processes(2), "Test")) == [0, 1, 4, 9]

    def test_joblib_itself_can_be_used_afterwards(self) -> None:
        # It keeps one pool of processes, and found one that lacked what it needs.
        list(parallel_map(late_if_first, range(4), 4, processes(2), "Test"))
        assert Parallel(n_jobs=2)(delayed(late_if_first)(n) for n in range(4)) == [0, 1, 4, 9]


class TestRay:
    def test_a_killed_worker_loses_nothing(self, cluster: str, tmp_path: Path) -> None:
        marker = tmp_path / "killed"
        work = partial(dies_at_seven_once, marker)
        results = list(parallel_map(work, range(100), 100, Ray(engine="ray", address=cluster), "Test"))
        assert results == [n * n for n in range(100)]
        assert marker.exists()

    def test_a_photo_that_kills_every_worker_ends_in_a_clear_error(self, cluster: str) -> None:
        with pytest.raises(ComputeStopped, match=r"could not repeat it\. The same command goes on"):
            list(parallel_map(dies_at_seven, range(20), 20, Ray(engine="ray", address=cluster), "Test"))

    def test_a_cluster_that_was_only_connected_to_goes_on(self, cluster: str) -> None:
        used = set(parallel_map(process_id, range(40), 40, Ray(engine="ray", address=cluster), "Test"))
        assert len(used) == 2
        assert not ray.is_initialized()
        again = parallel_map(process_id, range(40), 40, Ray(engine="ray", address="auto"), "Test")
        assert len(list(again)) == 40

    def test_a_cluster_of_its_own_ends_with_the_work(self, capfd: pytest.CaptureFixture[str]) -> None:
        def servers() -> set[psutil.Process]:
            return {p for p in psutil.Process().children(recursive=True) if p.name() == "raylet"}

        before = servers()
        results = parallel_map(process_id, range(40), 40, Ray(engine="ray", address="local"), "Test")
        assert os.getpid() != next(results)
        started = servers() - before
        assert len(started) == 1
        results.close()
        assert not ray.is_initialized()
        _, left = psutil.wait_procs(started, timeout=20)
        assert not left
        printed = capfd.readouterr()
        assert "ray" not in (printed.out + printed.err).lower()

    def test_no_cluster_answers(self) -> None:
        expected = r"No Ray cluster answers at 127\.0\.0\.1:1 .*`ray start --head`"
        with pytest.raises(ComputeStopped, match=expected):
            list(parallel_map(late_if_first, [1], 1, Ray(engine="ray", address="127.0.0.1:1"), "Test"))

    def test_without_ray_the_error_names_the_extra(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(ComputeStopped, match=r"pip install .*\[cluster\]"):
            list(parallel_map(late_if_first, [1], 1, Ray(engine="ray", address="local"), "Test"))


class TestParams:
    def parsed(self, **given: Any) -> Processes | Ray:
        return TypeAdapter(ComputeParams).validate_python(given)

    def test_the_engine_says_which(self) -> None:
        assert self.parsed(engine="processes", workers=2) == processes(2)
        assert self.parsed(engine="ray", address="auto") == Ray(engine="ray", address="auto")

    def test_an_environment_inherits_keys_of_the_engine_that_it_replaces(self) -> None:
        assert self.parsed(engine="ray", workers=-1, address="head:6379") == Ray(
            engine="ray", address="head:6379"
        )
        assert self.parsed(engine="processes", workers=1, address="auto") == processes(1)

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"engine": "processes", "workers": 0}, "-1 for all cores, or a number of processes"),
            ({"engine": "processes", "workers": -2}, "-1 for all cores, or a number of processes"),
            ({"engine": "processes"}, "workers"),
            ({"engine": "processes", "workers": 1, "worker": 2}, "worker\n.*not permitted"),
            ({"engine": "ray"}, "address"),
            ({"engine": "ray", "address": "head"}, "auto, local, or host:port"),
            ({"engine": "ray", "address": ":6379"}, "auto, local, or host:port"),
            ({"engine": "spark"}, "'processes', 'ray'"),
            ({"workers": 1}, "engine"),
        ],
    )
    def test_a_mistake_is_told(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(ValidationError, match=message):
            self.parsed(**given)


class TestAhead:
    def test_results_are_in_order_and_few_items_are_taken_ahead(self) -> None:
        taken: list[int] = []

        def items() -> Iterator[int]:
            for i in range(20):
                taken.append(i)
                yield i

        results = map_ahead(lambda i: i * i, items(), threads=3, ahead=4)
        for i in range(20):
            assert next(results) == i * i
            assert len(taken) <= i + 4
        assert list(results) == []

    def test_what_is_raised_ends_it(self) -> None:
        def fails(i: int) -> int:
            return 1 // (i - 2)

        with pytest.raises(ZeroDivisionError):
            list(map_ahead(fails, range(5), threads=2, ahead=2))
