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


def test_grpo_on_two_processes_is_grpo_on_one(samples, photos, vlm_params, tmp_path):
    """A group on each, with its truth; next to no randomness, since each process has its own."""
    params = grpo_params(
        tmp_path,
        temperature=0.02,
        hard_samples="resample_inject",
        scale_rewards="batch",
        max_completion_length=120,
        batch_size=8,
        beta=0.0,
    )
    samples.to_parquet(tmp_path / "samples.parquet")
    (tmp_path / "photos").symlink_to(photos.root)
    given = {"vlm": vlm_params.model_dump(mode="json"), "grpo": params.model_dump(mode="json")}
    (tmp_path / "given.json").write_text(json.dumps(given))
    figures = []
    for count in ("1", "2"):
        command = [
            TORCHRUN,
            "--nproc-per-node",
            count,
            "tests/training/grpo_on_processes.py",
            str(tmp_path),
            count,
        ]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        steps = [
            values for _, values in json.loads((tmp_path / f"{count}.json").read_text()) if "loss" in values
        ]
        figures.append(
            {k: [v[k] for v in steps] for k in ("loss", "grad_norm", "reward", "shortfall", "num_tokens")}
        )
    one, two = figures
    assert len(one["loss"]) == 2
    assert max(map(abs, one["loss"])) > 0.01
    assert two == {name: pytest.approx(values, rel=1e-4, abs=1e-5) for name, values in one.items()}


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
