"""Real trainings by ultralytics, on photos of large rectangles."""

import json
import os
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from lng_kedro.datasets import DetectorDataset
from lng_kedro.detectors.model import detect, load_detector, read_about
from lng_kedro.detectors.quiet import find_weights, keep_quiet
from lng_kedro.detectors.scores import detector_metrics
from lng_kedro.detectors.train import arguments, train_detector
from lng_kedro.imaging import PhotoFolder
from lng_kedro.training.run import TrainingStopped, forget_finished
from tests.detectors.conftest import LABEL, NARROW, QUALITY, Told, baselines_params, yolo

ROOT = Path(__file__).parents[2]
RTDETR = {"name": "RT-DETR", "weights": str(NARROW), "learning_rate": 1e-3}


@pytest.fixture(scope="session")
def train(rectangles, two_labels, tmp_path_factory):
    """Trains; returns the detector and its history."""

    def run(work_dir=None, tracker=None, target=LABEL, samples=rectangles[0], chosen=None, **changes):
        params = baselines_params(work_dir or tmp_path_factory.mktemp("work"), **changes)
        tracker = tracker or Told()
        return train_detector(samples, rectangles[1], two_labels, params, chosen or yolo(), target, tracker)

    return run


@pytest.fixture(scope="session")
def ask(rectangles, two_labels, tmp_path_factory):
    """What a detector says about all photos."""
    samples, photos = rectangles
    loaders = [partial(photos.load, photo_id) for photo_id in samples["photo_id"]]

    def run(detector):
        return list(detect(detector, loaders, two_labels, baselines_params(tmp_path_factory.mktemp("work"))))

    return run


@pytest.fixture(scope="session")
def learnt(train):
    """A YOLO that has learnt the rectangles."""
    return train(chosen=yolo(epochs=20))


def test_it_learns_and_the_threshold_is_chosen(learnt, ask, rectangles, two_labels) -> None:
    detector, history = learnt
    truths = [json.loads(truth) for truth in rectangles[0]["ground_truth"]]
    said = {"label": ask(detector)}
    figures = detector_metrics(said, {"label": detector.about.threshold}, truths, two_labels)
    assert figures["map_50"] > 0.5
    assert figures["f1_label"] > 0.5
    assert 0 < detector.about.threshold < 1
    assert history["epoch"].tolist() == list(range(1, 21))
    assert {"train/box_loss", "metrics/mAP50", "val/cls_loss", "batch_size"} <= set(history)
    assert history["train/cls_loss"].iloc[-1] < history["train/cls_loss"].iloc[0]


def test_objects_have_the_form_of_a_report(learnt, ask) -> None:
    photos = ask(learnt[0])
    objects = [o for photo in photos for o in photo]
    assert max(map(len, photos)) <= 20
    assert list(objects[0]) == [
        *("label", "bbox", "tank_type", "location", "sub_location", "part", "quality", "score")
    ]
    assert {o["label"] for o in objects} <= {"crack", "welding"}
    assert {o["quality"] for o in objects} == {None}
    assert all(0 <= v <= 512 for o in objects for v in o["bbox"])
    assert all(0.001 <= o["score"] <= 1 for o in objects)


def test_classes_of_quality(train, ask) -> None:
    detector, _ = train(target=QUALITY)
    assert detector.about.classes == ("Good", "Defective")
    objects = [o for photo in ask(detector) for o in photo]
    assert {o["quality"] for o in objects} <= {"Good", "Defective"}
    assert {o["label"] for o in objects} == {None}


def test_the_same_seed_says_the_same(train, ask) -> None:
    first, again, other = (ask(train(seed=seed)[0]) for seed in (1, 1, 2))
    assert first == again
    assert any(first)
    assert first != other


def test_rtdetr_trains_and_is_stored(train, ask, tmp_path) -> None:
    detector, history = train(chosen=yolo(**RTDETR, epochs=2))
    assert detector.about.is_rtdetr
    assert {"train/giou_loss", "metrics/mAP50"} <= set(history)
    said = ask(detector)
    assert all(0 <= v <= 512 for photo in said for o in photo for v in o["bbox"])
    assert any(said)
    dataset = DetectorDataset(filepath=str(tmp_path / "rtdetr"))
    dataset.save(detector)
    assert ask(load_detector(dataset.load(), tmp_path)) == said


