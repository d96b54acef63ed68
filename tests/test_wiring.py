"""The catalog, the parameters and the pipelines fit together in every environment."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.project import configure_project, pipelines, settings
from kedro.io import CatalogConfigResolver
from kedro.validation.parameter_validator import ParameterValidator
from pydantic import BaseModel

from tests.project import ROOT, copy_project

ENVIRONMENTS = ("base", "demo", "test")
LAYERS = {
    "01_raw": "raw",
    "02_intermediate": "intermediate",
    "03_primary": "primary",
    "04_feature": "feature",
    "05_model_input": "model_input",
    "06_models": "models",
    "07_model_output": "model_output",
    "08_reporting": "reporting",
}
# So are the detectors', which have no language model.
SHARED_BY_ALL_MODELS = {"table_2", "table_2_markdown", "table_2_latex", "all_metrics", "study_metrics"}
SHARED_BY_ALL_MODELS |= {"data_page", "quarantine_reasons", "plot_box_sizes"}
SHIPPED = {"base_checkpoint", "base_recipe", "base_log"}
"""Lie in models/, with the project."""


@pytest.fixture(scope="module", autouse=True)
def project() -> None:
    configure_project("lng_kedro")


def loader(env: str, **runtime_params: Any) -> OmegaConfigLoader:
    return OmegaConfigLoader(
        conf_source=str(ROOT / "conf"), env=env, runtime_params=runtime_params, **settings.CONFIG_LOADER_ARGS
    )


def catalog(env: str, **runtime_params: Any) -> dict[str, dict[str, Any]]:
    """Entries as declared, patterns among them."""
    return {k: v for k, v in loader(env, **runtime_params)["catalog"].items() if not k.startswith("_")}


def used() -> set[str]:
    """Names of all datasets of all pipelines."""
    names = {name for p in pipelines.values() for name in p.datasets()}
    return {n for n in names if not n.startswith("params:") and n != "parameters"}


def resolved(env: str, **runtime_params: Any) -> dict[str, dict[str, Any]]:
    """Every dataset that some pipeline uses, with patterns filled in."""
    resolver = CatalogConfigResolver(catalog(env, **runtime_params))
    return {name: resolver.resolve_pattern(name) for name in used()}


def paths(config: Any) -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from paths(value)
        elif key in ("filepath", "path"):
            yield value


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_dataset_used_is_declared_and_every_entry_is_used(env: str) -> None:
    declared = catalog(env)
    resolver = CatalogConfigResolver(declared)
    sources = {name: name if name in declared else resolver.match_dataset_pattern(name) for name in used()}
    assert [name for name, source in sources.items() if source is None] == []
    assert set(sources.values()) == set(declared)


def test_the_datasets_that_others_rely_on() -> None:
    stages = [
        f"{part}_{s}" for part in ("predictions", "metrics") for s in ("base", "sft", "grpo", "sft_grpo")
    ]
    names = [
        "raw_annotations",
        "reviewed_annotations",
        "manifest@whole",
        "label_quarantine",
        "sft_samples",
        "grpo_samples",
        "test_samples",
    ]
    names += ["sft_adapter", "grpo_adapter", "table_2", "table_3", "report_page"]
    names += [f"metrics_detector_{name}" for name in ("yolo11m", "yolo12m", "rtdetr")]
    assert {*names, *stages} <= used()


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_persistent_dataset_lies_in_the_folder_of_its_layer(env: str) -> None:
    layers = set()
    for name, config in resolved(env, data_dir="/data", raw_dir="/data/01_raw/x").items():
        stored = [path for path in paths(config) if path.startswith("/data/")]
        if name.startswith("tracked_"):  # lies in the MLflow store
            assert stored == []
            continue
        layer = config["metadata"]["kedro-viz"]["layer"]
        layers.add(layer)
        if name in SHIPPED:
            assert layer == "models"
            continue
        if name == "photo_journal":  # lies with its photos, and is read for the split
            assert layer == "primary"
            continue
        assert stored, name
        assert {LAYERS[path.split("/")[2]] for path in stored} == {layer}, name
    assert layers == set(LAYERS.values())


@pytest.mark.parametrize("pipeline", ["data_processing", "inspection"])
def test_no_layer_comes_before_an_earlier_one(pipeline: str) -> None:
    """kedro-viz shows no layers where they go in a circle."""
    entries = resolved("base")
    order = list(LAYERS.values())

    def rank(name: str) -> int:
        return order.index(entries[name]["metadata"]["kedro-viz"]["layer"])

    for node in pipelines[pipeline].nodes:
        inputs = [rank(name) for name in node.inputs if not name.startswith("params:")]
        assert max(inputs) <= min(map(rank, node.outputs)), node.name


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_two_models_never_write_to_the_same_place(env: str) -> None:
    ours, theirs = (resolved(env, model=model) for model in ("model_a", "model_b"))
    specific = 0
    for name, config in ours.items():
        mine, other = set(paths(config)), set(paths(theirs[name]))
        late = any(
            folder in path for path in mine for folder in ("06_models", "07_model_output", "08_reporting")
        )
        if late and name not in SHARED_BY_ALL_MODELS | SHIPPED and "detector_" not in name:
            specific += 1
            assert not mine & other, name
        else:
            assert mine == other, name
    # 3 adapters and the one in use; of 4 stages predictions, COCO results and metrics; 3 histories; all
    # predictions, all histories; Table III in three forms, comparisons, two plots, the study's table, the
    # page; reports twice, their taxonomy and summary, findings, errors, COCO's form and the review page; a
    # merged model and its version.
    assert specific == 4 + 4 + 4 + 4 + 3 + 2 + 3 + 1 + 2 + 1 + 1 + 2 + 2 + 4 + 2
    # What reads a part of a table, manifest@draw for one, does not write it.
    readers = {"all_metrics", "report_journal", "adapter_in_use"}
    written = {name.partition("@")[0]: config for name, config in ours.items() if name not in readers}
    every = [path for config in written.values() for path in paths(config)]
    assert len(every) == len(set(every))


def test_checkpoints_of_two_models_do_not_meet() -> None:
    folders = [
        str(loader("base", model=model)["parameters"][stage]["work_dir"])
        for model in ("model_a", "model_b")
        for stage in ("sft_training", "grpo_training")
    ]
    assert len(set(folders)) == 4


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_the_two_paths_of_the_command_line_move_everything(env: str) -> None:
    entries = resolved(env, data_dir="/elsewhere", raw_dir="/raw", model="m")
    found = {path for name, c in entries.items() if name not in SHIPPED for path in paths(c)}
    assert [p for p in found if not p.startswith(("/elsewhere/0", "/raw"))] == []
    raw = entries["raw_annotations"]
    assert raw.get("raw_dir", raw["filepath"]) == "/raw"
    assert entries["reviewed_annotations"]["filepath"] == "/elsewhere/01_raw/reviewed"
    assert resolved(env, reviewed_dir="/mine")["reviewed_annotations"]["filepath"] == "/mine"
    parameters = loader(env, data_dir="/elsewhere")["parameters"]
    work_dirs = {str(group["work_dir"]) for group in parameters.values() if "work_dir" in group}
    assert len(work_dirs) == 5
    assert all(
        folder.startswith(("/elsewhere/06_models/", "/elsewhere/07_model_output/")) for folder in work_dirs
    )


def test_the_data_page_knows_where_the_tables_are() -> None:
    entries = {name.partition("@")[0]: entry for name, entry in resolved("base", data_dir="/data").items()}
    page = Path(entries["data_page"]["filepath"]).parent
    for name, file in loader("base")["parameters"]["data_page"]["files"].items():
        assert Path(os.path.normpath(page / file)) == Path(entries[name]["filepath"]), name


@pytest.mark.parametrize("env", ENVIRONMENTS)
def test_every_parameter_of_every_node_is_there_and_valid(env: str) -> None:
    parameters = ParameterValidator(dict(pipelines)).validate_raw_params(loader(env)["parameters"])
    names = {
        n.removeprefix("params:") for p in pipelines.values() for n in p.inputs() if n.startswith("params:")
    }
    assert len(names) >= 10
    for name in names:
        value: Any = parameters
        for key in name.split("."):
            value = value[key] if isinstance(value, dict) else getattr(value, key)
        assert isinstance(value, BaseModel), name
        assert (value.model_config["extra"], value.model_config["frozen"]) == ("forbid", True), name


def test_every_model_can_be_chosen() -> None:
    raw = loader("base")["parameters"]["vlm"]["models"]
    assert len(raw) == 5
    for name in raw:
        parameters = ParameterValidator(dict(pipelines)).validate_raw_params(
            loader("base", model=name)["parameters"]
        )
        assert parameters["vlm"].model == name


def test_both_stages_are_table_1_for_every_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Table I of the paper, as far as the trainers are told of it."""
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    parameters = ParameterValidator(dict(pipelines)).validate_raw_params(loader("base")["parameters"])
    for stage in ("sft_training", "grpo_training"):
        assert parameters[stage].lora.rank == 16
        for spec in (s for s in parameters["vlm"].models.values() if s.device == "cuda"):
            assert spec.lora_targets == "language_attention"
            told = parameters[stage].arguments(spec, Path("run"))
            assert {
                "optim": "adamw_8bit",
                "learning_rate": 2e-5,
                "lr_scheduler_type": "cosine",
                "bf16": True,
                "warmup_steps": 0.03,
                "num_train_epochs": 3,
                "per_device_train_batch_size": 2,
                "gradient_accumulation_steps": 4,
            }.items() <= told.items()


