"""What is read back from a real MLflow store."""

import hashlib
import json
import math
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch

from lng_kedro import __version__, tracking
from lng_kedro.imaging import PhotoFolder
from lng_kedro.tracking import data_hash, register_adapter, track_stage
from tests.project import ROOT, prepare_store
from tests.training.test_sft import sft_params

REWARDS = {"reward": [np.float32(2.175), math.nan], "iou_f1": [0.5, 0.0]}


@pytest.fixture
def client(tmp_path):
    """Of an empty store, which is the active one."""
    prepare_store(tmp_path)
    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    mlflow.create_experiment("lng_kedro", f"{tmp_path}/mlruns/artifacts")
    mlflow.set_experiment("lng_kedro")
    yield mlflow.MlflowClient()
    while mlflow.active_run():
        mlflow.end_run()
    mlflow.set_tracking_uri(before)


@pytest.fixture
def run_id(client):
    return mlflow.start_run().info.run_id


@pytest.fixture
def start(samples, photos, vlm_params, tmp_path):
    """Starts a stage."""

    def track(stage="sft", photos=photos, **changes):
        return track_stage(stage, samples, photos, vlm_params, sft_params(tmp_path / "work", **changes))

    return track


def points(client, run_id, name):
    return [(metric.step, metric.value) for metric in client.get_metric_history(run_id, name)]


def candidates(photo_id, step):
    return pd.DataFrame({"step": step, "photo": photo_id, "completion": ["[]", "no report"], **REWARDS})


def test_what_a_stage_starts_from(client, run_id, start, samples, photos, vlm_params):
    start()
    run = client.get_run(run_id)
    assert run.data.params["sft.learning_rate"] == "0.002"
    assert run.data.params["sft.lora_alpha"] == "8"
    assert run.data.params["sft.model"] == "tiny"
    assert run.data.params["sft.model_checkpoint"] == vlm_params.spec.checkpoint
    assert run.data.tags["sft.data_sha256"] == data_hash(samples, photos)
    assert run.data.tags["sft.processes"] == "1"
    assert run.data.tags["version.python"] == ".".join(map(str, sys.version_info[:3]))
    assert run.data.tags["version.lng_kedro"] == __version__
    assert "version.cuda" not in run.data.tags


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git repository")
def test_commit_of_the_code(client, run_id, start):
    start()
    tags = client.get_run(run_id).data.tags
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    assert tags["mlflow.source.git.commit"] == head
    assert tags["version.commit"] in (head, f"{head} with changes")


def test_data_hash(samples, photos, tmp_path):
    two = samples.iloc[:2]
    whole = hashlib.sha256()
    for photo_id, truth in zip(two["photo_id"], two["ground_truth"], strict=True):
        photo = hashlib.sha256((photos.root / f"{photo_id}.jpg").read_bytes()).hexdigest()
        whole.update(json.dumps([photo_id, truth, photo]).encode())
    assert data_hash(two, photos) == whole.hexdigest()
    others = [two.iloc[::-1], two.assign(ground_truth="[]"), samples.iloc[:3]]
    copied = PhotoFolder(shutil.copytree(photos.root, tmp_path / "photos"))
    assert data_hash(two, copied) == whole.hexdigest()
    copied.path("p1").write_bytes(copied.path("p1").read_bytes() + b"\0")
    hashes = {data_hash(other, photos) for other in others} | {data_hash(two, copied), whole.hexdigest()}
    assert len(hashes) == 5


def test_a_missing_photo_is_named(client, run_id, start, tmp_path):
    with pytest.raises(OSError, match=r"p0\.jpg"):
        start(photos=PhotoFolder(tmp_path))


def test_stages_share_a_run(client, run_id, start):
    sft, grpo = start("sft"), start("grpo", learning_rate=1e-4)
    sft.figures({"loss": 2.0}, 1)
    sft.figures({"loss": 1.0}, 2)
    grpo.figures({"loss": 0.5, "rewards/iou_f1/mean": 0.25}, 1)
    assert points(client, run_id, "sft/loss") == [(1, 2.0), (2, 1.0)]
    assert points(client, run_id, "grpo/loss") == [(1, 0.5)]
    assert points(client, run_id, "grpo/rewards/iou_f1/mean") == [(1, 0.25)]
    assert client.get_run(run_id).data.params["grpo.learning_rate"] == "0.0001"


def test_a_figure_that_is_no_number_is_kept(client, run_id, start):
    tracker = start()
    for step, value in enumerate([1.0, math.nan, math.inf], start=1):
        tracker.figures({"kl": value, "loss": 1.0}, step)
    (_, second), (_, third) = points(client, run_id, "sft/kl")[1:]
    assert math.isnan(second)
    assert third == sys.float_info.max
    assert points(client, run_id, "sft/loss") == [(1, 1.0), (2, 1.0), (3, 1.0)]


def test_a_continued_run_is_told_twice(client, run_id, start, monkeypatch):
    first = start("grpo")
    first.figures({"loss": 2.0}, 1)
    first.candidates(candidates("p0", 1))
    mlflow.end_run("FAILED")
    mlflow.start_run(run_id)
    monkeypatch.setattr(tracking, "version", lambda package: f"{package} of today")
    second = start("grpo")
    second.figures({"loss": 2.0}, 1)
    second.figures({"loss": 1.0}, 2)
    second.candidates(candidates("p1", 2))
    assert client.get_run(run_id).data.tags["version.torch"] == "torch of today"
    assert points(client, run_id, "grpo/loss") == [(1, 2.0), (1, 2.0), (2, 1.0)]
    assert mlflow.load_table("grpo/candidates.json", [run_id])["step"].tolist() == [1, 1, 2, 2]


