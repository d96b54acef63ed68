"""Tables and files that are made of reports."""

import csv
import io
import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from lng_kedro.inspection.record import PhotoReport
from lng_kedro.inspection.run import Counts
from lng_kedro.inspection.tables import errors_csv, findings_csv, reports_coco, summary, told
from lng_kedro.taxonomy import Taxonomy
from tests.inspection.test_journal import report

VALUES = {"tank_type": "C", "location": "Inside", "sub_location": "Floor", "part": "Joint", "quality": "Good"}


def finding(label: str | None = "crack", bbox: list[float] | None = None, score: float | None = 0.5) -> dict:
    return {"label": label, "bbox": bbox, **VALUES, "score": score}


@pytest.fixture
def reports() -> list[PhotoReport]:
    seen = {"width": 1920, "height": 1080, "orientation": 1, "schema_true": True, "finished": True}
    return [
        report(
            "a.jpg",
            **seen,
            findings=[finding(bbox=[10.5, 20, 30, 60.25]), finding("cutting", [0, 0, 1, 1], None)],
        ),
        report("b.jpg", **seen),
        report("c.jpg", error={"reason": "truncated", "detail": "ends early"}),
        report("d.jpg", **seen | {"schema_true": False}, findings=[finding(None, [1, 1, 2, 2]), finding()]),
        report(
            "e.jpg",
            **seen | {"schema_true": False, "finished": False},
            findings=[finding("crack", [2, 2, 4, 4])],
        ),
    ]


def rows(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_one_row_a_finding(reports: list[PhotoReport], taxonomy: Taxonomy) -> None:
    header, *found = rows(findings_csv(reports, taxonomy))
    assert header == ["photo", "number", "label", "x_min", "y_min", "x_max", "y_max", "score", *VALUES]
    assert found[0] == ["a.jpg", "1", "crack", "10.5", "20", "30", "60.25", "0.5", *VALUES.values()]
    assert found[1][:8] == ["a.jpg", "2", "cutting", "0", "0", "1", "1", ""]
    assert found[3][:8] == ["d.jpg", "2", "crack", "", "", "", "", "0.5"]
    assert len(found) == 5


def test_one_row_a_photo_that_is_not_to_be_trusted(reports: list[PhotoReport]) -> None:
    assert rows(errors_csv(reports)) == [
        ["photo", "reason", "detail"],
        ["c.jpg", "truncated", "ends early"],
        ["d.jpg", "not_schema_true", "the report has what the schema forbids"],
        ["e.jpg", "not_schema_true", "it was cut off"],
    ]


def test_a_report_for_which_there_was_no_room_is_not_to_be_trusted() -> None:
    cramped = report("a.jpg", schema_true=True, finished=True, cramped=True, findings=[finding()])
    assert [row[:2] for row in rows(errors_csv([cramped]))[1:]] == [["a.jpg", "cramped"]]
    assert summary([cramped], Counts(1, 1, 0))["errors"] == {"cramped": 1}


def test_findings_of_an_older_taxonomy_stay(taxonomy: Taxonomy) -> None:
    older = [
        report("a.jpg", findings=[finding("crack", [0, 0, 1, 1])]),
        report("b.jpg", findings=[finding("rust", [0, 0, 2, 2]) | {"depth": "deep"}]),
    ]
    fewer = [label for label in taxonomy.labels if label.name != "crack"]
    newer = taxonomy.model_copy(update={"labels": tuple(fewer)})
    coco = reports_coco(older, newer)
    names = {category["id"]: category["name"] for category in coco["categories"]}
    assert len(names) == len(fewer) + 2
    assert [names[found["category_id"]] for found in coco["annotations"]] == ["crack", "rust"]
    header, first, second = rows(findings_csv(older, newer))
    assert header[-1] == "depth"
    assert (first[-1], second[-1]) == ("", "deep")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_is_a_formula(taxonomy: Taxonomy, start: str) -> None:
    name = f'{start}HYPERLINK("http://x","y")\n,z.jpg'
    bad = report(name, error={"reason": "engine", "detail": f"{start}1+1"})
    text = findings_csv([report(name, findings=[finding()])], taxonomy)
    assert rows(text)[1][0] == f"'{name}"
    assert rows(errors_csv([bad]))[1] == [f"'{name}", "engine", f"'{start}1+1"]


def test_coco(reports: list[PhotoReport], taxonomy: Taxonomy, tmp_path: Path) -> None:
    (tmp_path / "coco.json").write_text(json.dumps(reports_coco(reports, taxonomy)))
    coco = COCO(str(tmp_path / "coco.json"))
    assert {
        i["file_name"]: (i["width"], i["height"]) for i in coco.loadImgs(coco.getImgIds())
    } == dict.fromkeys(["a.jpg", "b.jpg", "d.jpg", "e.jpg"], (1920, 1080))
    names = {category["id"]: category["name"] for category in coco.loadCats(coco.getCatIds())}
    assert names[2102] == "crack"
    assert len(names) == 15
    first, second, third = coco.loadAnns(coco.getAnnIds())
    assert first == {
        "id": 1,
        "image_id": 1,
        "category_id": 2102,
        "bbox": [10.5, 20, 19.5, 40.25],
        "area": 784.88,
        "iscrowd": 0,
        "score": 0.5,
        "attributes": VALUES,
    }
    assert (second["category_id"], second["score"]) == (5102, None)
    # What has no label or no box is no annotation.
    assert (third["image_id"], third["bbox"]) == (4, [2, 2, 2, 2])


def test_summary(reports: list[PhotoReport]) -> None:
    found = summary(reports, Counts(found=4, new=2, gone=1))
    assert found["photos"] == {"all": 5, "with_findings": 1, "without_findings": 1, "errors": 3}
    assert found["errors"] == {"not_schema_true": 2, "truncated": 1}
    assert found["findings"] == {"all": 5, "crack": 3, "cutting": 1, "None": 1}
    assert [(maker["photos"], maker["model"]) for maker in found["made_by"]] == [(5, "m")]
    assert told(found) == (
        "5 photos: 5 findings on 1, none on 1, 3 errors. New in this command: 2. "
        "Reports of 1 photos that were not found this time stay."
    )
