"""The command of the quality engineer, on the real tiny model."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lng_kedro.inspection.journal import Reports
from lng_kedro.vlm.adapter import Adapter
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import LoraParams
from tests.project import ROOT, copy_project, kedro, mlflow_runs, prepare_store
from tests.raw import scene, write

MODEL = "tiny_qwen2_5_vl"

GUARD = """
import os, socket

def refuse(host, *_, **__):
    with open(os.environ["ASKED"], "a") as file:
        print(host, file=file)
    raise OSError("no network here")

connect = socket.socket.connect
socket.getaddrinfo = refuse
socket.socket.connect = lambda self, to: refuse(to[0]) if isinstance(to, tuple) else connect(self, to)
with open(os.environ["ASKED"], "a") as file:
    print("guarded", file=file)
"""
"""Begins each Python process: no host is found, and who looks for one is written down."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = copy_project(tmp_path_factory.mktemp("inspection") / "project")
    (target / "models").symlink_to(ROOT / "models")
    prepare_store(target / "build/test")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        yield target


@pytest.fixture(scope="module")
def adapter(project: Path, vlm_params, taxonomy) -> Path:
    """Where the pipeline looks for it."""
    vlm = load_vlm(vlm_params, new_adapter=LoraParams(rank=2, alpha=4, dropout=0.0))
    torch.manual_seed(0)
    for name, weight in vlm.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    folder = project / f"build/test/06_models/{MODEL}/grpo_adapter"
    dialogue = Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=False)
    Adapter(vlm.model, dialogue, {}).save_pretrained(str(folder))
    return folder


def run(project: Path, *params: str) -> tuple[int, str]:
    options = ["--params", ",".join(params)] if params else []
    result = kedro(project, "run", "--env", "test", "--pipelines", "inspection", *options)
    assert "Traceback" not in result.output, result.output
    return result.exit_code, result.output


def refusal(project: Path, *params: str) -> str:
    code, said = run(project, *params)
    assert code == 1
    assert said.count("Error: ") == 1
    return said.partition("Error: ")[2].strip()


