import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from lng_kedro.datasets import AdapterDataset
from lng_kedro.training.params import SftParams
from lng_kedro.training.sft import train_sft
from tests.training.notes import Notes


def sft_params(work_dir, **changes):
    values = {
        "optimizer": "adamw_torch",
        "learning_rate": 2e-3,
        "lr_scheduler": "cosine",
        "bf16": False,
        "warmup_ratio": 0.03,
        "epochs": 2,
        "lora": {"rank": 4, "alpha": 8, "dropout": 0.0},
        "batch_size": 4,
        "gradient_accumulation": 1,
        "seed": 3,
        "weight_decay": 0.0,
        "max_grad_norm": 1.0,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_steps": 1,
        "work_dir": work_dir,
        "reasoning_share": 0.0,
    }
    return SftParams(**values | changes)


def weights(model, path):
    AdapterDataset(filepath=str(path)).save(model)
    return load_file(path / "adapter_model.safetensors")


@pytest.fixture(scope="module")
def trained(samples, photos, taxonomy, vlm_params, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sft")
    notes = Notes()
    adapter, history = train_sft(
        samples,
        photos,
        taxonomy,
        vlm_params,
        sft_params(folder / "work"),
        notes,
    )
    return weights(adapter, folder / "adapter"), history, notes.steps, folder


def test_loss_falls_and_is_told(trained):
    _, history, steps, _ = trained
    first, second = history["loss"].iloc[:2], history["loss"].iloc[2:]
    assert second.mean() < first.mean(), "of two epochs"
    assert [step for step, values in steps if "loss" in values] == [1, 2, 3, 4]
    assert all("tokens_per_second" in values for step, values in steps if step > 1 and "loss" in values)


def test_adapter_sits_in_the_language_models_attention_only(trained):
    names = trained[0].keys()
    assert len(names) == 4 * 4 * 2  # layers x projections x (A, B)
    assert all("language_model" in name and "self_attn" in name for name in names)


def test_adapter_loads_by_plain_peft_and_changes_the_model(trained, vlm_params, photos):
    base = AutoModelForImageTextToText.from_pretrained(vlm_params.spec.checkpoint, dtype=torch.float32)
    ids = torch.arange(300, 320)[None]
    before = base(input_ids=ids).logits
    after = PeftModel.from_pretrained(base, trained[3] / "adapter")(input_ids=ids).logits
    assert not torch.allclose(before, after, atol=1e-4)


def test_same_seed_gives_the_same_bytes(trained, samples, photos, taxonomy, vlm_params, tmp_path):
    adapter, _ = train_sft(samples, photos, taxonomy, vlm_params, sft_params(tmp_path / "work"), Notes())
    again = weights(adapter, tmp_path / "adapter")
    assert all(torch.equal(again[name], tensor) for name, tensor in trained[0].items())


def test_a_run_that_was_cut_off_goes_on_and_ends_the_same(
    trained, samples, photos, taxonomy, vlm_params, tmp_path
):
    class PowerCut(BaseException):
        pass

    def cut(step):
        if step == 3:
            raise PowerCut

    params = sft_params(tmp_path / "work")
    with pytest.raises(PowerCut):
        train_sft(samples, photos, taxonomy, vlm_params, params, Notes(cut))
    notes = Notes()
    adapter, _ = train_sft(samples, photos, taxonomy, vlm_params, params, notes)
    assert notes.steps[0][0] == 3, "it began anew"
    resumed = weights(adapter, tmp_path / "adapter")
    assert all(torch.equal(resumed[name], tensor) for name, tensor in trained[0].items())


def test_a_finished_run_is_not_trained_again(trained, samples, photos, taxonomy, vlm_params, tmp_path):
    """Its checkpoints stay, in case its adapter could not be stored."""
    _, history, _, folder = trained
    adapter, again = train_sft(samples, photos, taxonomy, vlm_params, sft_params(folder / "work"), Notes())
    stored = weights(adapter, tmp_path / "adapter")
    assert all(torch.equal(stored[name], tensor) for name, tensor in trained[0].items())
    assert again["loss"].dropna().tolist() == history["loss"].dropna().tolist()


def test_another_recipe_starts_anew(trained, samples, photos, taxonomy, vlm_params):
    folder = trained[3]
    notes = Notes()
    params = sft_params(folder / "work", learning_rate=1e-3)
    train_sft(samples, photos, taxonomy, vlm_params, params, notes)
    assert notes.steps[0][0] == 1
    assert len(list((folder / "work").iterdir())) == 2, "checkpoints of the other recipe are gone"
