"""A run that cannot succeed stops before it starts, and says in one line what to do."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from lng_kedro.hooks import _readable
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


class TestMissingInputs:
    def test_no_raw_folder_in_base(self, project: Path) -> None:
        said = refusal(project, "--pipeline", "data_processing")
        assert said == (
            f"There is no raw dataset at {project}/data/01_raw/aihub: unpack or link the AI-Hub "
            "download there, or name its folder with --params raw_dir=PATH."
        )

    def test_a_raw_folder_that_is_not_there(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--params", "raw_dir=/nowhere")
        assert said.startswith("There is no raw dataset at /nowhere: ")
        assert said.count("\n") == 0

    def test_training_before_data_processing(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--pipeline", "sft_training", "--params", "model=gemma_3_4b")
        assert said == (
            "'photos' does not exist yet: run `kedro run --pipeline data_processing --env test "
            "--params model=gemma_3_4b` first."
        )


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
        said = refusal(project, "--env", "test", "--pipeline", "grpo_training")
        assert (
            said
            == "'sft_adapter' does not exist yet: run `kedro run --pipeline sft_training --env test` first."
        )

    def test_no_gpu(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        said = refusal(project, "--pipeline", "sft_training")
        assert said == (
            "Model 'qwen2_5_vl_7b': it needs a CUDA GPU, and PyTorch sees none here "
            "(the demo needs none: `kedro run --env demo`)"
        )

    def test_no_unsloth(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: True)
        monkeypatch.setattr("lng_kedro.vlm.backend.find_spec", lambda name: None)
        asked = "model=gemma_3_4b,vlm.models.gemma_3_4b.backend=unsloth"
        said = refusal(project, "--pipeline", "sft_training", "--params", asked)
        assert said.startswith(
            "Model 'gemma_3_4b': backend 'unsloth' is asked for, which is not installed: pip install "
        )

    def test_a_step_that_does_not_divide(self, project: Path) -> None:
        asked = "vlm.models.tiny_qwen2_5_vl.per_device_batch=3"
        said = refusal(project, "--env", "test", "--pipeline", "sft_training", "--params", asked)
        assert said == (
            "Model 'tiny_qwen2_5_vl': batch_size x gradient_accumulation = 8 samples a step do not divide "
            "into 1 process(es) with per_device_batch=3; the nearest that do: 2, 4"
        )

    def test_processes_run_one_training_stage(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("WORLD_SIZE", "2")
        for pipeline in ("__default__", "evaluation", "data_processing"):
            said = refusal(project, "--env", "test", "--pipeline", pipeline)
            assert said.startswith("2 processes run one training stage and nothing else: `torchrun ")

    def test_no_torch(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lng_kedro.hooks.find_spec", lambda name: None)
        said = refusal(project, "--env", "test", "--pipeline", "sft_training")
        assert said == "Training and evaluation need the extra `train`: pip install -e '.[train]'"

    def test_no_ultralytics(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lng_kedro.hooks.find_spec", lambda name: None)
        said = refusal(project, "--env", "test", "--pipeline", "baselines")
        assert said == ("The detectors need the extra `baselines` (AGPL-3.0): pip install -e '.[baselines]'")

    def test_no_gpu_for_the_detectors(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
        said = refusal(project, "--pipeline", "baselines")
        assert said == (
            "The detectors need a CUDA GPU, and PyTorch sees none here; on a CPU: "
            "--params baselines.device=cpu,baselines.bf16=false"
        )


class TestParameters:
    def test_a_typo_on_the_command_line(self, project: Path) -> None:
        said = refusal(project, "--params", "sft_training.learning_rte=1")
        assert said == "Parameter 'sft_training': learning_rte: Extra inputs are not permitted"

    def test_a_line_for_each_problem_of_the_files(self, project: Path) -> None:
        folder = project / "conf/base/parameters"
        files = {
            f: f.read_text(encoding="utf-8") for f in (folder / "data_processing.yml", folder / "models.yml")
        }
        try:
            for file, text in files.items():
                wrong = text.replace("{sft: 500", "{sft: -1").replace("boxless:", "boxles:")
                file.write_text(wrong.replace("frame: native", "frame: odd"), encoding="utf-8")
            said = refusal(project, "--pipeline", "data_processing")
        finally:
            for file, text in files.items():
                file.write_text(text, encoding="utf-8")
        assert sorted(said.splitlines()) == [
            "Parameter 'data_processing': boxles: Extra inputs are not permitted",
            "Parameter 'data_processing': boxless: Field required",
            "Parameter 'data_processing': per_label.sft: Input should be greater than or equal to 0",
            "Parameter 'vlm': frame: Input should be 'native' or 'processed'",
        ]

    def test_an_unknown_parameter_with_a_near_name(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--params", "modle=tiny_qwen2_5_vl")
        assert said == "There is no parameter 'modle': did you mean 'model'?"

    def test_an_unknown_parameter_without_one_lists_all(self, project: Path) -> None:
        said = refusal(project, "--env", "test", "--params", "xyzzy=1")
        assert said.startswith(
            "There is no parameter 'xyzzy': there are base_model, baselines, data_dir, data_processing, "
        )
        assert "raw_dir, reporting, sft_training, stages, targets, taxonomy, vlm." in said

    def test_an_unknown_model_lists_the_models(self, project: Path) -> None:
        said = refusal(project, "--pipeline", "sft_training", "--params", "model=qwen")
        assert said == (
            "Parameter 'vlm': there is no model 'qwen'; choose one of qwen2_5_vl_7b, qwen2_5_vl_3b, "
            "gemma_3_4b, llava_1_6_mistral_7b, tiny_qwen2_5_vl"
        )


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
        "Error: Parameter 'grpo_training': batch_size x gradient_accumulation = 8 completions a step do "
        "not divide into groups of num_generations=3; the nearest that do: 2, 4"
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert "pydantic" not in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        (
            "- Parameter 'a': value is None but type is not Optional",
            "Parameter 'a': value is None but type is not Optional",
        ),
        (
            "- Parameter 'a.b': Failed to instantiate Model for parameter 'a.b': "
            "2 validation errors for Model\n"
            "x\n"
            "  Input should be less than 1 [type=less_than, input_value=[2], input_type=list]\n"
            "    For further information visit https://errors.pydantic.dev/2/v/less_than\n"
            "y.0\n"
            "  Field required [type=missing, input_value={'z': ']'}, input_type=dict]\n"
            "    For further information visit https://errors.pydantic.dev/2/v/missing\n"
            "- Parameter 'c': Failed to instantiate Other for parameter 'c': 1 validation error for Other\n"
            "  Value error, it is odd [type=value_error, input_value=3, input_type=int]\n"
            "    For further information visit https://errors.pydantic.dev/2/v/value_error",
            "Parameter 'a.b': x: Input should be less than 1\nParameter 'a.b': y.0: Field required\n"
            "Parameter 'c': it is odd",
        ),
    ],
)
def test_a_readable_line_for_each_problem(problems: str, expected: str) -> None:
    assert _readable(f"Parameter validation failed:\n{problems}") == expected
