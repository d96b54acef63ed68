"""The real command: killed, interrupted, and on two processes."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import mlflow
import pandas as pd
import pytest

from tests.raw import scene, write

ROOT = Path(__file__).parents[1]
MODEL = "tiny_qwen2_5_vl"
# Saved and logged at each step, of which SFT has four and GRPO three.
STEPS = ["sft_training.save_steps=1", "grpo_training.save_steps=1"]


def command(data_dir: Path, *pipelines: str, launcher: tuple[str, ...] = (sys.executable,), **more: object):
    settings = [f"data_dir={data_dir}", *STEPS, *(f"{k.replace('__', '.')}={v}" for k, v in more.items())]
    run = ["-m", "kedro", "run", "--env", "test", "--pipelines", ",".join(pipelines)]
    return [*launcher, *run, "--params", ",".join(settings)]


def finish(arguments: list[str]) -> str:
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def stop(arguments: list[str], reached: Callable[[], object], number: signal.Signals) -> tuple[int, str]:
    """Starts a command, and sends it a signal when it has got so far; waits for its processes too."""
    process = subprocess.Popen(
        arguments, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 300
    while not reached():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[0][-3000:]
        time.sleep(0.02)
    process.send_signal(number)
    said, _ = process.communicate(timeout=60)  # until the last that could write has ended
    return process.returncode, said


def at_step(checkpoints: Path, step: int) -> Callable[[], object]:
    """The checkpoint of a step is whole."""
    return lambda: list(checkpoints.glob(f"**/checkpoint-{step}/whole"))


def weights(data_dir: Path, name: str) -> bytes:
    return (data_dir / "06_models" / MODEL / name / "adapter_model.safetensors").read_bytes()


def runs(data_dir: Path) -> list:
    client = mlflow.MlflowClient(f"sqlite:///{data_dir}/mlruns/mlflow.db")
    (experiment,) = [e for e in client.search_experiments() if e.name == "lng_kedro"]
    return client.search_runs([experiment.experiment_id])


@pytest.fixture(scope="module")
def processed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("processed")
    finish(command(folder, "data_processing"))
    shutil.rmtree(folder / "mlruns")
    return folder


@pytest.fixture(scope="module")
def unbroken(processed: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("unbroken") / "data"
    shutil.copytree(processed, folder)
    finish(command(folder, "sft_training", "grpo_training"))
    return folder


def spoil_members(raw: Path, names: set[str]) -> int:
    """Zeros in place of members' bytes; what the directories of their zips say of them stays."""
    spoilt = 0
    for path in raw.rglob("*.zip"):
        with zipfile.ZipFile(path) as archive, path.open("r+b") as file:
            for info in archive.infolist():
                if Path(info.filename).stem in names and not info.filename.endswith(".json"):
                    start = info.header_offset + 30
                    file.seek(start + len(info.filename.encode()) + len(info.extra))
                    file.write(bytes(info.compress_size))
                    spoilt += 1
    return spoilt