def test_stored_without_a_pickle_it_says_the_same(learnt, ask, tmp_path) -> None:
    dataset = DetectorDataset(filepath=str(tmp_path / "yolo"))
    dataset.save(learnt[0])
    assert {p.name for p in tmp_path.rglob("*")} == {"yolo", "weights.safetensors", "detector.json"}
    again = load_detector(dataset.load(), tmp_path)
    assert again.about == learnt[0].about == read_about(dataset.load())
    assert ask(again) == ask(learnt[0])


class TestGoingOn:
    def test_a_run_that_was_cut_off_goes_on(self, train, tmp_path) -> None:
        told = Told(stop_after=2)  # the third epoch is not whole
        with pytest.raises(TrainingStopped, match=r"Interrupted\. The same command goes on from step 2"):
            train(tmp_path, told, chosen=yolo(epochs=4))
        told = Told()
        _, history = train(tmp_path, told, chosen=yolo(epochs=4))
        assert told.epochs == [3, 4]
        assert history["epoch"].tolist() == [1, 2, 3, 4]

    def test_other_settings_start_anew(self, train, tmp_path) -> None:
        with pytest.raises(TrainingStopped):
            train(tmp_path, Told(stop_after=1), chosen=yolo(epochs=2))
        told = Told()
        train(tmp_path, told, chosen=yolo(epochs=2, learning_rate=1e-3))
        assert told.epochs == [1, 2]

    def test_a_checkpoint_that_is_cut_off_is_not_used(self, train, tmp_path) -> None:
        with pytest.raises(TrainingStopped):
            train(tmp_path, Told(stop_after=1), chosen=yolo(epochs=2))
        (whole,) = tmp_path.glob("**/checkpoint-1/whole")
        whole.unlink()
        told = Told()
        train(tmp_path, told, chosen=yolo(epochs=2))
        assert told.epochs == [1, 2]

    def test_one_that_has_ended_is_not_trained_further_and_goes_when_it_is_stored(
        self, train, ask, tmp_path
    ) -> None:
        first, _ = train(tmp_path)
        told = Told()
        second, history = train(tmp_path, told)
        assert told.epochs == []
        assert len(history) == 1
        assert ask(first) == ask(second)
        assert [*tmp_path.rglob("*.pt")]
        forget_finished(tmp_path)
        assert [*tmp_path.rglob("*.pt")] == []


def test_weights_by_path_are_where_training_starts(train, learnt, tmp_path) -> None:
    told = Told(stop_after=1)
    with pytest.raises(TrainingStopped):
        train(tmp_path, told, chosen=yolo(epochs=20))
    (file,) = tmp_path.glob("**/checkpoint-1/last.pt")
    weights = shutil.copy(file, tmp_path / "mine.pt")
    detector, _ = train(tmp_path, chosen=yolo(weights=str(weights)))
    assert detector.about.architecture["scale"] == "n"


@pytest.mark.parametrize(
    "weights", ["yolo11m.pt", "/nowhere/yolo11m.pt", "yolo11z.yaml", "/nowhere/mine.yaml"]
)
def test_weights_that_cannot_be_had(weights, tmp_path, monkeypatch) -> None:
    asked = []

    def offline(url: str, *_: object, **__: object) -> None:
        asked.append(url)
        raise ConnectionError

    keep_quiet(tmp_path)
    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", offline)
    published = weights == "yolo11m.pt"
    said = "ultralytics cannot be reached for" if published else "There is no file"
    with pytest.raises(TrainingStopped, match=f"{said} '{weights}'"):
        find_weights(weights, tmp_path)
    assert len(asked) == published  # a path is never downloaded