def test_the_whole_way_needs_raw_photos_only() -> None:
    inputs = {n for n in pipelines["__default__"].inputs() if not n.startswith("params:")}
    # What earlier runs may have left need not be there.
    stored = {"label_journal", "photo_journal", "all_metrics", "all_predictions", "all_histories"}
    assert inputs == {"raw_annotations", "reviewed_annotations", *stored}
    order = [node.name for node in pipelines["__default__"].nodes]
    assert order.index("read_labels") < order.index("sft") < order.index("grpo") < order.index("tables")
    assert {"data_processing", "sft_training", "grpo_training", "evaluation"} <= pipelines.keys()


def test_the_base_model_is_made_of_its_recipe_alone() -> None:
    """No photo, rendered or real, no split and no sample goes into it."""
    assert pipelines["base_model"].inputs() == {"params:taxonomy", "params:base_model"}


def test_listing_and_building_pipelines_imports_nothing_heavy() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from kedro.framework.cli.cli import KedroCLI\n"
        "from kedro.framework.startup import bootstrap_project\n"
        "bootstrap_project(Path.cwd())\n"
        "try: KedroCLI(Path.cwd())(['registry', 'list'])\n"
        "except SystemExit as end: assert not end.code\n"
        "import lng_kedro.hooks, lng_kedro.datasets, lng_kedro.pipelines\n"
        "from kedro.framework.project import pipelines\n"
        "assert sum(len(p.nodes) for p in pipelines.values()) > 20\n"
        "heavy = {'torch', 'transformers', 'trl', 'peft', 'unsloth', 'ultralytics'}\n"
        "print('heavy:', sorted(heavy & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "grpo_training" in done.stdout
    assert done.stdout.endswith("heavy: []\n")


