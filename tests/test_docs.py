"""What docs/data.md says is what the code does."""

import re
from pathlib import Path

import pytest
from kedro.framework.project import configure_project, pipelines

from lng_kedro.pipelines.data_processing.params import DataProcessingParams
from lng_kedro.quarantine import LEFT_OUT, REASONS

TEXT = (Path(__file__).parents[1] / "docs/data.md").read_text(encoding="utf-8")


def test_every_reason_is_explained_and_those_that_do_not_count_come_last():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|$", TEXT, re.MULTILINE)
    order = [*(reason for reason in REASONS if reason not in LEFT_OUT), *LEFT_OUT]
    assert rows == [(reason, REASONS[reason]) for reason in order]
    assert f"the last {['no', 'one', 'two', 'three', 'four'][len(LEFT_OUT)]} reasons" in " ".join(
        TEXT.split()
    )


def test_every_part_that_can_be_run_again_is_named():
    configure_project("lng_kedro")
    tags = {tag for node in pipelines["data_processing"].nodes for tag in node.tags}
    assert set(re.findall(r"--tags (\w+) ", TEXT)) == tags
    assert set(re.findall(r"--tags (\w+(?:,\w+)+)$", TEXT, re.MULTILINE)[0].split(",")) == tags - {"ingest"}


@pytest.mark.parametrize(
    "name", ["boxless", "clip_boxes", "max_rejected_share", "near_duplicate_bits", "shortfall"]
)
def test_parameters_that_are_named_exist(name):
    assert f"{name}" in TEXT and name in DataProcessingParams.model_fields