def test_weights_that_are_downloaded_once(tmp_path, monkeypatch) -> None:
    def online(url: str, file: Path, **_: object) -> None:
        assert url.endswith("/yolo11m.pt")
        file.parent.mkdir(parents=True)
        file.write_bytes(b"weights")

    keep_quiet(tmp_path)
    monkeypatch.setattr("ultralytics.utils.downloads.safe_download", online)
    found = {find_weights("yolo11m.pt", tmp_path) for _ in range(2)}
    assert found == {str(tmp_path / "ultralytics/weights/yolo11m.pt")}
    assert find_weights("yolo11n.yaml", tmp_path) == "yolo11n.yaml"


def test_a_photo_that_is_not_read_stops_it(rectangles, two_labels, tmp_path) -> None:
    samples, photos = rectangles
    broken = tmp_path / "photos"
    shutil.copytree(photos.root, broken)
    for name in ("r3", "r4"):
        (broken / f"{name}.jpg").write_bytes((broken / f"{name}.jpg").read_bytes()[:400])
    params = baselines_params(tmp_path / "work")
    with pytest.raises(TrainingStopped, match=r"[12] of \d+ photos cannot be read, the warnings above name"):
        train_detector(samples, PhotoFolder(broken), two_labels, params, yolo(), LABEL, Told())


def test_what_the_trainer_is_told(tmp_path) -> None:
    told = arguments(baselines_params(tmp_path, bf16=True, device="cuda"), yolo(), "w.pt", Path("d.yaml"))
    assert {"amp": "bf16", "device": "0", "lr0": 3e-3, "nbs": 6, "plots": False}.items() <= told.items()
    auto = yolo(optimizer="auto", learning_rate=None)
    assert "lr0" not in arguments(baselines_params(tmp_path), auto, "w.pt", Path("d.yaml"))
    with pytest.raises(ValueError, match="ultralytics has bf16 on GPUs only"):
        baselines_params(tmp_path, bf16=True)
    with pytest.raises(
        ValueError, match="give learning_rate with an optimizer by name, and none with 'auto'"
    ):
        yolo(optimizer="auto")


def test_home_working_directory_and_network_are_left_alone(rectangles, tmp_path) -> None:
    """In a process of its own, which finds nothing set and no connection is tried in."""
    samples, photos = rectangles
    for name in ("home", "cwd"):
        (tmp_path / name).mkdir()
    samples.to_parquet(tmp_path / "samples.parquet")
    code = f"""
import socket, torch
from PIL import Image
torch.set_num_threads(1)
ours = Image.open, torch.save
tried = []
def refuse(*given, **more):
    tried.append(given)
    raise OSError
socket.getaddrinfo = socket.socket.connect = refuse
import pandas as pd
from pathlib import Path
from lng_kedro.detectors.train import train_detector
from lng_kedro.detectors.quiet import keep_quiet
from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import load_taxonomy
from tests.detectors.conftest import LABEL, Told, baselines_params, yolo
samples = pd.read_parquet({str(tmp_path / "samples.parquet")!r})
taxonomy = load_taxonomy({str(ROOT / "conf/base/parameters/taxonomy.yml")!r})
photos, params = PhotoFolder(Path({str(photos.root)!r})), baselines_params(Path({str(tmp_path / "work")!r}))
train_detector(samples, photos, taxonomy, params, yolo(), LABEL, Told())
import os, mlflow, ultralytics, ultralytics.utils.events
assert mlflow.active_run() is None
assert tried == []
assert not ultralytics.utils.events.events.enabled
assert "OMP_NUM_THREADS" not in os.environ
assert torch.get_num_threads() == 1
assert (Image.open, torch.save) == ours
"""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("YOLO", "OMP"))}
    env |= {"HOME": str(tmp_path / "home"), "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
    env.pop("XDG_CONFIG_HOME", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "cwd", env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert [*(tmp_path / "cwd").iterdir()] == []
    assert [p for p in (tmp_path / "home").rglob("*") if "ltralytics" in str(p) or p.is_file()] == []


def test_history_is_a_row_an_epoch(learnt) -> None:
    assert isinstance(learnt[1], pd.DataFrame)
    assert learnt[1].notna().all().all()