def test_a_run_shows_nodes_and_warnings_and_the_log_file_all(tmp_path: Path) -> None:
    code = (
        "import logging, kedro.framework.project, lng_kedro.cli\n"
        "lng_kedro.cli.quieten()\n"
        "for name in ('kedro.io.data_catalog', 'kedro_mlflow', 'lng_kedro.hooks'):\n"
        "    logging.getLogger(name).info('%s tells', name)\n"
        "    logging.getLogger(name).warning('%s [warns]', name)\n"
        "import warnings; warnings.warn('mind this')\n"
        "warnings.warn('\x1b[33mAdd type hints to the `predict` method to enable')\n"
    )
    project = copy_project(tmp_path / "project")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=True)
    assert "Logging error" not in done.stderr
    log = (project / "logs/info.log").read_text(encoding="utf-8")
    for name in ("kedro.io.data_catalog", "kedro_mlflow", "lng_kedro.hooks"):
        assert (f"{name} tells" in done.stdout) == (name == "lng_kedro.hooks")
        assert done.stdout.count(f"{name} [warns]") == log.count(f"{name} [warns]") == 1
        assert log.count(f"{name} tells") == 1
    assert "mind this" in done.stdout
    assert "predict" not in done.stdout + log


def test_make_says_what_an_installation_takes_before_it_begins() -> None:
    command = ["make", "--dry-run", "--always-make", "test"]
    lines = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    said = [
        i for i, line in enumerate(lines) if line.startswith("echo") and "minute" in line and "GB" in line
    ]
    installs = [i for i, line in enumerate(lines) if "pip install" in line]
    assert len(said) == len(installs) == 3
    assert said[0] < installs[0] < said[1] < installs[1] < said[2] < installs[2]