@pytest.mark.usefixtures("adapter")
class TestTheDefault:
    def test_rendered_photos_are_reported_and_no_mlflow_run_is_kept(self, project: Path, taxonomy) -> None:
        code, said = run(project)
        assert code == 0, said
        place = project / f"build/test/08_reporting/{MODEL}/inspection"
        reports = {report.photo: report for report in Reports(place / "reports.jsonl")}
        assert list(reports) == ["photo_001.jpg", "photo_002.jpg", "photo_003.jpg"]
        assert {(report.width, report.height) for report in reports.values()} == {(1920, 1080)}
        assert all(report.error is None and report.made_by.adapter_sha256 for report in reports.values())
        assert {path.name for path in place.iterdir()} == {
            *("reports.jsonl", "reports", "findings.csv", "errors.csv", "coco.json", "summary.json"),
            *("taxonomy.json", "photos.json", "review.html"),
        }
        with (place / "findings.csv").open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == sum(len(report.findings) for report in reports.values()) > 0
        summary = json.loads((place / "summary.json").read_text())
        assert summary["this_command"] == {"photos": 3, "new": 3, "not_found_any_more": 0}
        assert "3 photos: " in said
        assert said.rstrip().endswith(f"All of it: {place}")
        assert mlflow_runs(project / "build/test") == 0

    def test_the_same_command_has_nothing_to_do(self, project: Path) -> None:
        run(project)
        place = project / f"build/test/08_reporting/{MODEL}/inspection"
        before = (place / "reports.jsonl").read_bytes()
        code, said = run(project)
        assert (code, (place / "reports.jsonl").read_bytes()) == (0, before)
        assert "New in this command: 0." in said
        assert "Loading weights" not in said

    def test_nobody_else_is_asked(self, project: Path, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text(GUARD)
        # Whatever makes MLflow silent in a test is not there for a user.
        silent = ("CI", "DO_NOT_TRACK", "GITHUB_", "MLFLOW_", "PYTEST_")
        own = {name: value for name, value in os.environ.items() if not name.startswith(silent)}
        path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        command = ["kedro", "run", "--env", "test", "--pipelines", "inspection"]
        done = subprocess.run(
            [sys.executable, "-m", *command, "--params", "reports=asked"],
            cwd=project,
            env=own | {"PYTHONPATH": path, "ASKED": str(tmp_path / "asked")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert len(list(Reports(project / "asked/reports.jsonl"))) == 3
        assert set((tmp_path / "asked").read_text().split()) == {"guarded"}


class TestPhotosOfOnesOwn:
    @pytest.fixture(scope="class")
    def place(self, project: Path) -> Path:
        names = ["현장 1/a.jpg", "현장 1/B.JPG", '현장 2/=1+1, "x".png']
        forms = ["JPEG", "JPEG", "PNG"]
        photos = {name: scene(i, form=form) for i, (name, form) in enumerate(zip(names, forms, strict=True))}
        write(project / "new", {**photos, "현장 2/half.jpg": scene(9)[:900], "현장 2/empty.jpg": b""})
        return project / "new"

    def test_a_bare_model_a_folder_and_another_place(self, project: Path, place: Path) -> None:
        code, said = run(project, f"photos={place}", "adapter=null", "reports=out")
        assert code == 0, said
        reports = {report.photo: report for report in Reports(project / "out/reports.jsonl")}
        assert len(reports) == 5
        assert {name: one.error["reason"] for name, one in reports.items() if one.error} == {
            "현장 2/half.jpg": "truncated",
            "현장 2/empty.jpg": "empty",
        }
        assert {report.made_by.adapter_sha256 for report in reports.values()} == {None}
        assert (project / "out/reports/현장 1/B.JPG.json").is_file()
        assert "2 errors" in said

    def test_a_pattern_adds_only_what_is_new(self, project: Path, place: Path) -> None:
        run(project, f"photos={place}", "adapter=null", "reports=patterns")
        write(place, {"현장 1/new.jpg": scene(20)})
        code, said = run(project, f"photos={place}/*/new.jpg", "adapter=null", "reports=patterns")
        assert code == 0, said
        assert "New in this command: 1. Reports of 5 photos that were not found this time stay." in said
        (place / "현장 1/new.jpg").unlink()

    def test_another_folder_needs_another_place(self, project: Path, place: Path) -> None:
        run(project, f"photos={place}", "adapter=null", "reports=mixed")
        said = refusal(project, f"photos={place / '현장 1'}", "adapter=null", "reports=mixed")
        assert "mixed holds reports of the photos in" in said
        assert "--params reports=PATH" in said

    @pytest.mark.usefixtures("adapter")
    def test_a_changed_adapter_asks_again(self, project: Path, place: Path) -> None:
        run(project, f"photos={place}/*1/*", "adapter=null", "reports=changed")
        said = run(project, f"photos={place}/*1/*", "reports=changed")[1]
        assert "New in this command: 2." in said
        made_by = {report.made_by.adapter_sha256 for report in Reports(project / "changed/reports.jsonl")}
        assert len(made_by) == 1
        assert None not in made_by


class TestRefused:
    @pytest.mark.parametrize(
        ("place", "why"),
        [
            ("nowhere", "there is no folder nowhere"),
            ("nowhere/*.jpg", "there is no folder nowhere"),
            ("conf", "there are none at conf"),
            ("conf/*/../*.jpg", "'..' after a wildcard leads out of conf"),
        ],
    )
    def test_no_photos(self, project: Path, place: str, why: str) -> None:
        said = refusal(project, f"photos={place}", "adapter=null")
        hint = "Name a folder of photos, or a pattern, with --params photos=PATH."
        assert said == f"No photos to inspect: {why}. {hint}"

    def test_no_adapter(self, project: Path) -> None:
        said = refusal(project, "adapter=nowhere")
        assert said.startswith(
            f"There is no adapter at {project}/nowhere: train one, name its folder by --params adapter=PATH"
        )
        assert said.endswith("or take the bare model with --params adapter=null.")

    def test_an_adapter_that_does_not_say_how_it_is_asked(
        self, project: Path, adapter: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "adapter_model.safetensors").write_bytes(
            (adapter / "adapter_model.safetensors").read_bytes()
        )
        said = refusal(project, f"adapter={tmp_path}")
        assert said.startswith(f"Model '{MODEL}': {tmp_path}/dialogue.json is missing")

    def test_an_adapter_of_another_model(self, project: Path, adapter: Path, tmp_path: Path) -> None:
        from safetensors.torch import load_file, save_file

        for file in adapter.iterdir():
            (tmp_path / file.name).write_bytes(file.read_bytes())
        weights = load_file(adapter / "adapter_model.safetensors")
        save_file(
            {name: torch.cat([w, w], 1) for name, w in weights.items()},
            tmp_path / "adapter_model.safetensors",
        )
        said = refusal(project, f"adapter={tmp_path}", "reports=foreign")
        assert "belongs to another model" in said

    @pytest.mark.parametrize("pipeline", ["inspection", "export"])
    def test_an_adapter_of_a_model_that_is_set_otherwise(
        self, project: Path, adapter: Path, pipeline: str
    ) -> None:
        params = "vlm.frame=processed,reports=otherwise"
        result = kedro(project, "run", "--env", "test", "--pipelines", pipeline, "--params", params)
        assert result.exit_code == 1
        assert "Traceback" not in result.output
        assert "was trained to speak of boxes in a frame 128 wide" in result.output

    def test_what_is_not_installed(self, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        install = "pip install -c constraints.txt -e '.[train,serve]'"
        monkeypatch.setattr("lng_kedro.vlm.constraint.find_spec", lambda name: None)
        said = refusal(project, "adapter=null")
        assert said.startswith("Constrained answers need the extra `serve`: ")
        assert said.endswith(f"{install}; without it: --params inspection.constrained=false")
        monkeypatch.setattr("lng_kedro.hooks.find_spec", lambda name: None if name == "peft" else True)
        assert refusal(project, "adapter=null") == f"Inspection needs peft: {install}"

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ("photo=new", "there is no parameter 'photo': did you mean 'photos'?"),
            (
                "inspection.max_pixel=1",
                "there is no parameter 'inspection.max_pixel': did you mean 'max_pixels'?",
            ),
            (
                "inspection.engine.url=http://127.0.0.1:1/v1",
                "'inspection.engine.url' is of the engine server, and the engine is in_process",
            ),
            (
                "inspection.engine.kind=server,inspection.engine.batch_size=1",
                "'inspection.engine.batch_size' is of the engine in_process, and the engine is server",
            ),
        ],
    )
    def test_a_name_that_does_not_exist(self, project: Path, given: str, said: str) -> None:
        assert refusal(project, given) == f"--params: {said}"
