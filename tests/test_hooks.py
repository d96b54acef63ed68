"""A run that cannot succeed stops before it starts, and says in one line what to do."""

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pandas as pd
import pytest
from kedro.framework.cli.project import run as kedro_run
from kedro.io import DatasetError
from kedro_datasets.pandas import CSVDataset

from lng_kedro.hooks import StopHooks
from lng_kedro.quarantine import DataError
from tests.project import copy_project, kedro, mlflow_runs, prepare_store


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = copy_project(tmp_path_factory.mktemp("hooks") / "project")
    prepare_store(target)
    prepare_store(target / "build/test")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        yield target


def refusal(project: Path, *arguments: str) -> str:
    """What a refused `kedro run` says after "Error: "."""
    result = kedro(project, "run", *arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    assert result.output.count("Error: ") == 1
    assert mlflow_runs(project) == 0
    assert mlflow_runs(project / "build/test") == 0
    return result.output.partition("Error: ")[2].strip()


class TestExport:
    NULL = "An export merges an adapter into its base, and --params adapter=null names none."

    def test_no_adapter(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--pipelines", "export")
        place = "build/test/06_models/tiny_qwen2_5_vl/grpo_adapter"
        assert said.startswith(f"There is no adapter at {project}/{place}: train one, name its folder by ")

    def test_the_bare_model(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--pipelines", "export", "--params", "adapter=null")
        assert said == self.NULL

    def test_no_peft(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lng_kedro.hooks.find_spec", lambda name: None)
        said = refusal(project, "--env", "test", "--pipelines", "export", "--params", "adapter=null")
        assert said == "An export needs the extra `train`: pip install -e '.[train]'"


class TestMissingInputs:
    def test_no_raw_folder_in_base(self, project: Path) -> None:
        said = refusal(project, "--pipelines", "data_processing")
        assert said == (
            f"There is no raw dataset at {project}/data/01_raw/aihub: unpack or link the AI-Hub "
            "download there, or name its folder with --params raw_dir=PATH."
        )

    def test_a_raw_folder_that_is_not_there(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--params", "raw_dir=/nowhere")
        assert said.startswith("There is no raw dataset at /nowhere: ")
        assert said.count("\n") == 0

    def test_training_before_data_processing(self, project: Path) -> None:
        said = refusal(
            project, "--env", "test", "--pipelines", "sft_training", "--params", "model=gemma_3_4b"
        )
        assert said == (
            "'photos' does not exist yet: run `kedro run --pipelines data_processing --env test "
            "--params model=gemma_3_4b` first."
        )

    def test_the_command_can_be_pasted(self, project: Path) -> None:
        """Nested parameters, a space and a quote go through a shell, and are read as they were given."""
        given = "data_dir=/tmp/it's here,vlm.models.gemma_3_4b.per_device_batch=null,baselines.bf16=false"
        said = refusal(project, "--env", "test", "--pipelines", "sft_training", "--params", given)
        words = shlex.split(said.partition("`")[2].rpartition("`")[0])
        assert words[:6] == ["kedro", "run", "--pipelines", "data_processing", "--env", "test"]
        run = kedro_run.make_context("run", words[2:])
        assert run.params["params"] == {
            "data_dir": "/tmp/it's here",
            "vlm": {"models": {"gemma_3_4b": {"per_device_batch": None}}},
            "baselines": {"bf16": False},
        }


@pytest.fixture
def processed(project: Path) -> Iterator[None]:
    """As data_processing would leave it, as far as is looked at before a run."""
    names = ["03_primary/taxonomy.json", "04_feature/photos/a.jpg"]
    names += [f"05_model_input/{s}_samples.parquet" for s in ("sft", "grpo", "test")]
    made = [project / data / name for data in ("data", "build/test") for name in names]
    for file in made:
        file.parent.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"a": [1]}).to_parquet(file)
    yield
    for file in made:
        file.unlink()


@pytest.mark.usefixtures("processed")
class TestMissingMeans:
    def test_grpo_before_sft(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--pipelines", "grpo_training")
        assert (
            said
            == "'sft_adapter' does not exist yet: run `kedro run --pipelines sft_training --env test` first."
        )

    def test_no_gpu(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        said = refusal(project, "--pipelines", "sft_training")
        assert said == (
            "Model 'qwen2_5_vl_7b': it needs a CUDA GPU, and PyTorch sees none here "
            "(the demo needs none: `kedro run --env demo`)"
        )

    def test_no_unsloth(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("lng_kedro.vlm.backend.find_spec", lambda name: None)
        asked = "model=gemma_3_4b,vlm.models.gemma_3_4b.backend=unsloth"
        said = refusal(project, "--pipelines", "sft_training", "--params", asked)
        assert said.startswith(
            "Model 'gemma_3_4b': backend 'unsloth' is asked for, which is not installed: pip install "
        )

    def test_a_step_that_does_not_divide(self, project: Path) -> None:
        asked = "vlm.models.tiny_qwen2_5_vl.per_device_batch=3"
        said = refusal(project, "--env", "test", "--pipelines", "sft_training", "--params", asked)
        assert said == (
            "Model 'tiny_qwen2_5_vl': batch_size x gradient_accumulation = 8 samples a step do not divide "
            "into 1 process(es) with per_device_batch=3; the nearest that do: 2, 4"
        )

    def test_processes_run_one_training_stage(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        for pipeline in ("__default__", "evaluation", "data_processing"):
            said = refusal(project, "--env", "test", "--pipelines", pipeline)
            assert said == (
                "2 processes run one training stage and nothing else: `torchrun --nproc-per-node 2 "
                "--shutdown-timeout 600 -m kedro run --pipelines sft_training --env test`, or grpo_training."
            )

    def test_no_torch(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lng_kedro.hooks.find_spec", lambda name: None)
        said = refusal(project, "--env", "test", "--pipelines", "sft_training")
        assert said == "Training and evaluation need the extra `train`: pip install -e '.[train]'"

    def test_no_xgrammar(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lng_kedro.vlm.constraint.find_spec", lambda name: None)
        asked = ("--env", "test", "--pipelines", "evaluation", "--namespaces", "base")
        said = refusal(project, *asked, "--params", "evaluation.constrained=true")
        assert said == (
            "Constrained answers need the extra `serve`: pip install -c constraints.txt -e '.[train,serve]'; "
            "without it: --params evaluation.constrained=false"
        )

    def test_no_ultralytics(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lng_kedro.hooks.find_spec", lambda name: None)
        said = refusal(project, "--env", "test", "--pipelines", "baselines")
        assert said == ("The detectors need the extra `baselines` (AGPL-3.0): pip install -e '.[baselines]'")

    def test_no_gpu_for_the_detectors(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        said = refusal(project, "--pipelines", "baselines")
        assert said == (
            "The detectors need a CUDA GPU, and PyTorch sees none here; on a CPU: "
            "--params baselines.device=cpu,baselines.bf16=false"
        )

    @pytest.mark.parametrize("weights", ["/nowhere/mine.pt", "yolo11mm.pt", "/nowhere/mine.yaml"])
    def test_weights_that_are_not_there(self, project: Path, weights: str) -> None:
        asked = ["--params", f"detectors.yolo12m.weights={weights}"]
        said = refusal(project, "--env", "test", "--pipelines", "baselines", *asked)
        assert said == (
            f"There is no file '{weights}', and ultralytics has none of this name: "
            "--params detectors.yolo12m.weights=PATH"
        )


@contextmanager
def changed(file: Path, *replacements: tuple[str, str]) -> Iterator[None]:
    """A file of the configuration with other text in it."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    wrong = text
    for before, after in replacements:
        assert before in wrong
        wrong = wrong.replace(before, after)
    file.write_text(wrong, encoding="utf-8")
    try:
        yield
    finally:
        file.write_text(text, encoding="utf-8")


def parameters_of(project: Path, name: str) -> Path:
    return project / f"conf/base/parameters/{name}.yml"


class TestConfiguration:
    """What a user mistypes is never silently left out."""

    @pytest.mark.parametrize(
        ("given", "name", "near"),
        [
            ("modle=tiny_qwen2_5_vl", "modle", "model"),
            ("sft_training.learning_rte=1", "sft_training.learning_rte", "learning_rate"),
            ("table_1.learning_rte=1", "table_1.learning_rte", "learning_rate"),
            ("detectors.yolo11.epochs=1", "detectors.yolo11", "yolo11m"),
            ("detectors.yolo11m.epoch=1", "detectors.yolo11m.epoch", "epochs"),
            ("stages.sftt.reasoning=true", "stages.sftt", "sft"),
            ("targets.qualty.field=quality", "targets.qualty", "quality"),
            ("reporting.given.data_dr=x", "reporting.given.data_dr", "data_dir"),
            ("vlm.models.gemma_3_4b.fram=x", "vlm.models.gemma_3_4b.fram", "frame"),
        ],
    )
    def test_an_unknown_name_on_the_command_line(
        self, project: Path, given: str, name: str, near: str
    ) -> None:
        said = refusal(project, "--env", "test", "--params", given)
        assert said == f"--params: there is no parameter '{name}': did you mean '{near}'?"

    @pytest.mark.parametrize(
        ("file", "before", "after", "name", "near"),
        [
            ("baselines", "  rtdetr:", "  rtdtr: {}\n  rtdetr:", "detectors.rtdtr", "rtdetr"),
            ("baselines", "targets:", "targets:\n  labl: {}", "targets.labl", "label"),
            ("evaluation", "stages:", "stages:\n  bas: {}", "stages.bas", "base"),
            ("evaluation", "stages:", "evalution: {}\nstages:", "evalution", "evaluation"),
            ("reporting", "  photos:", "  photo: x\n  photos:", "reporting.photo", "photos"),
            ("sft_training", "table_1:", "table_1:\n  epoch: 1", "table_1.epoch", "epochs"),
        ],
    )
    def test_an_unknown_name_in_a_file(
        self, project: Path, file: str, before: str, after: str, name: str, near: str
    ) -> None:
        with changed(parameters_of(project, file), (before, after)):
            said = refusal(project, "--env", "test")
        where = f"conf/base/parameters/{file}.yml"
        assert said == f"{where}: there is no parameter '{name}': did you mean '{near}'?"

    def test_without_a_near_name_all_are_listed(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--params", "xyzzy=1,_x=1")
        assert sorted(
            line.partition(": there are adapter, base_model, baselines, ")[0] for line in said.splitlines()
        ) == [
            "--params: there is no parameter '_x'",
            "--params: there is no parameter 'xyzzy'",
        ]
        assert (
            said.count(
                "model, paper, photos, raw_dir, reporting, reports, reviewed_dir, sft_training, stages, "
            )
            == 2
        )

    def test_a_line_for_each_problem_of_the_files(self, project: Path) -> None:
        data = [("{sft: 500", "{sft: -1"), ("boxless:", "boxles:"), ("seed: 42", "seed:")]
        models = ("frame: native", "frame: nativ"), ("    gemma_3_4b:\n      <<: *gpu", "    gemma_3_4b:")
        with (
            changed(parameters_of(project, "data_processing"), *data),
            changed(parameters_of(project, "models"), *models),
        ):
            said = refusal(project, "--pipelines", "data_processing")
        ours, theirs = (f"conf/base/parameters/{name}.yml: " for name in ("data_processing", "models"))
        assert sorted(said.splitlines()) == [
            f"{ours}'data_processing' lacks boxless",
            f"{ours}'data_processing.per_label.sft' is -1, and has to be 0 or more",
            f"{ours}'data_processing.seed' has no value, and has to be a whole number",
            f"{ours}there is no parameter 'data_processing.boxles': did you mean 'boxless'?",
            f"{theirs}'vlm.frame' is 'nativ', and has to be 'native' or 'processed': did you mean 'native'?",
            f"{theirs}'vlm.models.gemma_3_4b' lacks lora_targets, per_device_batch, precision, backend, "
            "device",
        ]

    def test_the_file_of_the_environment_comes_before_the_base(self, project: Path) -> None:
        file = project / "conf/test/parameters.yml"
        with changed(file, ("max_new_tokens: 96", "max_new_tokens: many")):
            said = refusal(project, "--env", "test")
        assert said == (
            "conf/test/parameters.yml: 'evaluation.max_new_tokens' is 'many', and has to be a whole number"
        )

    @pytest.mark.parametrize(
        ("given", "expected"),
        [
            ("stages.sft.name=sfft", "'stages.sft.name' is 'sfft', and has to be 'sft'"),
            ("targets.label.field=quality", "'targets.label.field' is 'quality', and has to be 'label'"),
            (
                "paper.model=qwen2_5_vl_7",
                "'paper.model': there is no 'qwen2_5_vl_7': did you mean 'qwen2_5_vl_7b'?",
            ),
            ("paper.table_3.rtdtr.map_50=1", "'paper.table_3': there is no 'rtdtr': did you mean 'rtdetr'?"),
            (
                "paper.table_3.sft.f1_lable=1",
                "'paper.table_3.sft': there is no 'f1_lable': did you mean 'f1_label'?",
            ),
            (
                "vlm.model=gemma_3_4b",
                "choose the model with `--params model=NAME` or in globals.yml: paths depend on it too",
            ),
        ],
    )
    def test_a_name_of_another_parameter(self, project: Path, given: str, expected: str) -> None:
        assert refusal(project, "--env", "test", "--params", given) == f"--params: {expected}"

    def test_an_unknown_model(self, project: Path) -> None:
        said = refusal(project, "--pipelines", "sft_training", "--params", "model=qwen")
        assert said == (
            "conf/base/parameters/models.yml: vlm: there is no model 'qwen': there are gemma_3_4b, "
            "llava_1_6_mistral_7b, qwen2_5_vl_3b, qwen2_5_vl_7b, tiny_qwen2_5_vl"
        )

    @pytest.mark.parametrize(
        ("given", "name", "of", "engine"),
        [
            ("address=auto", "address", "ray", "processes"),
            ("engine=ray,{0}address=auto,{0}workers=4", "workers", "processes", "ray"),
        ],
    )
    def test_a_setting_of_another_engine(
        self, project: Path, given: str, name: str, of: str, engine: str
    ) -> None:
        prefix = "data_processing.compute."
        said = refusal(project, "--env", "test", "--params", prefix + given.format(prefix))
        assert said == f"--params: '{prefix}{name}' is of the engine {of}, and the engine is {engine}"

    def test_a_setting_of_another_engine_in_a_file(self, project: Path) -> None:
        file = project / "conf/test/parameters.yml"
        compute = "data_processing:\n  compute: {engine: ray, address: auto, workers: 2}\n"
        with changed(file, ("data_processing:\n", compute)):
            said = refusal(project, "--env", "test")
        name = "data_processing.compute.workers"
        assert said == f"conf/test/parameters.yml: '{name}' is of the engine processes, and the engine is ray"

    def test_a_near_model(self, project: Path) -> None:
        said = refusal(project, "--params", "vlm.models.gemma_3_4.precision=4bit")
        assert said.endswith("eos_tokens, per_device_batch, backend, device: did you mean 'gemma_3_4b'?")

    def test_globals(self, project: Path) -> None:
        with changed(project / "conf/test/globals.yml", ("data_dir:", "data_dr: x\ndata_dir:")):
            said = refusal(project, "--env", "test")
        assert said == "conf/test/globals.yml: there is no parameter 'data_dr': did you mean 'data_dir'?"

    def test_a_global_among_the_parameters(self, project: Path) -> None:
        with changed(parameters_of(project, "reporting"), ("reporting:", "data_dir: x\nreporting:")):
            said = refusal(project, "--env", "test")
        where = "conf/base/parameters/reporting.yml"
        assert said == f"{where}: 'data_dir' has its place in globals.yml, or on the command line"

    def test_a_reference_to_nothing(self, project: Path) -> None:
        with changed(parameters_of(project, "reporting"), ("${evaluation.seed}", "${evaluation.sed}")):
            said = refusal(project, "--env", "test")
        assert said == "conf/test: Interpolation key 'evaluation.sed' not found"

    def test_an_environment(self, project: Path) -> None:
        said = refusal(project, "--env", "tset")
        assert said == "--env: there is no environment 'tset': did you mean 'test'?"

    def test_one_of_several_tags(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--tags", "ingest,splt")
        assert said == "--tags: there is no tag 'splt': did you mean 'split'?"

    @pytest.mark.parametrize(
        ("name", "near"), [("raw_anotations", "raw_annotations"), ('"sft_adaptr_{of}"', "sft_adapter")]
    )
    def test_a_dataset_that_no_pipeline_has(self, project: Path, name: str, near: str) -> None:
        wrong = f"{name}: {{type: pandas.CSVDataset, filepath: x}}\nraw_annotations:"
        with changed(project / "conf/test/catalog.yml", ("raw_annotations:", wrong)):
            said = refusal(project, "--env", "test")
        plain = name.strip('"')
        assert said == f"catalog: no pipeline has a dataset '{plain}': did you mean '{near}'?"


def test_the_real_command_says_it_and_nothing_else(project: Path) -> None:
    command = [
        str(Path(sys.executable).with_name("kedro")),
        "run",
        "--params",
        "grpo_training.num_generations=3",
    ]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "Error: --params: grpo_training: batch_size x gradient_accumulation = 8 completions a step do "
        "not divide into groups of num_generations=3; the nearest that do: 2, 4"
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "pydantic" not in done.stdout + done.stderr
    assert "predict" not in done.stdout + done.stderr  # MLflow's warning about a class of kedro-mlflow's


def test_a_full_disk_is_said_in_a_sentence():
    with pytest.raises(DatasetError) as caught:
        CSVDataset(filepath="/dev/full").save(pd.DataFrame({"photo_id": ["a"]}))  # it takes no byte
    with pytest.raises(click.ClickException, match=r"^The disk is full.*/dev/full"):
        StopHooks().on_pipeline_error(caught.value)
    StopHooks().on_pipeline_error(DatasetError("of another kind"))


def test_data_that_cannot_be_used_are_refused_in_a_sentence():
    with pytest.raises(click.ClickException, match="Too few photos"):
        StopHooks().on_pipeline_error(DataError("Too few photos"))
    StopHooks().on_pipeline_error(ValueError("a fault of the program keeps its traceback"))
