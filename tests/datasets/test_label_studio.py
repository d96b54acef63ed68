"""Exports of another Label Studio."""

import json
from pathlib import Path

import pytest
from kedro.io import DatasetError

from lng_kedro.datasets import CorrectionsDataset
from lng_kedro.taxonomy import Taxonomy

TASK = {
    "id": 1,
    "data": {"sha256": "a" * 64, "image": "x"},
    "annotations": [{"id": 2, "updated_at": "2026-11-26T12:00:00Z", "result": [], "completed_by": 1}],
}


@pytest.fixture
def dataset(tmp_path: Path, taxonomy: Taxonomy) -> CorrectionsDataset:
    (tmp_path / "taxonomies").mkdir()
    (tmp_path / "taxonomies/known.json").write_text(taxonomy.model_dump_json())
    return CorrectionsDataset(filepath=str(tmp_path), command="none", export=str(tmp_path / "export"))


def test_an_export_is_taken_as_it_is(tmp_path: Path, dataset: CorrectionsDataset) -> None:
    (tmp_path / "export").write_text(json.dumps([TASK]))
    assert list(dataset.load().tasks) == [TASK]


@pytest.mark.parametrize(
    ("content", "where"),
    [
        ("", "the file: Invalid JSON"),
        ("id,image\n1,x\n", "the file: Invalid JSON"),
        (json.dumps(TASK), "the file: Input should be a valid array"),
        (json.dumps(["x"]), "0: "),
        # JSON-MIN: values beside each other.
        (json.dumps([{"id": 1, "image": "x", "label": []}]), r"0\.data: Field required"),
        (
            json.dumps([TASK, TASK | {"annotations": [{"id": 1, "result": []}]}]),
            r"1\.annotations\.0\.updated_at",
        ),
        (
            json.dumps([TASK | {"annotations": [TASK["annotations"][0] | {"result": [{"value": None}]}]}]),
            r"0\.annotations\.0\.result\.0\.value",
        ),
    ],
)
def test_what_is_none_says_which_is_needed(
    tmp_path: Path, dataset: CorrectionsDataset, content: str, where: str
) -> None:
    (tmp_path / "export").write_text(content)
    with pytest.raises(DatasetError, match=rf"export is no export .*\({where}.*Export, then 'JSON'"):
        dataset.load()
