"""The whole way, once, by the real command in the `test` environment: seconds instead of hours."""

import json
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from lng_kedro.pipelines.evaluation.nodes import PHOTOS_FROM_PAGE
from lng_kedro.rewards import SCORES

ROOT = Path(__file__).parents[1]
MODEL = "tiny_qwen2_5_vl"
STAGES = ("base", "sft", "sft_grpo")
FIELDS = ("label", "tank_type", "location", "sub_location", "part", "quality")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "kedro", "run", "--env", "test", "--params", f"data_dir={folder}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def run(data_dir):
    client = mlflow.MlflowClient(f"sqlite:///{data_dir}/mlruns/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "lng_kedro"]
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def test_metrics_of_every_stage(data_dir):
    names = {"map_50", "map_50_equal", "ap_50_agnostic", "f1_50", "valid_json", "schema_true"}
    names |= {f"{kind}_{field}" for field in FIELDS for kind in ("f1", "macro_f1")}
    for stage in STAGES:
        metrics = json.loads((data_dir / "08_reporting/metrics" / MODEL / f"{stage}.json").read_text())
        assert metrics.keys() == names
        assert all(0 <= value <= 1 for value in metrics.values())


def test_table_2_is_what_the_metrics_say(data_dir):
    table = pd.read_csv(data_dir / "08_reporting/table_2.csv")
    assert table["model"].tolist() == [MODEL]
    for stage, when in (("base", "before"), ("sft_grpo", "after")):
        metrics = json.loads((data_dir / "08_reporting/metrics" / MODEL / f"{stage}.json").read_text())
        assert table[f"mAP@50 {when}"].item() == pytest.approx(100 * metrics["map_50"], abs=0.005)
        assert table[f"F1 quality {when}"].item() == pytest.approx(100 * metrics["f1_quality"], abs=0.005)


def test_table_3_says_how_to_fill_what_is_missing(data_dir):
    table = pd.read_csv(data_dir / "08_reporting" / MODEL / "table_3.csv").set_index("stage")
    assert table.index.tolist() == ["Base", "SFT", "GRPO", "SFT+GRPO"]
    assert table.loc["GRPO", "to fill"] == "kedro run --pipeline ablation"
    assert table["to fill"].drop("GRPO").isna().all()


def test_every_test_photo_is_answered(data_dir):
    samples = pd.read_parquet(data_dir / "05_model_input/test_samples.parquet")
    for stage in STAGES:
        predictions = pd.read_parquet(data_dir / "07_model_output" / MODEL / f"predictions_{stage}.parquet")
        assert predictions["photo_id"].tolist() == samples["photo_id"].tolist()
        assert (predictions["n_tokens"] > 0).all()


def test_mlflow_holds_parameters_losses_rewards_and_metrics(run):
    assert run.info.status == "FINISHED"
    assert run.data.params["sft.learning_rate"] == "0.002"
    assert run.data.params["grpo.num_generations"] == "4"
    assert run.data.params["sft.lora_rank"] == "16"
    assert run.data.params["sft.model_checkpoint"] == "models/tiny_qwen2_5_vl"
    assert {"sft.data_sha256", "grpo.data_sha256", "version.trl"} <= run.data.tags.keys()
    assert "sft/loss" in run.data.metrics
    assert {f"grpo/rewards/{name}/mean" for name in SCORES} <= run.data.metrics.keys()
    assert {f"{stage}.map_50" for stage in STAGES} <= run.data.metrics.keys()


def test_mlflow_holds_adapters_tables_and_page(data_dir):
    artifacts = data_dir / "mlruns" / "artifacts"
    files = {path.name for path in artifacts.rglob("*") if path.is_file()}
    assert {
        "table_2.csv",
        "table_3.csv",
        "report.html",
        "sft_grpo.json",
        "grpo.csv",
        "candidates.json",
        "arguments.json",
    } <= files
    adapters = {path.parent.name for path in artifacts.rglob("adapter_model.safetensors")}
    assert adapters == {"sft_adapter", "grpo_adapter"}


def test_adapters_are_registered(data_dir, run):
    client = mlflow.MlflowClient(f"sqlite:///{data_dir}/mlruns/mlflow.db")
    versions = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert {v.name for v in versions} == {f"lng_kedro.{MODEL}.{stage}" for stage in ("sft", "grpo")}
    sources = [Path(v.source.removeprefix("file://")) for v in versions]
    assert all((source / "adapter_model.safetensors").is_file() for source in sources)


def test_the_page_stands_alone(data_dir):
    page = (data_dir / "08_reporting" / MODEL / "report.html").read_text()
    assert "http://" not in page and "https://" not in page
    assert "SFT+GRPO" in page and "weld blowhole" in page
    samples = pd.read_parquet(data_dir / "05_model_input/test_samples.parquet")
    assert all(photo_id in page for photo_id in samples["photo_id"])
    folder = data_dir / "08_reporting" / MODEL / PHOTOS_FROM_PAGE
    assert all((folder / f"{photo_id}.jpg").is_file() for photo_id in samples["photo_id"])


def test_ablation_fills_its_row(data_dir):
    command = [sys.executable, "-m", "kedro", "run", "--env", "test", "--pipeline", "ablation"]
    result = subprocess.run(
        [*command, "--params", f"data_dir={data_dir}"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    table = pd.read_csv(data_dir / "08_reporting" / MODEL / "table_3.csv").set_index("stage")
    assert table["to fill"].isna().all()
    assert table.loc["GRPO"].drop("to fill").notna().all()
