"""`kedro memory`, beside Kedro's own commands."""

import subprocess
import sys

import pytest
import yaml

from tests.project import copy_project, kedro, prepare_store


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A copy whose one model of known size is the 4B."""
    target = copy_project(tmp_path_factory.mktemp("cli") / "project")
    prepare_store(target)
    prepare_store(target / "build/test")
    file = target / "conf/base/parameters/models.yml"
    parameters = yaml.safe_load(file.read_text(encoding="utf-8"))
    models = parameters["vlm"]["models"]
    for name, model in models.items():
        if name != "gemma_3_4b":
            model.pop("architecture", None)
    file.write_text(yaml.safe_dump(parameters), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        yield target


def rows(output):
    """Stage -> the columns of its row, by name."""
    lines = [line.split() for line in output.splitlines()]
    names = next(words for words in lines if words[:2] == ["model", "stage"])
    found = [dict(zip(names, words, strict=True)) for words in lines if words[:1] == ["gemma_3_4b"]]
    return {row["stage"]: row for row in found}


def test_a_table_of_both_stages_and_what_is_assumed(project):
    result = kedro(project, "memory")
    assert result.exit_code == 0, result.output
    table = rows(result.stdout)
    assert list(table) == ["sft_training", "grpo_training"]
    for row in table.values():
        assert (row["precision"], row["batch"], row["weights"], row["fits"]) == ("16bit", "2", "8.01", "True")
        parts = ["adapter", "gradients", "optimizer", "activations", "logits", "cache", "reserve"]
        total = sum(float(row[part]) for part in ["weights", *parts])
        assert float(row["total"]) == pytest.approx(total, abs=0.05)
        assert 10 < float(row["total"]) < 15
    assert "It fits with" not in result.output
    assert "Models: 100%" in result.stderr
    assert "2.2 characters a token" in result.output
    assert "0.75 GiB for CUDA, and 10% of activations" in result.output


def test_a_smaller_gpu_and_another_environment(project):
    """The test environment trains without gradient checkpointing, on larger batches, with shorter answers."""
    file = project / "conf/test/parameters.yml"
    file.write_text(
        file.read_text(encoding="utf-8") + "\nvlm: {models: {gemma_3_4b: {per_device_batch: 1}}}\n"
    )
    result = kedro(project, "memory", "--env", "test", "--gpu-gib", "10")
    assert result.exit_code == 0, result.output
    table = rows(result.stdout)
    assert {(row["batch"], row["fits"]) for row in table.values()} == {("1", "False")}
    for stage in table:
        advice = next(
            line for line in result.output.splitlines() if line.startswith(f"gemma_3_4b, {stage}: ")
        )
        assert "It fits with `--params vlm.models.gemma_3_4b.precision=4bit" in advice


def test_a_size_of_an_architecture_that_is_mistyped(project):
    file = project / "conf/base/parameters/models.yml"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("hidden_size: 1152", "hiden_size: 1152"), encoding="utf-8")
    result = kedro(project, "memory")
    file.write_text(text, encoding="utf-8")
    assert result.exit_code == 1
    assert (
        "architecture of google/gemma-3-4b-it: there is no 'hiden_size': did you mean 'hidden_size'?"
    ) in result.output


@pytest.mark.parametrize("gib", ["0", "-1", "many"])
def test_a_size_that_is_none(project, gib):
    result = kedro(project, "memory", "--gpu-gib", gib)
    assert result.exit_code == 2
    assert "Invalid value for '--gpu-gib'" in result.output


def test_without_the_extra(project, monkeypatch):
    monkeypatch.setattr("lng_kedro.cli.find_spec", lambda name: None)
    result = kedro(project, "memory")
    assert result.exit_code == 1
    assert "Error: Predictions need the extra `train`: pip install -e '.[train]'" in result.output


def test_kedros_own_commands_are_still_there(project):
    result = kedro(project, "--help")
    assert result.exit_code == 0
    for command in ("run", "catalog", "registry", "mlflow", "viz", "memory"):
        assert f"\n  {command} " in result.output
    assert "sft_training" in kedro(project, "registry", "list").output


def test_a_command_ends_without_a_search_for_garbage():
    # What is registered first is called last.
    code = (
        "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))\n"
        "from lng_kedro.cli import quieten; quieten(); print(gc.get_freeze_count() > 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]
