"""The export by the real pipeline, its model from a real MLflow store, and in a process of its own."""

import ast
import base64
import json
import os
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from io import BytesIO
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from fastapi.testclient import TestClient
from mlflow.pyfunc import scoring_server
from PIL import Image

from lng_kedro import registry
from lng_kedro.export.in_memory import Inspector
from lng_kedro.export.params import ExportParams
from lng_kedro.inspection.in_process import InProcessEngine
from lng_kedro.inspection.params import InProcessParams
from lng_kedro.inspection.photos import NewPhotos
from lng_kedro.inspection.record import PhotoReport
from lng_kedro.inspection.run import reports_of
from lng_kedro.vlm.adapter import adapter_hash
from lng_kedro.vlm.merged import merged_params, stored_origin
from lng_kedro.vlm.spec import VlmParams
from tests.export.conftest import make_adapter
from tests.project import ROOT, prepare_store, session

NAME = "lng_kedro.tiny_qwen2_5_vl.merged"
LEFT = {"grpo_adapter", "merged", "merged_version.json"}


@pytest.fixture(scope="module")
def tiny():
    models = yaml.safe_load((ROOT / "conf/base/parameters/models.yml").read_text())["vlm"]["models"]
    name = "tiny_qwen2_5_vl"
    return VlmParams(model=name, frame="native", models={name: models[name]})


@pytest.fixture(scope="module")
def data_dir(tiny, taxonomy, tmp_path_factory):
    """Exported twice: the store keeps what the second replaces in the folder."""
    folder = tmp_path_factory.mktemp("export")
    prepare_store(folder)
    place = folder / "06_models/tiny_qwen2_5_vl"
    before = Path.cwd(), mlflow.get_tracking_uri()
    os.chdir(ROOT)
    for strength in (0.01, 0.02):
        make_adapter(place / "grpo_adapter", tiny, taxonomy, strength=strength)
        with session(ROOT, "test", data_dir=str(folder)) as opened:
            opened.run(pipeline_names=["export"])
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlruns/mlflow.db")
    yield folder
    os.chdir(before[0])
    mlflow.set_tracking_uri(before[1])


@pytest.fixture(scope="module")
def merged(data_dir):
    return data_dir / "06_models/tiny_qwen2_5_vl/merged"


@pytest.fixture(scope="module")
def store(data_dir):
    """Folder of the second version in the store."""
    return Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/2"))


@pytest.fixture(scope="module")
def sent(photos):
    """Photos as they may come: one as it is, one lying on its side, and what is none."""
    lying = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    photos.load("p1").resize((300, 200)).save(lying, "JPEG", exif=exif, quality=95)
    return [photos.path("p0").read_bytes(), lying.getvalue(), b"", b"no photo", lying.getvalue()[:4000]]


@pytest.fixture(scope="module")
def export_params(data_dir):
    with session(ROOT, "test", data_dir=str(data_dir)) as opened:
        return ExportParams.model_validate(opened.load_context().params["export"])


def of_photo(report):
    """What does not depend on when and from where it was made."""
    return report.model_dump(exclude={"time", "made_by", "photo", "fingerprint"})


def test_the_registered_model(data_dir, merged, store):
    client = mlflow.MlflowClient()
    adapter = merged.with_name("grpo_adapter")
    version = client.get_model_version(NAME, "2")
    assert version.tags == {
        "adapter_sha256": adapter_hash(adapter),
        "base_checkpoint": "models/tiny_qwen2_5_vl",
        "base_revision": "main",
    }
    said = json.loads(merged.with_name("merged_version.json").read_text())
    assert (said["name"], said["version"], said["run"]) == (NAME, "2", version.run_id)
    logged = mlflow.get_logged_model(said["model"].removeprefix("models:/"))
    assert (str(logged.status), logged.source_run_id) == ("READY", version.run_id)
    assert version.source == said["model"] != client.get_model_version(NAME, "1").source
    info = mlflow.models.get_model_info(f"models:/{NAME}/2")
    assert [(c.name, c.type.name, c.required) for c in info.signature.inputs] == [
        ("photo", "binary", True),
        ("name", "string", False),
    ]
    assert [(c.name, c.type.name) for c in info.signature.outputs] == [("report", "string")]
    assert stored_origin(merged).adapter_sha256 == adapter_hash(adapter)


