"""The dataset of LoRA adapters."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DatasetError
from peft import LoraConfig, PeftModel, get_peft_model

from lng_kedro.datasets import AdapterDataset


def base_model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))


def adapted(seed: int) -> Any:
    model = get_peft_model(base_model(), LoraConfig(r=2, target_modules=["0", "2"], init_lora_weights=False))
    torch.manual_seed(seed)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight)
    return model


class Unwritable:
    """A model whose saving is cut off."""

    def save_pretrained(self, folder: str, **_: Any) -> None:
        Path(folder).mkdir()
        raise OSError("disk full")


class TestAdapterDataset:
    def test_round_trip(self, tmp_path: Path) -> None:
        model, photo = adapted(1), torch.ones(1, 4)
        dataset = AdapterDataset(filepath=str(tmp_path / "model/sft_adapter"))
        assert not dataset.exists()
        dataset.save(model)
        assert dataset.exists()
        assert dataset.load() == tmp_path / "model/sft_adapter"
        again = PeftModel.from_pretrained(base_model(), dataset.load())
        assert torch.equal(again(photo), model(photo))
        assert not torch.allclose(again(photo), base_model()(photo))

    def test_only_the_trained_adapter_is_kept(self, tmp_path: Path) -> None:
        model = adapted(1)
        model.add_adapter("ref", LoraConfig(r=2, target_modules=["0"]))
        dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
        dataset.save(model)
        assert {p.name for p in tmp_path.rglob("*")} == {
            "adapter",
            "README.md",
            "adapter_config.json",
            "adapter_model.safetensors",
        }

    def test_saving_again_replaces(self, tmp_path: Path) -> None:
        dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
        dataset.save(adapted(1))
        first = (dataset.load() / "adapter_model.safetensors").read_bytes()
        dataset.save(adapted(2))
        assert (dataset.load() / "adapter_model.safetensors").read_bytes() != first
        assert [p.name for p in tmp_path.iterdir()] == ["adapter"]

    def test_a_cut_off_save_leaves_the_old_adapter(self, tmp_path: Path) -> None:
        dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
        dataset.save(adapted(1))
        before = (dataset.load() / "adapter_model.safetensors").read_bytes()
        with pytest.raises(DatasetError, match="disk full"):
            dataset.save(Unwritable())
        assert (dataset.load() / "adapter_model.safetensors").read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["adapter"]

    def test_a_missing_or_unfinished_adapter_is_an_error(self, tmp_path: Path) -> None:
        dataset = AdapterDataset(filepath=str(tmp_path / "adapter"))
        with pytest.raises(DatasetError, match=r"no adapter at .*adapter"):
            dataset.load()
        (tmp_path / "adapter").mkdir()
        (tmp_path / "adapter/adapter_config.json").write_text("{}")
        assert not dataset.exists()
        with pytest.raises(DatasetError, match=r"no adapter at .*adapter"):
            dataset.load()
