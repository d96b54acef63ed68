"""Several processes train as one does. SFT by the real command is in tests/test_survival.py."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.conftest import ROOT
from tests.training.test_grpo import grpo_params
from tests.training.test_sft import sft_params

TORCHRUN = str(Path(sys.executable).with_name("torchrun"))


@pytest.fixture
def folder(samples, photos, vlm_params, tmp_path):
    # A group on each process, with its truth; next to no randomness, since each process has its own.
    grpo = grpo_params(
        tmp_path,
        temperature=0.02,
        hard_samples="resample_inject",
        scale_rewards="batch",
        max_completion_length=120,
        batch_size=8,
        beta=0.0,
    )
    stages = {"vlm": vlm_params, "sft": sft_params(tmp_path), "grpo": grpo}
    given = {name: params.model_dump(mode="json") for name, params in stages.items()}
    (tmp_path / "given.json").write_text(json.dumps(given))
    samples.to_parquet(tmp_path / "samples.parquet")
    (tmp_path / "photos").symlink_to(photos.root)
    return tmp_path


def run(folder, processes, *arguments):
    """Exit status, and what it said."""
    command = [TORCHRUN, "--nproc-per-node", str(processes), "tests/training/on_processes.py", str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr[-3000:]


def figures(folder, name):
    steps = json.loads((folder / f"{name}.json").read_text())
    return {step: values for step, values in steps if "loss" in values}


def test_grpo_on_two_processes_is_grpo_on_one(folder):
    for count in (1, 2):
        code, said = run(folder, count, "grpo", str(count))
        assert code == 0, said
    one, two = figures(folder, "1"), figures(folder, "2")
    assert len(one) == 2
    assert max(abs(values["loss"]) for values in one.values()) > 0.01
    for name in ("loss", "grad_norm", "reward", "shortfall", "num_tokens"):
        found, wanted = ([values[name] for values in steps.values()] for steps in (two, one))
        assert found == pytest.approx(wanted, rel=1e-4, abs=1e-5), name


def test_two_processes_go_on_in_the_middle_of_the_second_epoch(folder):
    """A process dies, and the other with it; the samples that follow are those that would have followed."""
    code, said = run(folder, 2, "sft", "unbroken")
    assert code == 0, said
    code, _ = run(folder, 2, "sft", "broken", "4")  # of four steps in two epochs; three are saved
    assert code != 0
    code, said = run(folder, 2, "sft", "broken")
    assert code == 0, said
    unbroken, rest = figures(folder, "unbroken"), figures(folder, "broken")
    assert list(rest) == [4]
    assert rest[4]["loss"] == unbroken[4]["loss"]
    assert rest[4]["grad_norm"] == unbroken[4]["grad_norm"]


@pytest.mark.parametrize(
    ("processes", "per_device", "expected"),
    [
        (1, None, (8, 4)),
        (1, 2, (2, 16)),
        (2, 4, (4, 4)),
        (4, None, (8, 1)),
        (8, None, (4, 1)),  # a step has 32 samples, whoever has them
    ],
)
def test_a_step_is_divided_and_stays_what_it_is(
    monkeypatch, vlm_params, tmp_path, processes, per_device, expected
):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    spec = vlm_params.spec.model_copy(update={"per_device_batch": per_device})
    params = sft_params(tmp_path, batch_size=8, gradient_accumulation=4)
    assert params.micro_batches(spec) == expected


@pytest.mark.parametrize(
    ("processes", "per_device", "remedy", "message"),
    [
        (
            1,
            3,
            "none",
            r"= 8 samples a step do not divide into 1 .* with per_device_batch=3; the nearest that do: 2, 4",
        ),
        (
            3,
            None,
            "none",
            r"do not divide into 3 process\(es\) with per_device_batch=2; take fewer processes",
        ),
        (2, None, "resample", "wants whole groups on each of 2 processes, and a step has 1: take more"),
    ],
)
def test_what_does_not_divide_is_refused(
    monkeypatch, vlm_params, tmp_path, processes, per_device, remedy, message
):
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    spec = vlm_params.spec.model_copy(update={"per_device_batch": per_device})
    params = grpo_params(
        tmp_path, batch_size=2, gradient_accumulation=4, num_generations=8, hard_samples=remedy
    )
    with pytest.raises(ValueError, match=message):
        params.micro_batches(spec)


def test_what_is_saved_must_be_logged(tmp_path):
    with pytest.raises(ValidationError, match="save_steps=15 is no multiple of logging_steps=10"):
        sft_params(tmp_path, save_steps=15, logging_steps=10)