def test_the_store_holds_all_once_and_no_pickle(data_dir, merged, store):
    assert not [file for file in data_dir.rglob("*") if file.suffix in (".pkl", ".pickle", ".pt", ".bin")]
    inside = store / "artifacts/merged"
    assert inside.is_relative_to(data_dir)
    assert {file.name for file in inside.iterdir()} == {file.name for file in merged.iterdir()}
    for file in merged.iterdir():
        assert (inside / file.name).read_bytes() == file.read_bytes(), file.name
    for weights in merged.glob("*.safetensors"):
        assert (inside / weights.name).samefile(weights)
        assert weights.stat().st_nlink == 2
    size = yaml.safe_load((store / "MLmodel").read_text())["model_size_bytes"]
    assert size > sum(file.stat().st_size for file in merged.iterdir())
    assert {path.name for path in merged.parent.iterdir()} == LEFT
    # The first version is what it was.
    first = Path(mlflow.artifacts.download_artifacts(f"models:/{NAME}/1"))
    weights = first / "artifacts/merged/model.safetensors"
    assert weights.stat().st_nlink == 1
    assert weights.read_bytes() != (merged / "model.safetensors").read_bytes()


def test_the_card_without_data_says_what_is_missing(merged):
    card = (merged / "README.md").read_text()
    assert "It learned from 2 photos" in card
    assert "2 of them are not in the splits that are stored now" in card
    assert "Missing: no stored figures are of this adapter." in card


FRESH = """
import json, sys
import mlflow, pandas
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model(f"models:/{sys.argv[2]}/2", model_config={"device": "cpu"})
photos = [bytes.fromhex(photo) for photo in json.load(sys.stdin)]
names = [f"new/{i}.jpg" for i in range(len(photos))]
found = model.predict(pandas.DataFrame({"photo": photos, "name": names}))
import lng_kedro
used = [m.__file__ for name, m in sys.modules.items() if name.split(".")[0] == "lng_kedro" and m.__file__]
print("RESULT" + json.dumps([found["report"].tolist(), lng_kedro.__file__, used]))
"""


@pytest.fixture(scope="module")
def fresh(data_dir, sent, tmp_path_factory):
    """What a process says that has the store, and this project only as it is stored there."""
    uri = f"sqlite:///{data_dir}/mlruns/mlflow.db"
    done = subprocess.run(
        [sys.executable, "-c", FRESH, uri, NAME],
        input=json.dumps([photo.hex() for photo in sent]),
        cwd=tmp_path_factory.mktemp("elsewhere"),
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.partition("RESULT")[2])


def test_a_fresh_process_reports_as_the_inspection_does(fresh, merged, sent, export_params, tmp_path, store):
    texts, code, _ = fresh
    assert Path(code).is_relative_to(store)
    reports = [PhotoReport.model_validate_json(text) for text in texts]
    assert [report.photo for report in reports] == [f"new/{i}.jpg" for i in range(5)]
    assert {report.made_by.adapter_sha256 for report in reports} == {stored_origin(merged).adapter_sha256}
    for i, photo in enumerate(sent):
        (tmp_path / f"{i}.jpg").write_bytes(photo)
    model = InProcessEngine(
        merged_params(merged, "cpu"),
        None,
        None,
        InProcessParams(kind="in_process", batch_size=export_params.batch_size),
        export_params.max_new_tokens,
        export_params.constrained,
    )
    folder = NewPhotos.at(str(tmp_path))
    expected = list(reports_of(folder, folder.listing(), model, export_params))
    assert [of_photo(report) for report in reports] == [of_photo(report) for report in expected]
    assert reports[0].made_by.prompt_sha256 == expected[0].made_by.prompt_sha256


def test_photos_and_what_is_none(fresh, sent):
    whole, lying, empty, none, cut = map(json.loads, fresh[0])
    assert (whole["error"], whole["width"], whole["height"]) == (None, 512, 512)
    assert whole["findings"] and whole["text"]
    assert (lying["width"], lying["height"], lying["orientation"]) == (200, 300, 6)
    for report in (whole, lying):
        for finding in report["findings"]:
            x_min, y_min, x_max, y_max = finding["bbox"]
            assert 0 <= x_min < x_max <= report["width"] and 0 <= y_min < y_max <= report["height"]
            assert 0 < finding["score"] <= 1
    reasons = [report["error"]["reason"] for report in (empty, none, cut)]
    assert reasons == ["empty", "unreadable", "truncated"]
    assert [report["findings"] for report in (empty, none, cut)] == [[], [], []]


def test_all_that_its_code_imports_is_required(fresh, store):
    lines = (store / "requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[a-z]+==[0-9.]+", line) for line in lines)
    imported = set()
    for file in fresh[2]:
        for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.partition(".")[0])
    owners = packages_distributions()
    used = {name.lower() for module in imported for name in owners.get(module, ())}
    # For adapters, GPUs in training, and clusters.
    used -= {"lng_kedro", "peft", "ray", "unsloth"}
    assert {"torch", "transformers", "pillow"} <= used
    assert used <= {line.partition("==")[0] for line in lines}


SMALL = {"device": "cpu", "max_bytes": 100_000}


