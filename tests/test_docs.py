"""What the documentation says is what the code does."""

import json
import re
from pathlib import Path

import pytest
from kedro.config import OmegaConfigLoader
from kedro.framework.cli.utils import _split_params
from kedro.framework.project import configure_project, pipelines

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.aihub.index import index_labels
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.compute import Processes
from lng_kedro.pipelines.data_processing import schemas
from lng_kedro.pipelines.data_processing.params import DataProcessingParams
from lng_kedro.preflight import RuntimeParams, wrong_configuration
from lng_kedro.quarantine import LEFT_OUT, REASONS
from lng_kedro.reviewed import corrected
from lng_kedro.settings import CONFIG_LOADER_ARGS
from tests.raw import ENGLISH, annotation, encoded, label, write

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "docs/data.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
INSPECTION = (ROOT / "docs/inspection.md").read_text(encoding="utf-8")
COLUMNS = {
    column
    for schema in (schemas.Manifest, schemas.Draw, schemas.Split, schemas.Quarantine)
    for column in schema.to_schema().columns
}


def test_every_reason_is_explained_and_those_that_do_not_count_come_last():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", TEXT, re.MULTILINE)
    order = [*(reason for reason in REASONS if reason not in LEFT_OUT), *LEFT_OUT]
    assert rows == [(reason, REASONS[reason]) for reason in order]
    assert f"the last {['no', 'one', 'two', 'three', 'four', 'five'][len(LEFT_OUT)]} reasons" in " ".join(
        TEXT.split()
    )


def test_the_corrected_photo_that_is_shown_is_read(taxonomy, tmp_path):
    content = re.search(r"```json\n(.+?)```", TEXT, re.DOTALL)[1].encode()
    (image,) = json.loads(content)["images"]
    name = image["file_name"].removesuffix(".jpg")
    write(tmp_path / "reviewed", {f"{name}.jpg": b"", f"{name}.json": content})
    write(tmp_path / "raw", {"2102_12_a.jpg": b"", "2102_12_a.json": encoded(label(annotation()))})
    raw = AIHubFolder(tmp_path / "raw", tmp_path / "reviewed")
    manifest, quarantine = index_labels(raw, LabelReader(taxonomy), Processes(engine="processes", workers=1))
    assert quarantine.empty
    (row,) = manifest[manifest["photo_id"] == name].to_dict("records")
    assert (row["photo"], row["label"]) == (f"reviewed://{name}.jpg", "scratch")
    assert [row[side] for side in "xywh"] == [1208.5, 640.0, 322.25, 96.0]
    assert {field: row[field] for field in ENGLISH} == ENGLISH
    assert row["filled"] == ""
    assert set(corrected(manifest)) == {name}
    assert "`reviewed://`" in TEXT


def test_every_part_that_can_be_run_again_is_named():
    configure_project("lng_kedro")
    tags = {tag for node in pipelines["data_processing"].nodes for tag in node.tags}
    assert set(re.findall(r"--tags (\w+) ", TEXT)) == tags
    assert set(re.findall(r"--tags (\w+(?:,\w+)+)$", TEXT, re.MULTILINE)[0].split(",")) == tags - {"ingest"}


@pytest.mark.parametrize("option", sorted({*re.findall(r"--params ([^\s`]+)", TEXT + README + INSPECTION)}))
def test_every_option_that_is_shown_is_taken(option):
    assert wrong_with(option) == []


def test_every_setting_that_is_shown_is_taken():
    shown = [(name, value) for name, value in re.findall(r"`(\w+): (\w+)`", TEXT) if name not in COLUMNS]
    assert len(shown) >= 2
    said = ",".join(f"data_processing.{name}={value}" for name, value in shown)
    assert wrong_with(said) == []


def test_every_name_that_is_shown_exists():
    # One word may be any word of a file; a name of several is ours.
    shown = set(re.findall(r"`(\w+_\w+)(?:: \w+)?`", TEXT))
    known = {*DataProcessingParams.model_fields, *RuntimeParams.model_fields, *COLUMNS, *REASONS}
    assert {"near_duplicate_bits", "max_rejected_share"} <= shown
    assert shown - known - {"data_processing"} == set()


def wrong_with(option):
    """What the check before a run says of `--params option`."""
    configure_project("lng_kedro")
    given = _split_params(None, None, option)
    return wrong_configuration(
        OmegaConfigLoader(str(ROOT / "conf"), runtime_params=given, **CONFIG_LOADER_ARGS)
    )