def test_each_detector_can_be_run_alone_and_sees_no_truth_of_the_test_photos() -> None:
    baselines = pipelines["baselines"]
    of_detectors = baselines.only_nodes_with_tags("train", "predict", "score")
    assert len(of_detectors.nodes) == 3 * (2 * 2 + 1)
    alone = baselines.only_nodes_with_namespaces(["rtdetr"])
    trained = [f"rtdetr.{target}.{step}" for target in ("label", "quality") for step in ("train", "predict")]
    assert {node.name for node in alone.nodes} == {*trained, "rtdetr.score"}
    assert alone.outputs() >= {"metrics_detector_rtdetr", "tracked_rtdetr"}
    one = baselines.only_nodes_with_namespaces(["yolo11m.quality"])
    assert {n for n in one.inputs() if n.startswith("params:")} == {
        *("params:baselines", "params:detectors.yolo11m", "params:targets.quality")
    }
    resolver = CatalogConfigResolver(catalog("base"))
    for name, pattern in {
        "predictions_detector_yolo11m_label": "predictions_detector_{detector}_{target}",
        "metrics_detector_yolo11m": "metrics_detector_{detector}",
        "history_detector_rtdetr_quality": "history_detector_{detector}_{target}",
        "predictions_sft_grpo": "predictions_{stage}",
        "tracked_yolo11m": "tracked_{stage}",
    }.items():
        assert resolver.match_dataset_pattern(name) == pattern


def test_nothing_on_disk_is_a_pickle() -> None:
    for env in ENVIRONMENTS:
        assert "pickle" not in str(resolved(env)).lower()


def test_environments_state_only_what_differs() -> None:
    base = loader("base")["parameters"]
    for env in ("demo", "test"):
        files = [*(ROOT / "conf" / env).glob("parameters*"), *(ROOT / "conf" / env).glob("parameters/*")]
        for file in map(Path, files):
            assert file.stat().st_size < 4000
        ours = {k: v for k, v in loader(env)["parameters"].items() if not k.startswith("_")}
        assert ours.keys() == base.keys()
        assert ours["taxonomy"] == base["taxonomy"]
        assert ours != base


def test_the_runtime_parameters_of_inspection_move_its_datasets() -> None:
    given = {"photos": "/photos/*.jpg", "adapter": "/adapter", "reports": "/reports"}
    for env in ENVIRONMENTS:
        entries = resolved(env, **given)
        photos = entries["new_photos"]
        assert photos.get("photos", photos["filepath"]) == "/photos/*.jpg"
        assert entries["adapter_in_use"]["filepath"] == "/adapter"
        assert (
            entries["reports"]["filepath"]
            == entries["report_journal"]["filepath"]
            == "/reports/reports.jsonl"
        )
        assert entries["findings"]["filepath"] == "/reports/findings.csv"
        assert resolved(env, adapter=None)["adapter_in_use"]["filepath"] is None


def test_an_export_needs_an_adapter_only() -> None:
    """What else is known of it may be there or not; and no layer comes before an earlier one of its own."""
    entries, optional = resolved("base"), "lng_kedro.datasets.StoredResultsDataset"
    inputs = {name for name in pipelines["export"].inputs() if not name.startswith("params:")}
    assert {name for name in inputs if entries[name]["type"] != optional} == {"adapter_in_use"}
    # Figures go into the model's card: kedro-viz would show no layers if they went on from there in a circle.
    for name in pipelines["export"].all_outputs():
        assert entries[name]["metadata"]["kedro-viz"]["layer"] == "models"


def test_inspection_sees_photos_as_training_did() -> None:
    """And needs neither labels nor what data_processing made."""
    parameters = loader("base", **{"data_processing": {"jpeg_quality": 80}})["parameters"]
    assert parameters["inspection"]["jpeg_quality"] == 80
    inputs = {name for name in pipelines["inspection"].inputs() if not name.startswith("params:")}
    assert inputs == {"new_photos", "report_journal", "adapter_in_use"}
