"""Which photos are for what, and how they are written for ultralytics."""

import json

import pandas as pd
import pytest
import yaml

from lng_kedro.detectors.data import hold_out, training_samples, write_dataset
from lng_kedro.imaging import PhotoFolder
from tests.detectors.conftest import found


def frame(*photo_ids: str) -> pd.DataFrame:
    return pd.DataFrame({"photo_id": photo_ids, "ground_truth": "[]", "prompt": "x"})


class TestTrainingSamples:
    def test_both_splits_together(self) -> None:
        samples = training_samples(frame("t"), frame("a", "b"), frame("c"))
        assert samples["photo_id"].tolist() == ["a", "b", "c"]
        assert list(samples) == ["photo_id", "ground_truth"]

    def test_a_test_photo_among_them_is_an_error(self) -> None:
        with pytest.raises(
            ValueError, match=r"2 test photos are among the training photos \(b, c\): run data_"
        ):
            training_samples(frame("c", "t", "b"), frame("a", "b"), frame("c"))


class TestHoldOut:
    def test_every_photo_is_on_one_side(self) -> None:
        samples = frame(*"abcdefghij")
        train, held_out = hold_out(samples, 0.2, seed=3)
        assert len(held_out) == 2
        assert sorted([*train["photo_id"], *held_out["photo_id"]]) == list("abcdefghij")

    def test_the_seed_chooses(self) -> None:
        samples = frame(*"abcdefghij")
        chosen = [hold_out(samples, 0.3, seed)[1]["photo_id"].tolist() for seed in (1, 1, 2)]
        assert chosen[0] == chosen[1] != chosen[2]

    def test_at_least_one_is_held_out(self) -> None:
        assert len(hold_out(frame("a", "b"), 0.01, seed=0)[1]) == 1


class TestWriteDataset:
    @pytest.fixture
    def parts(self):
        objects = [
            found("crack", "Defective", [128, 256, 384, 320]),
            found("welding", "Good", [0, 0, 512, 512]),
        ]
        train = pd.DataFrame({"photo_id": ["two", "none"], "ground_truth": [json.dumps(objects), "[]"]})
        return {"train": train, "val": train[:1]}

    @pytest.fixture
    def photos(self, tmp_path):
        (tmp_path / "photos").mkdir()
        for name in ("two", "none"):
            (tmp_path / f"photos/{name}.jpg").write_bytes(name.encode())
        return PhotoFolder(tmp_path / "photos")

    def test_class_centre_width_and_height(self, parts, photos, tmp_path) -> None:
        write_dataset(tmp_path / "d", parts, photos, "label", ("welding", "crack"))
        # (128 + 384) / 2 / 512 = 0.5, (256 + 320) / 2 / 512 = 0.5625, 256 / 512 = 0.5, 64 / 512 = 0.125
        assert (tmp_path / "d/labels/train/two.txt").read_text() == (
            "1 0.500000 0.562500 0.500000 0.125000\n0 0.500000 0.500000 1.000000 1.000000\n"
        )

    def test_classes_of_the_other_target(self, parts, photos, tmp_path) -> None:
        write_dataset(tmp_path / "d", parts, photos, "quality", ("Good", "Defective"))
        lines = (tmp_path / "d/labels/val/two.txt").read_text().splitlines()
        assert [line.split()[0] for line in lines] == ["1", "0"]

    def test_a_photo_without_objects_is_background(self, parts, photos, tmp_path) -> None:
        write_dataset(tmp_path / "d", parts, photos, "label", ("welding", "crack"))
        assert (tmp_path / "d/labels/train/none.txt").read_text() == ""
        assert (tmp_path / "d/images/train/none.jpg").read_bytes() == b"none"

    def test_the_description(self, parts, photos, tmp_path) -> None:
        file = write_dataset(tmp_path / "d", parts, photos, "label", ("welding", "crack"))
        assert yaml.safe_load(file.read_text()) == {
            "path": str(tmp_path / "d"),
            "names": {0: "welding", 1: "crack"},
            "train": "images/train",
            "val": "images/val",
        }

    def test_it_is_made_anew(self, parts, photos, tmp_path) -> None:
        write_dataset(tmp_path / "d", parts, photos, "label", ("welding", "crack"))
        write_dataset(tmp_path / "d", {"train": parts["train"][1:]}, photos, "label", ("welding", "crack"))
        assert sorted(p.name for p in (tmp_path / "d").rglob("*.*")) == [
            "dataset.yaml",
            "none.jpg",
            "none.txt",
        ]

    def test_a_value_that_is_no_class_is_named(self, parts, photos, tmp_path) -> None:
        with pytest.raises(ValueError, match="Photo two: label 'crack' is none of welding, cutting"):
            write_dataset(tmp_path / "d", parts, photos, "label", ("welding", "cutting"))