class TestInThisProcess:
    @pytest.fixture(scope="class")
    def model(self, data_dir):
        return mlflow.pyfunc.load_model(f"models:/{NAME}/2", model_config=SMALL)

    def test_the_example_of_the_model(self, model):
        found = model.predict(model.input_example)["report"]
        (report,) = [PhotoReport.model_validate_json(text) for text in found]
        assert (report.photo, report.width, report.height) == ("grey.jpg", 64, 48)
        assert report.error is None and report.text

    def test_settings_given_when_it_is_loaded(self, model, photos):
        large = BytesIO()
        photos.load("p0").save(large, "BMP")
        found = model.predict(pd.DataFrame({"photo": [large.getvalue()]}))["report"]
        assert json.loads(found[0])["error"]["detail"].endswith("bytes; max_bytes is 100,000")

    def test_by_rest(self, model, sent):
        client = TestClient(scoring_server.init(model))
        rows = [[base64.b64encode(photo).decode()] for photo in sent[1:3]]
        answer = client.post("/invocations", json={"dataframe_split": {"columns": ["photo"], "data": rows}})
        assert answer.status_code == 200, answer.text
        reports = [json.loads(row["report"]) for row in answer.json()["predictions"]]
        assert [report["photo"] for report in reports] == ["photo 1", "photo 2"]
        assert [report["width"] for report in reports] == [200, None]
        assert reports[1]["error"]["reason"] == "empty"

    def test_no_photos(self, model):
        frame = pd.DataFrame({"photo": pd.Series([], dtype=object)})
        assert model.predict(frame)["report"].tolist() == []

    def test_a_row_without_a_photo_and_one_too_large(self, merged, export_params, sent):
        small = export_params.model_copy(update={"max_bytes": 5000, "device": "cpu"})
        named = Inspector(merged, small).reports([None, sent[0]], ["a.jpg", float("nan")])
        assert [(report.photo, report.error) for report in named] == [
            ("a.jpg", {"reason": "unreadable", "detail": "the bytes of a photo are expected, not NoneType"}),
            (
                "photo 2",
                {"reason": "too_large", "detail": f"{len(sent[0]):,} bytes; max_bytes is 5,000"},
            ),
        ]

    @pytest.mark.parametrize("name", ["../x.jpg", "/etc/x.jpg", "a/../../x.jpg"])
    def test_a_name_that_leads_out_is_refused(self, merged, export_params, sent, name):
        with pytest.raises(ValueError, match="a photo's name is a path below its folder"):
            list(Inspector(merged, export_params).reports(sent[:1], [name]))


class TestStoring:
    @pytest.fixture
    def config(self, export_params):
        return export_params.model_dump(mode="json")

    @pytest.fixture
    def run(self, data_dir):
        mlflow.set_experiment("lng_kedro")
        with mlflow.start_run() as run:
            yield run

    def test_on_another_disk_files_are_copied(self, merged, config, run, monkeypatch):
        def refuse(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(registry.os, "link", refuse)
        said = registry.register_merged(merged, stored_origin(merged), config)
        folder = Path(mlflow.artifacts.download_artifacts(said["model"])) / "artifacts/merged"
        assert not (folder / "model.safetensors").samefile(merged / "model.safetensors")
        assert (folder / "model.safetensors").read_bytes() == (merged / "model.safetensors").read_bytes()

    def test_in_a_store_elsewhere_files_are_sent(self, merged, config, run, monkeypatch):
        monkeypatch.setattr("mlflow.utils.uri.is_local_uri", lambda *_: False)
        said = registry.register_merged(merged, stored_origin(merged), config)
        folder = Path(mlflow.artifacts.download_artifacts(said["model"])) / "artifacts/merged"
        assert not (folder / "model.safetensors").samefile(merged / "model.safetensors")
        assert {file.name for file in folder.iterdir()} == {file.name for file in merged.iterdir()}

    def test_a_run_has_one_version(self, merged, config, run):
        one, other = (registry.register_merged(merged, stored_origin(merged), config) for _ in range(2))
        assert one["version"] == other["version"]

    def test_what_fails_is_no_version(self, merged, config, run, monkeypatch):
        before = len(mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'"))

        def fail(*_, **__):
            raise OSError("full")

        monkeypatch.setattr(mlflow.pyfunc, "save_model", fail)

        with pytest.raises(OSError, match="full"):
            registry.register_merged(merged, stored_origin(merged), config)
        (failed,) = mlflow.search_logged_models(
            filter_string=f"source_run_id = '{run.info.run_id}'", output_format="list"
        )
        assert str(failed.status) == "FAILED"
        assert len(mlflow.MlflowClient().search_model_versions(f"name = '{NAME}'")) == before
        assert {path.name for path in merged.parent.iterdir()} == LEFT

    def test_without_mlflow_nothing_is_registered(self, merged, config):
        assert registry.register_merged(merged, stored_origin(merged), config) == {}
