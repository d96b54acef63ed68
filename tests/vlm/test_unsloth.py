"""Unsloth beside plain transformers: on a CPU as far as it goes there, and, where there is one, on a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm.spec import VlmParams
from tests.checkpoints import make_checkpoint
from tests.conftest import FAMILIES, ROOT, UNSLOTH
from tests.training.notes import Notes
from tests.training.test_grpo import grpo_params
from tests.training.test_sft import sft_params


def train_both(folder, samples, photos, taxonomy, models, *flags, bf16=False):
    """Both stages of all models, with plain transformers and, in another process, through Unsloth."""
    samples.to_parquet(folder / "samples.parquet")
    (folder / "photos").symlink_to(photos.root)
    sft = sft_params(folder, epochs=1, batch_size=2, gradient_accumulation=2, bf16=bf16)
    # Next to no randomness, so that both generate the same.
    grpo = grpo_params(
        folder,
        bf16=bf16,
        temperature=0.02,
        hard_samples="resample_inject",
        max_completion_length=120,
        batch_size=2,
        gradient_accumulation=4,
        scale_rewards="none",
        learning_rate=1e-3,
    )
    (folder / "sft_params.json").write_text(sft.model_dump_json())
    (folder / "grpo_params.json").write_text(grpo.model_dump_json())
    (folder / "models.json").write_text(json.dumps({k: m.model_dump(mode="json") for k, m in models.items()}))
    for family, model_params in models.items():
        plain = folder / "plain" / family
        data = samples, photos, taxonomy, with_spec(model_params, backend="transformers")
        notes = Notes()
        adapter, _ = train_sft(*data, sft.model_copy(update={"work_dir": plain / "sft_work"}), notes)
        (plain / "sft.json").write_text(json.dumps(notes.steps))
        adapter.save_pretrained(plain / "sft")
        (folder / family).mkdir()
        notes = Notes()
        train_grpo(*data, grpo.model_copy(update={"work_dir": plain / "grpo_work"}), notes, plain / "sft")
        (plain / "grpo.json").write_text(json.dumps(notes.steps))
    done = subprocess.run(
        [sys.executable, "tests/vlm/both_stages.py", str(folder), *flags],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{UNSLOTH}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder


def with_spec(params, **changes):
    spec = params.spec.model_dump() | changes
    return VlmParams(model="tiny", frame="native", models={"tiny": spec})


@pytest.fixture(scope="module")
def models(vlm_params, taxonomy, tmp_path_factory):
    folder, models = tmp_path_factory.mktemp("checkpoints"), {}
    for family, (frame, pixels, eos_tokens) in FAMILIES.items():
        checkpoint = str(make_checkpoint(family, folder / family, taxonomy))
        own = {"family": family, "checkpoint": checkpoint, "frame": frame, "pixels": pixels}
        models[family] = with_spec(vlm_params, **own, eos_tokens=eos_tokens)
    return models


@pytest.fixture(scope="module")
def folder(samples, photos, taxonomy, models, tmp_path_factory):
    return train_both(tmp_path_factory.mktemp("cpu"), samples, photos, taxonomy, models, "--without-gpu")


@pytest.mark.gpu
def test_on_a_gpu(samples, photos, taxonomy, models, tmp_path):
    """With its kernels, in 16 bits: not to the digit."""
    on_gpu = {
        family: with_spec(params, device="cuda", backend="unsloth", precision="16bit")
        for family, params in models.items()
    }
    folder = train_both(tmp_path, samples, photos, taxonomy, on_gpu, bf16=True)
    for family in models:
        for stage in ("sft", "grpo"):
            found, wanted = (figures(f / family, stage, "loss") for f in (folder, folder / "plain"))
            assert found == pytest.approx(wanted, rel=0.05, abs=0.05), (family, stage)
            assert load_file(folder / family / stage / "adapter_model.safetensors")


def figures(folder: Path, stage: str, name: str) -> list[float]:
    steps = json.loads((folder / f"{stage}.json").read_text())
    return [values[name] for _, values in steps if name in values]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("stage", ["sft", "grpo"])
def test_it_trains_as_without_unsloth(folder, family, stage):
    """The same losses, from the same checkpoint, with the same reference policy.

    Gemma's reference is thousandths of a nat off the policy that it is a copy of, as Unsloth passes them;
    the low temperature makes fifty times as much of it.
    """
    off = 0.02 if (family, stage) == ("gemma3", "grpo") else 0.0
    for name in ("loss", "grad_norm", *(("kl", "reward") if stage == "grpo" else ())):
        found, wanted = (figures(f / family, stage, name) for f in (folder, folder / "plain"))
        assert len(found) == len(wanted) >= 2
        assert found == pytest.approx(wanted, rel=1e-3 + off, abs=1e-5 + off), name


@pytest.mark.parametrize("family", FAMILIES)
def test_its_adapter_is_as_peft_stores_it(folder, family):
    found, wanted = (
        load_file(f / family / "sft/adapter_model.safetensors") for f in (folder, folder / "plain")
    )
    assert found.keys() == wanted.keys()
    assert all(found[name].shape == wanted[name].shape for name in wanted)
    assert load_file(folder / family / "grpo/adapter_model.safetensors").keys() == wanted.keys()


def test_it_must_come_before_what_it_patches():
    code = "import peft, lng_kedro.vlm.unsloth_model"
    environment = os.environ | {"PYTHONPATH": str(UNSLOTH)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr.splitlines()[-1] == (
        "ImportError: Unsloth must be imported before peft, transformers, which it patches"
    )
