"""The dataset of detectors."""

from pathlib import Path
from typing import Any

import pytest
import torch
from kedro.io import DatasetError
from safetensors.torch import load_file

from lng_kedro.datasets import DetectorDataset
from lng_kedro.detectors.model import About, Detector, read_about


def detector(seed: int) -> Detector:
    torch.manual_seed(seed)
    about = About(
        name="YOLO",
        field="label",
        classes=("crack", "weld blowhole"),
        image_size=64,
        threshold=0.25,
        learned_from={"a": None},
        architecture={"head": [[-1, 1, "Detect", ["nc"]]]},
    )
    return Detector(torch.nn.Linear(3, 2), about)


class Unwritable:
    """A detector whose saving is cut off."""

    def save_pretrained(self, folder: str) -> None:
        Path(folder).mkdir()
        raise OSError("disk full")


class TestDetectorDataset:
    @pytest.fixture
    def dataset(self, tmp_path: Path) -> Any:
        return DetectorDataset(filepath=str(tmp_path / "detectors/yolo11m_label"))

    def test_round_trip(self, dataset: Any) -> None:
        assert not dataset.exists()
        saved = detector(1)
        dataset.save(saved)
        assert dataset.exists()
        assert {p.name for p in dataset.load().iterdir()} == {"weights.safetensors", "detector.json"}
        assert read_about(dataset.load()) == saved.about
        weights = load_file(dataset.load() / "weights.safetensors")
        assert torch.equal(weights["weight"], saved.model.weight)

    def test_one_of_an_earlier_version_learned_from_ids(self) -> None:
        about = detector(1).about.model_dump() | {"learned_from": ["b", "a"]}
        assert About(**about).learned_from == {"b": None, "a": None}

    def test_saving_again_replaces(self, dataset: Any) -> None:
        dataset.save(detector(1))
        first = (dataset.load() / "weights.safetensors").read_bytes()
        dataset.save(detector(2))
        assert (dataset.load() / "weights.safetensors").read_bytes() != first
        assert [p.name for p in dataset.load().parent.iterdir()] == ["yolo11m_label"]

    def test_a_cut_off_save_leaves_the_old_one(self, dataset: Any) -> None:
        dataset.save(detector(1))
        with pytest.raises(DatasetError, match="disk full"):
            dataset.save(Unwritable())
        assert read_about(dataset.load()).threshold == 0.25
        assert [p.name for p in dataset.load().parent.iterdir()] == ["yolo11m_label"]

    def test_a_missing_one_is_an_error(self, dataset: Any) -> None:
        with pytest.raises(DatasetError, match=r"no detector at .*yolo11m_label"):
            dataset.load()
