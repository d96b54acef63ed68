import json

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from lng_kedro.datasets import AdapterDataset
from lng_kedro.rewards import SCORES
from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.hard_samples import SPREADS
from lng_kedro.training.params import GrpoParams
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm.adapter import learned_from
from tests.training.notes import Notes
from tests.training.test_sft import sft_params


def grpo_params(work_dir, **changes):
    values = sft_params(work_dir).model_dump(exclude={"reasoning_share"}) | {
        "epochs": 0.5,
        "num_generations": 4,
        "max_completion_length": 40,
        "temperature": 1.0,
        "beta": 0.02,
        "loss_type": "dapo",
        "epsilon": 0.2,
        "scale_rewards": "group",
        "mask_truncated_completions": False,
        "hard_samples": "none",
        "reward_weights": dict.fromkeys(SCORES, 1.0),
    }
    return GrpoParams(**values | changes)


@pytest.fixture(scope="module")
def sft_adapter(samples, photos, taxonomy, vlm_params, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    params = sft_params(folder / "work", epochs=1, reasoning_share=1.0)
    adapter, _ = train_sft(samples, photos, taxonomy, vlm_params, params, Notes())
    dataset = AdapterDataset(filepath=str(folder / "adapter"))
    dataset.save(adapter)
    return dataset.load()


def test_goes_on_from_the_sft_adapter(sft_adapter, samples, photos, taxonomy, vlm_params, tmp_path):
    params = grpo_params(tmp_path / "work")
    assert learned_from(sft_adapter) == dict.fromkeys(samples["photo_id"])
    samples = samples.assign(sha256="hash of " + samples["photo_id"])[1:]
    adapter, history = train_grpo(samples, photos, taxonomy, vlm_params, params, Notes(), sft_adapter)
    assert history["kl"].iloc[0] == pytest.approx(0.0, abs=1e-6), "the policy does not start at the reference"
    AdapterDataset(filepath=str(tmp_path / "adapter")).save(adapter)
    known = {photo_id: f"hash of {photo_id}" for photo_id in samples["photo_id"]}
    assert learned_from(tmp_path / "adapter") == {"p0": None, **known}
    before = load_file(sft_adapter / "adapter_model.safetensors")
    after = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    assert before.keys() == after.keys(), "another adapter than the trained one was stored"
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_every_reward_is_told(samples, photos, taxonomy, vlm_params, tmp_path):
    notes = Notes()
    params = grpo_params(tmp_path / "work", beta=0.0)
    train_grpo(samples, photos, taxonomy, vlm_params, params, notes, None)
    told = set.union(*(set(values) for _, values in notes.steps))
    assert {f"rewards/{name}/{part}" for name in SCORES for part in ("mean", "std")} <= told
    assert {"zero_spread", "completions/clipped_ratio", "tokens_per_second", "peak_memory_gib"} <= told
    (first, *_) = notes.shown
    assert first.columns.tolist() == ["step", "photo", "completion", "reward", *SCORES]
    assert len(first) == 4
    assert first["photo"].nunique() == 1
    assert first["reward"].tolist() == pytest.approx(first[list(SCORES)].sum(axis=1).tolist())


@pytest.mark.parametrize("remedy", ["none", "resample_inject"])
def test_a_run_that_was_cut_off_goes_on_with_its_own_policy(
    sft_adapter, samples, photos, taxonomy, vlm_params, tmp_path, remedy
):
    """With a reference policy in the checkpoint, which is an adapter too, and what is known of the photos."""

    class PowerCut(BaseException):
        pass

    def cut(step):
        if step == 3:
            raise PowerCut

    def weights(work_dir, notes):
        length = 120 if remedy == "resample_inject" else 40
        params = grpo_params(work_dir, epochs=1, hard_samples=remedy, max_completion_length=length)
        adapter, _ = train_grpo(samples, photos, taxonomy, vlm_params, params, notes, sft_adapter)
        AdapterDataset(filepath=str(work_dir / "adapter")).save(adapter)
        return load_file(work_dir / "adapter" / "adapter_model.safetensors")

    unbroken = weights(tmp_path / "unbroken", Notes())
    with pytest.raises(PowerCut):
        weights(tmp_path / "broken", Notes(cut))
    notes = Notes()
    resumed = weights(tmp_path / "broken", notes)
    assert notes.steps[0][0] == 3, "it began anew"
    (state,) = tmp_path.glob("broken/from_sft/*/checkpoint-8/trainer_state.json")
    assert (len(json.loads(state.read_text())["stateful_callbacks"].get(SPREADS, {})) == 8) == (
        remedy != "none"
    )
    assert all(torch.equal(resumed[name], tensor) for name, tensor in unbroken.items())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 2, "gradient_accumulation": 4, "num_generations": 3}, "nearest that do: 2, 4"),
        ({"reward_weights": {"iou_f1": 1.0}}, "needs exactly these keys: format_tag, json_validity"),
        ({"temperature": 0}, "greater than 0"),
    ],
)
def test_wrong_parameters_are_refused(tmp_path, changes, message):
    with pytest.raises(ValidationError, match=message):
        grpo_params(tmp_path, **changes)