def test_another_thread_tells_the_same_run(client, run_id, start):
    """MLflow's active run is its thread's; another thread would open a run without a word."""
    tracker = start()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(tracker.figures, {"loss": 2.0}, 1).result()
        pool.submit(tracker.candidates, candidates("p0", 1)).result()
    assert [run.info.run_id for run in client.search_runs(["1"])] == [run_id]
    assert points(client, run_id, "sft/loss") == [(1, 2.0)]


def test_candidates_are_shown_with_their_photo(client, run_id, start, photos, samples, tmp_path):
    root = shutil.copytree(photos.root, tmp_path / "photos")
    shutil.copy(root / "p0.jpg", root / "1102_11_7.jpg")
    tracker = start("grpo", photos=PhotoFolder(root))
    for step, photo_id in enumerate(["p0", "1102_11_7", "p0"], start=1):
        tracker.candidates(candidates(photo_id, step))
    folder = Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="grpo"))
    table = json.loads((folder / "candidates.json").read_text())
    assert table["columns"] == ["step", "photo", "completion", "reward", "iou_f1", "file"]
    photo = {"type": "image", "filepath": "grpo/photos/1102_11_7.jpg"}
    photo["compressed_filepath"] = photo["filepath"]
    assert table["data"][2:4] == [
        [2, photo, "[]", 2.175, 0.5, "1102_11_7.jpg"],
        [2, photo, "no report", None, 0.0, "1102_11_7.jpg"],
    ]
    assert len(table["data"]) == 6
    assert sorted(path.name for path in (folder / "photos").iterdir()) == ["1102_11_7.jpg", "p0.jpg"]
    assert (folder / "photos/p0.jpg").read_bytes() == (root / "p0.jpg").read_bytes()


@pytest.mark.parametrize("left", ["", '{"columns":["step","pho', "\0" * 80])
def test_an_unreadable_table_is_begun_anew(client, run_id, start, left, caplog):
    """A power cut may leave a part of it; the run must go on all the same."""
    tracker = start("grpo")
    tracker.candidates(candidates("p0", 1))
    client.log_text(run_id, left, "grpo/candidates.json")
    tracker.candidates(candidates("p1", 2))
    tracker.candidates(candidates("p2", 3))
    table = mlflow.load_table("grpo/candidates.json", [run_id])
    assert table["file"].tolist() == ["p1.jpg", "p1.jpg", "p2.jpg", "p2.jpg"]
    assert caplog.text.count("grpo/candidates.json is begun anew") == 1


@pytest.mark.parametrize("rank", ["1", None])
def test_nobody_is_told(client, start, rank, monkeypatch):
    """On the second process, which does not even import MLflow, and where MLflow is switched off."""
    if rank:
        mlflow.start_run()
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setitem(sys.modules, "mlflow", None)
    before = len(client.search_runs(["1"]))
    tracker = start()
    tracker.figures({"loss": 2.0}, 1)
    tracker.candidates(candidates("p0", 1))
    register_adapter("sft_adapter")
    runs = client.search_runs(["1"])
    assert len(runs) == before
    assert all(not (run.data.params or run.data.metrics) for run in runs)
    assert not client.search_registered_models()


def test_gpu_is_told_when_it_is_in_use(client, run_id, start, monkeypatch):
    tracker = start()
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    tracker.figures({"loss": 2.0}, 1)
    tags = client.get_run(run_id).data.tags
    assert (tags["gpu"], tags["version.cuda"]) == ("NVIDIA H100 80GB HBM3", "12.8")


def store_adapter(folder, content):
    """As the catalog's dataset does."""
    folder.mkdir(exist_ok=True)
    (folder / "adapter_model.safetensors").write_bytes(content)
    mlflow.log_artifact(str(folder), "adapters")
    register_adapter(folder.name)


def test_adapter_becomes_a_version(client, run_id, start, vlm_params, tmp_path):
    start("sft")
    store_adapter(tmp_path / "sft_adapter", b"one")
    (version,) = client.search_model_versions("name = 'lng_kedro.tiny.sft'")
    assert (version.run_id, version.status) == (run_id, "READY")
    assert version.tags == {
        "stage": "sft",
        "data_sha256": client.get_run(run_id).data.tags["sft.data_sha256"],
        "base_checkpoint": vlm_params.spec.checkpoint,
        "base_revision": "main",
    }
    folder = Path(mlflow.artifacts.download_artifacts("models:/lng_kedro.tiny.sft/1"))
    assert (folder / "adapter_model.safetensors").read_bytes() == b"one"


def test_a_run_makes_one_version_a_stage(client, run_id, start, tmp_path):
    for stage in ("sft", "grpo", "sft"):
        start(stage)
        store_adapter(tmp_path / f"{stage}_adapter", b"one")
    mlflow.end_run()
    mlflow.start_run()
    start("sft")
    store_adapter(tmp_path / "sft_adapter", b"two")
    versions = {(v.name, v.version) for v in client.search_model_versions()}
    assert versions == {("lng_kedro.tiny.sft", 1), ("lng_kedro.tiny.sft", 2), ("lng_kedro.tiny.grpo", 1)}
    for number, content in ((1, b"one"), (2, b"two")):
        folder = Path(mlflow.artifacts.download_artifacts(f"models:/lng_kedro.tiny.sft/{number}"))
        assert (folder / "adapter_model.safetensors").read_bytes() == content
