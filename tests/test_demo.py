"""The whole way, once, by the real command in the `test` environment: seconds instead of hours."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import mlflow
import nbformat
import pandas as pd
import pytest
from nbclient import NotebookClient
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lng_kedro.rewards import SCORES
from lng_kedro.unseen import contents
from lng_kedro.vlm.adapter import adapter_hash, learned_from, trained_stages

ROOT = Path(__file__).parents[1]
NOTEBOOK = ROOT / "notebooks/one_photo.ipynb"
MODEL = "tiny_qwen2_5_vl"
STAGES = ("base", "sft", "sft_grpo")
FIELDS = ("label", "tank_type", "location", "sub_location", "part", "quality")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    command = [sys.executable, "-m", "kedro", "run", "--env", "test", "--params", f"data_dir={folder}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    # What came out is said last.
    *_, table, place = result.stdout.strip().rsplit("\n", 2)
    assert "SFT+GRPO" in table
    assert place == f"All of it: {folder}/08_reporting/{MODEL}/report.html"
    return folder


@pytest.fixture(scope="module")
def run(data_dir):
    client = mlflow.MlflowClient(f"sqlite:///{data_dir}/mlruns/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "lng_kedro"]
    (run,) = client.search_runs([experiment.experiment_id])
    return run


def document(data_dir, stage):
    return json.loads((data_dir / "08_reporting/metrics" / MODEL / f"{stage}.json").read_text())


def test_metrics_of_every_stage(data_dir):
    names = {"map_50", "map_50_equal", "map_50_boxed", "ap_50_agnostic", "f1_50", "valid_json", "schema_true"}
    names |= {f"{kind}_{field}" for field in FIELDS for kind in ("f1", "macro_f1")}
    for stage in STAGES:
        found = document(data_dir, stage)
        metrics = found["metrics"]
        assert {name for name in metrics if "/" not in name} == names | {"count_error"}
        assert all(0 <= metrics[name] <= 1 for name in names)
        assert all(low <= metrics[name] <= high for name, (low, high) in found["intervals"].items())
        assert found["about"]["photos"] == 15


def test_table_2_is_what_the_metrics_say(data_dir):
    table = pd.read_parquet(data_dir / "08_reporting/table_2.parquet")
    assert table["model"].nunique() == 5
    ours = table[table["model"] == MODEL]
    assert ours["figures"].tolist() == ["ours"]
    for stage, when in (("base", "before"), ("sft_grpo", "after")):
        metrics = document(data_dir, stage)["metrics"]
        assert ours[f"mAP@50 {when}"].item() == pytest.approx(100 * metrics["map_50"], abs=0.005)
        assert ours[f"F1 quality {when}"].item() == pytest.approx(100 * metrics["f1_quality"], abs=0.005)
    for form, said in (("md", "39.13 → 88.77"), ("tex", r"39.13 $\rightarrow$ 88.77")):
        assert said in (data_dir / f"08_reporting/table_2.{form}").read_text()


def table_3(data_dir):
    table = pd.read_parquet(data_dir / "08_reporting" / MODEL / "table_3.parquet")
    return table[table["figures"] == "ours"].set_index("model")


def test_table_3_says_how_to_fill_what_is_missing(data_dir):
    to_fill = table_3(data_dir)["to fill"]
    assert to_fill.index.tolist()[:4] == ["Base", "SFT", "GRPO", "SFT+GRPO"]
    given = f"model={MODEL},data_dir={data_dir}"
    assert to_fill["GRPO"] == f"kedro run --env test --pipelines ablation --params {given}"
    assert (to_fill[["Base", "SFT", "SFT+GRPO"]] == "").all()


def test_stages_are_compared(data_dir):
    found = pd.read_parquet(data_dir / "08_reporting" / MODEL / "comparisons.parquet")
    pairs = {tuple(pair) for pair in found[["first", "second"]].itertuples(index=False)}
    assert pairs == {("base", "sft"), ("base", "sft_grpo"), ("sft", "sft_grpo")}
    row = found[(found["first"] == "base") & (found["second"] == "sft") & (found["figure"] == "f1_label")]
    expected = [document(data_dir, stage)["metrics"]["f1_label"] for stage in ("base", "sft")]
    assert row["difference"].item() == pytest.approx(expected[1] - expected[0])
    assert found["p"].between(0, 1).all()


def test_pycocotools_reads_truth_and_results(data_dir):
    truth = COCO(data_dir / "05_model_input/coco_truth.json")
    results = truth.loadRes(str(data_dir / "07_model_output" / MODEL / "coco_base.json"))
    assert len(truth.imgs) == 15
    evaluation = COCOeval(truth, results, "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[1] == pytest.approx(document(data_dir, "base")["metrics"]["map_50"], abs=0.02)


def test_adapters_know_what_they_learned_from(data_dir):
    splits = {
        name: contents(pd.read_parquet(data_dir / f"05_model_input/{name}_samples.parquet"))
        for name in ("sft", "grpo")
    }
    models = data_dir / "06_models" / MODEL
    assert learned_from(models / "sft_adapter") == splits["sft"]
    assert learned_from(models / "grpo_adapter") == splits["sft"] | splits["grpo"]
    for stage, adapter in (("sft", "sft_adapter"), ("sft_grpo", "grpo_adapter")):
        said = pd.read_parquet(data_dir / f"07_model_output/{MODEL}/predictions_{stage}.parquet")
        assert set(said["weights_sha256"]) == {adapter_hash(models / adapter)}


def test_adapters_know_how_they_were_trained(data_dir):
    models = data_dir / "06_models" / MODEL
    (sft,) = trained_stages(models / "sft_adapter")
    assert trained_stages(models / "grpo_adapter")[0] == sft
    grpo = trained_stages(models / "grpo_adapter")[1]
    assert (sft.stage, sft.photos, grpo.stage, grpo.photos) == ("SFT", 30, "GRPO", 30)
    assert (sft.checkpoint, sft.precision) == ("models/tiny_qwen2_5_vl", "32bit")
    assert sft.parameters["learning_rate"] == grpo.parameters["learning_rate"] == 2e-3
    assert grpo.parameters["reward_weights"]["iou_f1"] == 2.0
    assert sft.data_sha256 != grpo.data_sha256


def test_an_exported_model_has_the_figures_of_its_adapter(data_dir, tmp_path):
    shutil.copytree(data_dir, tmp_path / "data", ignore=shutil.ignore_patterns("mlruns", "photos"))
    command = [sys.executable, "-m", "kedro", "run", "--env", "test", "--pipelines", "export"]
    given = ["--params", f"data_dir={tmp_path}/data"]
    result = subprocess.run([*command, *given], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    card = (tmp_path / f"data/06_models/{MODEL}/merged/README.md").read_text()
    found = document(data_dir, "sft_grpo")
    low, high = (100 * end for end in found["intervals"]["map_50"])
    assert f"| mAP@50 | {100 * found['metrics']['map_50']:.1f} | {low:.1f} to {high:.1f} |" in card
    assert "Of 15 test photos" in card and "It learned from 60 photos" in card
    assert "| all | 30 | " in card and "### SFT" in card and "### GRPO" in card
    assert [line for line in card.splitlines() if line.startswith("Missing")] == [
        "Missing: nobody has said under which licence the base checkpoint is (`license` of its entry in"
    ]


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
    assert {f"{stage}/map_50" for stage in STAGES} <= run.data.metrics.keys()


def test_mlflow_holds_adapters_tables_and_page(data_dir):
    artifacts = data_dir / "mlruns" / "artifacts"
    files = {path.name for path in artifacts.rglob("*") if path.is_file()}
    assert {
        "table_2.parquet",
        "table_2.md",
        "table_3.parquet",
        "table_3.tex",
        "comparisons.parquet",
        "labels.plotly.json",
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
    links = page.replace("http://www.w3.org/2000/svg", "")  # a name, not an address
    assert "http://" not in links and "https://" not in links
    assert "SFT+GRPO" in page and "weld blowhole" in page
    samples = pd.read_parquet(data_dir / "05_model_input/test_samples.parquet")
    assert all(photo_id in page for photo_id in samples["photo_id"])
    folder = data_dir / "08_reporting" / MODEL / "../../04_feature/photos"
    assert '"photos":"../../04_feature/photos"' in page
    assert all((folder / f"{photo_id}.jpg").is_file() for photo_id in samples["photo_id"])


def test_the_notebook_runs(data_dir):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    assert notebook.cells[1].source.endswith('ENV = "demo"\nPARAMS = {}')
    notebook.cells[1].source = f"ENV = 'test'\nPARAMS = {{'data_dir': '{data_dir}'}}"
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(ROOT)}}).execute()
    said = "".join(str(cell.outputs) for cell in notebook.cells if cell.cell_type == "code")
    assert all(name in said for name in ("<think>", "weighted sum", "iou_f1", "95 % interval"))


def test_the_notebook_is_shown_with_what_it_says():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert len(outputs) >= 9
    # Nothing but what is printed and shown: no warning, no progress bar, no path of a machine.
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert "site-packages" not in NOTEBOOK.read_text()


def test_ablation_fills_its_row(data_dir):
    command = [sys.executable, "-m", "kedro", "run", "--env", "test", "--pipelines", "ablation"]
    result = subprocess.run(
        [*command, "--params", f"data_dir={data_dir}"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    row = table_3(data_dir).loc["GRPO"]
    assert row["to fill"] == ""
    assert row.drop("to fill").notna().all()


def test_metrics_need_no_model(data_dir):
    """From stored predictions alone, whose answers are not kept any more."""
    assert not list((data_dir / "07_model_output" / MODEL / "answers").rglob("*.jsonl"))
    before = document(data_dir, "sft")
    metrics = data_dir / "08_reporting/metrics" / MODEL / "sft.json"
    metrics.unlink()
    code = "import sys; sys.modules['torch'] = None; from kedro.framework.cli.cli import main; main()"
    tags = ["run", "--env", "test", "--pipelines", "evaluation", "--tags", "score"]
    command = [sys.executable, "-c", code, *tags, "--params", f"data_dir={data_dir}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert document(data_dir, "sft") == before
