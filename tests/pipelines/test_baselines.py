"""The detectors' pipeline by the real command, in the `test` environment."""

import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from lng_kedro.pipelines.baselines.nodes import predict, score, train
from lng_kedro.pipelines.evaluation.schemas import Predictions
from lng_kedro.results import prediction_hashes
from tests.detectors.conftest import LABEL, baselines_params, yolo

ROOT = Path(__file__).parents[2]
DETECTORS = {"yolo11m": "YOLOv11n", "yolo12m": "YOLOv12n", "rtdetr": "RT-DETR narrow"}
FIGURES = {
    *("map_50", "map_50_equal", "map_50_boxed", "ap_50_agnostic", "f1_50"),
    *("f1_label", "macro_f1_label", "f1_quality", "macro_f1_quality"),
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory, home):
    folder = tmp_path_factory.mktemp("baselines")
    before = {path.name for path in ROOT.iterdir()}
    for pipeline in ("data_processing", "baselines"):
        command = [sys.executable, "-m", "kedro", "run", "--env", "test", "--pipelines", pipeline]
        result = subprocess.run(
            [*command, "--params", f"data_dir={folder}"],
            cwd=ROOT,
            env=os.environ | {"HOME": str(home)},
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    # Kedro-viz keeps its own notes of a run.
    assert {path.name for path in ROOT.iterdir()} <= before | {".viz"}
    return folder


def test_figures_of_each_detector(data_dir):
    for detector, name in DETECTORS.items():
        file = data_dir / f"08_reporting/metrics/detectors/{detector}.json"
        found = json.loads(file.read_text())
        assert found.keys() == {
            *("about", "metrics", "intervals", "labels", "threshold_label", "threshold_quality")
        }
        assert found["about"]["name"] == name
        assert {name for name in found["metrics"] if "/" not in name} == FIGURES
        assert len(found["labels"]) == 15
        assert all(0 <= value <= 1 for value in found["metrics"].values())
        assert 0 < found["threshold_label"] < 1


def test_what_has_learned_from_a_test_photo_is_not_tested(data_dir, photos, taxonomy, tmp_path):
    learned = pd.read_parquet(data_dir / "05_model_input/grpo_samples.parquet")
    folder = data_dir / "06_models/detectors/yolo11m_label"
    with pytest.raises(ValueError, match=r"'YOLOv11n \(label\)' has learned from 1 of the 1 test photos"):
        predict(learned[:1], photos, taxonomy, baselines_params(tmp_path), folder)


def test_predictions_have_the_columns_of_a_stages(data_dir):
    samples = pd.read_parquet(data_dir / "05_model_input/test_samples.parquet")
    for detector in DETECTORS:
        for target in ("label", "quality"):
            file = data_dir / f"07_model_output/detectors/predictions_{detector}_{target}.parquet"
            found = pd.read_parquet(file)
            Predictions.validate(found)
            assert found["photo_id"].tolist() == samples["photo_id"].tolist()
            assert (found["text"] == "").all() and found["valid_json"].all() and found["finished"].all()
            assert not found["schema_true"].any() and (found["n_tokens"] == 0).all()
            objects = [o for text in found["objects"] for o in json.loads(text)]
            assert all(o[target] and 0.001 < o["score"] < 1 for o in objects)
            assert all(o["tank_type"] is None for o in objects)


def test_detectors_are_stored_and_checkpoints_are_gone(data_dir):
    for detector in DETECTORS:
        for target in ("label", "quality"):
            folder = data_dir / f"06_models/detectors/{detector}_{target}"
            assert {p.name for p in folder.iterdir()} == {"weights.safetensors", "detector.json"}
    assert [p for p in data_dir.rglob("*") if p.suffix in {".pt", ".pkl", ".pickle", ".cache"}] == []


def test_mlflow_holds_settings_epochs_and_figures(data_dir):
    client = mlflow.MlflowClient(f"sqlite:///{data_dir}/mlruns/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "lng_kedro"]
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time"])
    run = runs[-1]
    assert len(runs) == 2 and run.info.status == "FINISHED"
    assert run.data.params["YOLOv11n.label.weights"] == "yolo11n.yaml"
    assert run.data.params["RT-DETR narrow.quality.image_size"] == "64"
    assert {"YOLOv12n.label.data_sha256", "version.ultralytics"} <= run.data.tags.keys()
    assert {"YOLOv11n.label/train/box_loss", "RT-DETR narrow.label/metrics/mAP50"} <= run.data.metrics.keys()
    assert {f"{name}/map_50" for name in DETECTORS.values()} <= run.data.metrics.keys()
    artifacts = {path.parent.name for path in data_dir.glob("mlruns/**/weights.safetensors")}
    assert len(artifacts) == 6


def test_home_is_left_alone(data_dir, home):
    assert [path for path in home.rglob("*") if "ltralytics" in path.name] == []


def test_a_test_photo_among_the_training_photos_stops_it(tmp_path):
    samples = pd.DataFrame({"photo_id": ["a", "b"], "ground_truth": "[]"})
    with pytest.raises(ValueError, match=r"1 test photos are among the training photos \(b\)"):
        train(
            *(samples[:1], samples[1:], samples[1:], None, None),
            *(baselines_params(tmp_path), yolo(), LABEL),
        )


def test_predictions_of_another_split_are_refused(data_dir, samples, photos, taxonomy):
    marked = samples.assign(objects="[]", **prediction_hashes(samples, photos, taxonomy))
    detectors = [data_dir / f"06_models/detectors/yolo11m_{field}" for field in ("label", "quality")]
    with pytest.raises(ValueError, match=r"of 'YOLOv11n \(quality\)' are of other test photos"):
        score(samples, photos, taxonomy, marked, marked[:1], *detectors)
    other = marked.assign(taxonomy_sha256="another")
    with pytest.raises(ValueError, match="another report schema"):
        score(samples, photos, taxonomy, other, marked, *detectors)


def test_table_3_holds_the_detectors(data_dir):
    table = pd.read_parquet(data_dir / "08_reporting/tiny_qwen2_5_vl/table_3.parquet")
    ours = table[table["figures"] == "ours"].set_index("model")
    for detector, name in DETECTORS.items():
        document = json.loads((data_dir / f"08_reporting/metrics/detectors/{detector}.json").read_text())
        assert ours.loc[name, "mAP@50"] == pytest.approx(100 * document["metrics"]["map_50"], abs=0.005)
        assert ours.loc[name, "F1 quality"] == pytest.approx(
            100 * document["metrics"]["f1_quality"], abs=0.005
        )
        assert ours.loc[name, "to fill"] == ""
    given = f"model=tiny_qwen2_5_vl,data_dir={data_dir}"
    assert ours.loc["SFT", "to fill"] == f"kedro run --env test --pipelines evaluation --params {given}"