def test_killed_data_processing_goes_on_and_decodes_no_photo_twice(processed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    shutil.copytree(processed / "01_raw", folder / "01_raw")
    journal = folder / "04_feature/photos/journal.jsonl"

    def finished() -> list[bytes]:
        return journal.read_bytes().splitlines(keepends=True) if journal.is_file() else []

    arguments = command(folder, "data_processing")
    assert stop(arguments, lambda: len(finished()) >= 10, signal.SIGKILL)[0] == -signal.SIGKILL
    names = {json.loads(line)[0] for line in finished() if line.endswith(b"\n")}
    assert 10 <= len(names) < 75
    with journal.open("ab") as file:
        file.write(b'["half a li')
    # A photo that is decoded again would now be no photo.
    assert spoil_members(folder / "01_raw", names) == len(names)
    finish(arguments)
    # No copy of the raw files has their times, by which the journal of labels knows them.
    found, wanted = (
        {
            str(f.relative_to(d)): f.read_bytes()
            for f in d.glob("0[2-8]*/**/*")
            if f.is_file() and f.parent.name != "label_journal"
        }
        for d in (folder, processed)
    )
    assert found.keys() == wanted.keys()
    assert [name for name in found if found[name] != wanted[name]] == []


def test_killed_in_one_stage_and_interrupted_in_the_other_it_ends_the_same(
    processed: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(processed, folder)
    whole = command(folder, "sft_training", "grpo_training")
    stages = {name: folder / "06_models" / MODEL / f"{name}_checkpoints" for name in ("sft", "grpo")}

    code, _ = stop(whole, at_step(stages["sft"], 2), signal.SIGKILL)
    assert code == -signal.SIGKILL
    code, said = stop(whole, at_step(stages["grpo"], 1), signal.SIGINT)
    assert code == 1
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert line.startswith("Error: Interrupted. The same command goes on from step ")
    finish(whole)

    for name in ("sft_adapter", "grpo_adapter"):
        assert weights(folder, name) == weights(unbroken, name)
    for stage in ("sft", "grpo"):
        file = f"08_reporting/history/{MODEL}/{stage}.csv"
        found, wanted = (pd.read_csv(d / file) for d in (folder, unbroken))
        assert found["loss"].tolist() == wanted["loss"].tolist()
    (run,) = runs(folder)
    assert run.info.status == "FINISHED"
    client = mlflow.MlflowClient(f"sqlite:///{folder}/mlruns/mlflow.db")
    for stage, count in (("sft", 4), ("grpo", 3)):
        steps = {point.step for point in client.get_metric_history(run.info.run_id, f"{stage}/loss")}
        assert steps == set(range(1, count + 1))
    # It has ended: the same command is another run now.
    assert "unfinished_command" not in run.data.tags


def test_two_processes_train_as_one_and_one_of_them_writes(
    processed: Path, unbroken: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    shutil.copytree(processed, folder)
    launcher = (str(Path(sys.executable).with_name("torchrun")), "--nproc-per-node", "2")
    finish(command(folder, "sft_training", launcher=launcher))
    file = f"08_reporting/history/{MODEL}/sft.csv"
    found, wanted = (pd.read_csv(d / file)["loss"].tolist() for d in (folder, unbroken))
    # The fourth step is what is left over, which accelerate fills up to two equal parts.
    assert found[:3] == pytest.approx(wanted[:3], abs=1e-5)
    assert len(found) == 4
    (run,) = runs(folder)
    assert run.data.tags["sft.processes"] == "2"


def test_a_killed_evaluation_redoes_one_batch_at_most(processed: Path, tmp_path: Path) -> None:
    """Fifteen photos, four a batch: killed after the first, interrupted after the second or later."""
    folder = tmp_path / "data"
    shutil.copytree(processed, folder)
    answers = folder / "07_model_output" / MODEL / "answers/base"

    def written(number: int) -> Callable[[], object]:
        return lambda: sum(len(file.read_bytes().splitlines()) for file in answers.glob("*.part")) >= number

    def evaluation(batch_size: int) -> list[str]:
        return [*command(folder, "evaluation", evaluation__batch_size=batch_size), "--namespaces", "base"]

    assert stop(evaluation(4), written(4), signal.SIGKILL)[0] == -signal.SIGKILL
    code, said = stop(evaluation(4), written(8), signal.SIGINT)
    assert code == 1
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert "of 15 answers. The same command goes on from there." in line
    predictions = folder / "07_model_output" / MODEL / "predictions_base.parquet"
    assert not predictions.exists()
    # With another batch it goes on too.
    said = finish(evaluation(5))
    assert re.search(r"Going on after (4|8|12) of\s+15\s+answers", re.sub(r"\s+answers.py:\d+\s+", " ", said))
    found = pd.read_parquet(predictions)
    assert not list(answers.iterdir())
    finish(evaluation(15))
    wanted = pd.read_parquet(predictions)
    assert found["text"].tolist() == wanted["text"].tolist()
    assert found["photo_id"].tolist() == wanted["photo_id"].tolist()


def test_a_killed_inspection_reports_every_photo_once(tmp_path: Path) -> None:
    """Twelve photos, two a batch: killed twice, interrupted, and no report that was made is made again."""
    photos = tmp_path / "photos"
    write(photos, {f"{i:02}.jpg": scene(i) for i in range(11)} | {"05 broken.jpg": b"no photo"})
    lines = tmp_path / "reports/reports.jsonl"
    arguments = command(
        tmp_path / "data",
        "inspection",
        photos=photos,
        reports=tmp_path / "reports",
        adapter="null",
        inspection__engine__batch_size=2,
    )

    def made() -> list[bytes]:
        return lines.read_bytes().splitlines(keepends=True) if lines.is_file() else []

    kept: list[bytes] = []
    for number in (2, 5):
        assert (
            stop(arguments, lambda least=number: len(made()) >= least, signal.SIGKILL)[0] == -signal.SIGKILL
        )
        assert made()[: len(kept)] == kept
        kept = [line for line in made() if line.endswith(b"\n")]
        assert number <= len(kept) < 12
        with lines.open("ab") as file:
            file.write(b'{"photo": "half a li')
    code, said = stop(arguments, lambda: len(made()) > len(kept) + 1, signal.SIGINT)
    assert code == 1
    assert "Traceback" not in said
    (line,) = [line for line in said.splitlines() if line.startswith("Error: ")]
    assert re.match(
        r"Error: Interrupted after \d+ of \d+ photos\. The same command goes on from there\.", line
    )
    finish(arguments)
    reports = [json.loads(line) for line in made()]
    assert [report["photo"] for report in reports] == sorted(path.name for path in photos.iterdir())
    assert [report["photo"] for report in reports if report["error"]] == ["05 broken.jpg"]
    assert set(kept) <= set(made())
    assert len(list((tmp_path / "reports/reports").iterdir())) == 12
