"""What is reported stays reported, once, whatever cuts the command off."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lng_kedro.inspection.engine import InspectionStopped
from lng_kedro.inspection.journal import Reports
from lng_kedro.inspection.record import PhotoReport
from tests.inspection.scripted import made_by

PHOTOS = Path("/new/photos")
TIME = datetime(2026, 1, 2, tzinfo=UTC)


def report(photo: str, fingerprint: str = "1-1", **more: object) -> PhotoReport:
    about = {
        "photo": photo,
        "fingerprint": fingerprint,
        "made_by": made_by(),
        "time": datetime(2026, 1, 2, tzinfo=UTC),
    }
    return PhotoReport.model_validate(about | more)


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    return Reports(tmp_path / "out/reports.jsonl")


def add(reports: Reports, *added: PhotoReport, finish: bool = True, photos: Path = PHOTOS) -> None:
    with reports.writing(photos) as journal:
        for one in added:
            journal.add(one)
        if finish:
            journal.finish()


def names(reports: Iterable[PhotoReport]) -> list[str]:
    return [one.photo for one in reports]


def test_none_at_first(reports: Reports) -> None:
    assert list(reports) == []


def test_what_is_added_is_there_at_once_and_sorted_in_the_end(reports: Reports) -> None:
    with reports.writing(PHOTOS) as journal:
        journal.add(report("b.jpg"))
        journal.add(report("a.jpg"))
        assert names(reports) == ["b.jpg", "a.jpg"]
        journal.finish()
    assert list(reports) == [report("a.jpg"), report("b.jpg")]


def test_a_later_report_takes_the_place_of_the_first(reports: Reports) -> None:
    add(reports, report("a.jpg"), report("b.jpg"), finish=False)
    add(reports, report("a.jpg", "2-2"))
    assert list(reports) == [report("a.jpg", "2-2"), report("b.jpg")]
    files = {path.name: PhotoReport.model_validate_json(path.read_text()) for path in reports.files.iterdir()}
    assert files == {"a.jpg.json": report("a.jpg", "2-2"), "b.jpg.json": report("b.jpg")}


def test_of_a_photo_the_last_line_counts_before_the_end_too(reports: Reports) -> None:
    add(reports, report("a.jpg"), report("b.jpg"), report("a.jpg", "2-2"), finish=False)
    assert list(reports) == [report("b.jpg"), report("a.jpg", "2-2")]


def test_a_damaged_line_is_passed_over(reports: Reports) -> None:
    add(reports, report("a.jpg"), report("b.jpg"))
    first, second = reports.path.read_bytes().splitlines(keepends=True)
    reports.path.write_bytes(first + b"\0\xff{\n" + second + first[:30] + b"\n")
    assert names(reports) == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("end", [b'{"photo": "b.j', b"\0" * 50, b"\0" * 50 + b"\n", b'{"photo": "b.jpg"}\n'])
def test_what_is_no_whole_report_is_dropped(
    reports: Reports, end: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    add(reports, report("a.jpg"), report("c.jpg"))
    lines = reports.path.read_bytes().splitlines(keepends=True)
    reports.path.write_bytes(lines[0] + end)
    with reports.writing(PHOTOS) as journal:
        assert journal.names == {"a.jpg"}
        journal.add(report("c.jpg"))
    assert ("cannot be read" in caplog.text) == end.endswith(b"\n")
    add(reports, report("b.jpg"))
    assert list(reports) == [report("a.jpg"), report("b.jpg"), report("c.jpg")]
    assert reports.path.read_bytes().count(b"\n") == 3


def test_which_reports_are_current(reports: Reports) -> None:
    failed = report("f.jpg", error={"reason": "engine", "detail": "x"})
    add(reports, report("a.jpg"), failed)
    with reports.writing(PHOTOS) as journal:
        assert journal.is_current("a.jpg", "1-1", made_by())
        assert not journal.is_current("a.jpg", "1-2", made_by())
        assert not journal.is_current("a.jpg", "1-1", made_by(adapter_sha256="b"))
        assert not journal.is_current("b.jpg", "1-1", made_by())
        assert not journal.is_current("f.jpg", "1-1", made_by())


def test_the_same_error_is_kept_as_it_was(reports: Reports) -> None:
    broken = {"error": {"reason": "truncated", "detail": "x"}}
    later = datetime(2026, 5, 5, tzinfo=UTC)
    add(reports, report("a.jpg", **broken), report("b.jpg", **broken))
    add(reports, report("a.jpg", **broken, time=later), report("b.jpg", time=later))
    assert [one.time for one in reports] == [TIME, later]


class TestFilesOfPhotos:
    def test_written_where_they_say_something_new(self, reports: Reports) -> None:
        add(reports, report("a.jpg"), report("x/b.jpg"))
        before = {path: path.stat().st_mtime_ns for path in reports.files.rglob("*.json")}
        assert sorted(str(path.relative_to(reports.files)) for path in before) == [
            "a.jpg.json",
            "x/b.jpg.json",
        ]
        add(reports, report("x/b.jpg", "2-2"))
        changed = [path.name for path, time in before.items() if path.stat().st_mtime_ns != time]
        assert changed == ["b.jpg.json"]

    def test_those_without_a_line_go_and_what_is_not_ours_stays(self, reports: Reports) -> None:
        add(reports, report("a.jpg"), report("b.jpg"))
        (reports.files / "mine.json").write_text('{"photo": "mine"}')
        reports.path.write_bytes(reports.path.read_bytes().splitlines(keepends=True)[0])
        add(reports)
        assert sorted(path.name for path in reports.files.iterdir()) == ["a.jpg.json", "mine.json"]

    def test_one_that_is_no_text_is_written_anew(self, reports: Reports) -> None:
        add(reports, report("a.jpg"))
        (reports.files / "a.jpg.json").write_bytes(b"\xff\xfe\0")
        add(reports)
        assert PhotoReport.model_validate_json((reports.files / "a.jpg.json").read_bytes()) == report("a.jpg")

    @pytest.mark.parametrize("folder", ["a.jpg.json", "a.jpg.JSON"])
    def test_a_folder_named_as_a_photos_file(self, reports: Reports, folder: str) -> None:
        add(reports, report("a.jpg"), report(f"{folder}/a.jpg"))
        found = [
            PhotoReport.model_validate_json(p.read_bytes()).photo for p in reports.files.rglob("*.jpg.json")
        ]
        assert sorted(found) == ["a.jpg", f"{folder}/a.jpg"]
        assert not (reports.files / folder).is_dir()

    def test_the_longest_name(self, reports: Reports) -> None:
        name = "x/" + "균" * 83 + "aa.jpg"
        assert len(name.removeprefix("x/").encode()) == 255
        add(reports, report(name))
        (file,) = (reports.files / "x").iterdir()
        assert PhotoReport.model_validate_json(file.read_bytes()).photo == name

    @pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "x/../../a.jpg"])
    def test_a_line_that_leads_out_is_no_report(self, reports: Reports, name: str) -> None:
        add(reports, report("a.jpg"))
        text = reports.path.read_text().replace('"a.jpg"', json.dumps(name))
        reports.path.write_text(text)
        add(reports, report("b.jpg"))
        assert sorted(path.name for path in reports.path.parent.parent.rglob("*.json")) == [
            "b.jpg.json",
            "photos.json",
        ]


class TestOneFolderAndOneCommand:
    def test_reports_of_another_folder_are_not_mixed_in(self, reports: Reports) -> None:
        add(reports, report("a.jpg"))
        with pytest.raises(InspectionStopped) as caught:
            add(reports, report("b.jpg"), photos=Path("/other"))
        said = str(caught.value)
        assert f"{reports.path.parent} holds reports of the photos in /new/photos" in said
        assert "--params reports=PATH" in said
        # As it says: a folder that was moved is named there.
        source = reports.path.with_name("photos.json")
        assert str(source) in said
        source.write_text(source.read_text().replace("/new/photos", "/other"))
        add(reports, report("b.jpg"), photos=Path("/other"))
        assert names(reports) == ["a.jpg", "b.jpg"]

    def test_a_kill_before_the_folder_was_noted(self, reports: Reports) -> None:
        reports.path.parent.mkdir()
        reports.path.with_name("photos.json").write_text('{"phot')
        add(reports, report("a.jpg"))
        add(reports, report("b.jpg"))
        assert names(reports) == ["a.jpg", "b.jpg"]

    def test_two_commands_at_once(self, reports: Reports) -> None:
        with (
            reports.writing(PHOTOS) as journal,
            pytest.raises(InspectionStopped, match="Another command is writing reports to"),
        ):
            journal.add(report("a.jpg"))
            add(reports, report("b.jpg"))
        assert names(reports) == ["a.jpg"]
