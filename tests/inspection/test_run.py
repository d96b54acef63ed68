"""Photos in, reports out: boxes by hand, errors as rows, nothing asked twice."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lng_kedro.inspection.engine import Failure, InspectionStopped
from lng_kedro.inspection.journal import Reports
from lng_kedro.inspection.photos import NewPhotos
from lng_kedro.inspection.record import PhotoReport
from lng_kedro.inspection.run import Counts, inspect_photos
from lng_kedro.taxonomy import Taxonomy, load_taxonomy
from tests.inspection.scripted import PARAMS, Scripted, dialogue, made_by, said
from tests.raw import photo, scene, write

FIELDS = '"tank_type":"C","location":"Inside","sub_location":"Floor","part":"Joint","quality":"Good"'
VALUES = {"tank_type": "C", "location": "Inside", "sub_location": "Floor", "part": "Joint", "quality": "Good"}


def crack(*box: int) -> str:
    return f'{{"label":"crack","bbox":{list(box)},{FIELDS}}}'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "new").mkdir()
    return tmp_path / "new"


@pytest.fixture
def engine(taxonomy: Taxonomy) -> Scripted:
    return Scripted(dialogue(taxonomy))


def run(place: Path, engine: Scripted, **params: object) -> tuple[Counts, dict[str, PhotoReport]]:
    reports = Reports(place.parent / "out/reports.jsonl")
    settings = PARAMS.model_copy(update=params)
    engine.asked.clear()
    counts = inspect_photos(NewPhotos.at(str(place)), reports, engine, settings)
    found = list(reports)
    assert len({one.photo for one in found}) == len(found)
    return counts, {one.photo: one for one in found}


class TestBoxes:
    def test_in_pixels_of_the_original(self, place: Path, engine: Scripted) -> None:
        write(place, {"a.jpg": photo(1920, 1080)})
        engine.answer = lambda number: said(f"[{crack(32, 64, 96, 128)}]", math.log(0.25))
        report = run(place, engine)[1]["a.jpg"]
        # A quarter, a half, three quarters and all of 1920 and 1080, in a frame of 128.
        box = [480.0, 540.0, 1440.0, 1080.0]
        assert report.findings == [{"label": "crack", "bbox": box, **VALUES, "score": 0.25}]
        assert (report.width, report.height, report.orientation) == (1920, 1080, 1)
        assert (report.score, report.schema_true, report.finished) == (0.25, True, True)

    @pytest.mark.parametrize(
        ("orientation", "turn"), [(6, Image.Transpose.ROTATE_90), (3, Image.Transpose.ROTATE_180)]
    )
    def test_of_a_photo_that_is_stored_turned(
        self, place: Path, engine: Scripted, orientation: int, turn: Image.Transpose
    ) -> None:
        """A red square at a known place of the upright photo: model and report see it there."""
        upright = Image.new("RGB", (400, 800), "white")
        upright.paste("red", (100, 600, 200, 800))
        exif = Image.Exif()
        exif[0x0112] = orientation
        upright.transpose(turn).save(place / "a.jpg", exif=exif, quality=95)
        # Of 128: 100 / 400 = 32, 600 / 800 = 96, 200 / 400 = 64, 800 / 800 = 128.
        engine.answer = lambda number: said(f"[{crack(32, 96, 64, 128)}]", 0.0)
        report = run(place, engine)[1]["a.jpg"]
        assert report.findings[0]["bbox"] == [100.0, 600.0, 200.0, 800.0]
        assert (report.width, report.height, report.orientation) == (400, 800, orientation)
        (place / "seen.jpg").write_bytes(engine.asked[0])
        with Image.open(place / "seen.jpg") as seen:
            assert seen.size == (512, 512)
            red = [seen.getpixel((x, y))[1] < 100 for x, y in ((192, 448), (192, 320), (320, 448))]
        assert red == [True, False, False]

    def test_what_a_model_may_not_say(self, place: Path, engine: Scripted) -> None:
        write(place, {"a.jpg": photo(), "b.jpg": photo()})
        answers = [f'[{{"label":"rust","bbox":[1,2]}},{crack(0, 0, 64, 64)}]', "no idea"]
        engine.answer = lambda number: said(answers[number], -1.0, finished=number == 0)
        found = run(place, engine)[1]
        first, second = found["a.jpg"].findings
        assert (first["label"], first["bbox"], first["score"]) == (None, None, round(math.exp(-1), 4))
        assert (second["bbox"], second["score"]) == ([0.0, 0.0, 100.0, 50.0], None)
        assert found["a.jpg"].score == first["score"]
        assert [one.schema_true for one in found.values()] == [False, False]
        assert (found["b.jpg"].findings, found["b.jpg"].score, found["b.jpg"].finished) == ([], None, False)
        assert found["b.jpg"].text == "no idea"

    @pytest.mark.parametrize(
        "box", ["[-50,-3,900,900]", "[0,0,129,128]", "[0,0,1e308,1e308]", "[0,0,1e999,9]"]
    )
    def test_a_box_that_reaches_out_is_none(self, place: Path, engine: Scripted, box: str) -> None:
        write(place, {"a.jpg": photo(1920, 1080)})
        engine.answer = lambda number: said(f'[{{"label":"crack","bbox":{box},{FIELDS}}}]', 0.0)
        report = run(place, engine)[1]["a.jpg"]
        assert report.findings == [{"label": "crack", "bbox": None, **VALUES, "score": 1.0}]
        assert not report.schema_true
        assert run(place, engine)[1]["a.jpg"] == report

    def test_an_answer_that_had_no_room_says_so(self, place: Path, engine: Scripted) -> None:
        write(place, dict.fromkeys(["a.jpg", "b.jpg"], photo()))
        engine.answer = lambda number: replace(said(), cramped=number == 1)
        found = run(place, engine)[1]
        assert {name: one.cramped for name, one in found.items()} == {"a.jpg": False, "b.jpg": True}

    def test_scores_that_are_none_and_halves_of_characters(self, place: Path, engine: Scripted) -> None:
        write(place, {"a.jpg": photo()})
        text = f"\ud83d[{crack(0, 0, 8, 8)},{crack(0, 0, 8, 8)},{crack(0, 0, 8, 8)}]"
        engine.answer = lambda number: said(text, math.nan, -math.inf, 0.25)
        report = run(place, engine)[1]["a.jpg"]
        assert [found["score"] for found in report.findings] == [None, 0.0, 1.0]
        assert report.text == "?" + text[1:]


class TestErrors:
    def test_each_broken_photo_is_a_row_and_the_others_are_reported(
        self, place: Path, engine: Scripted
    ) -> None:
        whole = scene(1)
        write(
            place,
            {
                "a whole.jpg": whole,
                "b empty.jpg": b"",
                "c text.jpg": b"no photo",
                "d half.jpg": whole[: len(whole) // 2],
                "e.heic": b"x",
                "f many pixels.png": photo(1001, 1000, form="PNG"),
                "g many bytes.jpg": photo() + bytes(1_000_000),
                "z whole.png": scene(2, form="PNG"),
            },
        )
        counts, found = run(place, engine, max_pixels=1_000_000)
        reasons = {name: one.error["reason"] for name, one in found.items() if one.error}
        assert reasons == {
            "b empty.jpg": "empty",
            "c text.jpg": "unreadable",
            "d half.jpg": "truncated",
            "e.heic": "unreadable",
            "f many pixels.png": "too_large",
            "g many bytes.jpg": "too_large",
        }
        assert list(found) == sorted(found)
        assert len(engine.asked) == 2
        assert counts == Counts(found=8, new=8, gone=0)
        assert all(one.findings == [] and one.width is None for name, one in found.items() if name in reasons)

    def test_names_that_would_break_a_table(self, place: Path, engine: Scripted) -> None:
        names = ['=cmd|" /C calc"!A1.jpg', 'new\nline, "quoted".jpg', "-1+1.jpg", "<b>&amp;.jpg"]
        write(place, dict.fromkeys(names, photo()))
        assert run(place, engine)[1].keys() == set(names)

    def test_a_failure_is_asked_about_again(self, place: Path, engine: Scripted) -> None:
        write(place, {"a.jpg": photo(), "b.jpg": photo()})
        engine.answer = lambda number: Failure("too long\ud83d") if number else said()
        _, found = run(place, engine)
        assert found["b.jpg"].error == {"reason": "engine", "detail": "too long?"}
        assert (found["b.jpg"].width, found["a.jpg"].error) == (200, None)
        engine.answer = lambda number: said()
        counts, found = run(place, engine)
        assert (counts.new, len(engine.asked), found["b.jpg"].error) == (1, 1, None)

    def test_a_mended_photo_is_reported(self, place: Path, engine: Scripted) -> None:
        write(place, {"a.jpg": scene(1)[:500]})
        first = run(place, engine)[1]["a.jpg"]
        assert run(place, engine)[1]["a.jpg"] == first
        write(place, {"a.jpg": scene(1)})
        assert run(place, engine)[1]["a.jpg"].error is None


class TestGoingOn:
    def test_only_new_and_changed_photos_are_asked_about(self, place: Path, engine: Scripted) -> None:
        write(place, dict.fromkeys(["a.jpg", "b.jpg"], photo()))
        before = run(place, engine)[1]
        assert (run(place, engine), engine.asked) == ((Counts(2, 0, 0), before), [])
        write(place, {"c.jpg": photo()})
        os.utime(place / "a.jpg", ns=(1, 1))
        counts, after = run(place, engine)
        assert (counts.new, len(engine.asked)) == (2, 2)
        assert list(after) == ["a.jpg", "b.jpg", "c.jpg"]
        assert after["b.jpg"] == before["b.jpg"]
        assert after["a.jpg"].fingerprint.startswith(f"{len(photo())}-1-")

    def test_another_quality_of_what_the_model_sees_asks_about_all(
        self, place: Path, engine: Scripted
    ) -> None:
        write(place, {"a.jpg": photo()})
        run(place, engine)
        counts, found = run(place, engine, jpeg_quality=5)
        assert (counts.new, found["a.jpg"].made_by.jpeg_quality) == (1, 5)

    def test_another_adapter_asks_about_all(self, place: Path, engine: Scripted) -> None:
        write(place, dict.fromkeys(["a.jpg", "b.jpg"], photo()))
        run(place, engine)
        engine.made_by = made_by(adapter_sha256="another")
        counts, found = run(place, engine)
        assert counts.new == 2
        assert {one.made_by.adapter_sha256 for one in found.values()} == {"another"}

    def test_reports_of_photos_that_are_gone_stay(self, place: Path, engine: Scripted) -> None:
        write(place, dict.fromkeys(["a.jpg", "b.jpg"], photo()))
        before = run(place, engine)[1]
        (place / "a.jpg").unlink()
        counts, found = run(place, engine)
        assert (counts, found, engine.asked) == (Counts(1, 0, 1), before, [])

    def test_interrupted_it_says_how_to_go_on(self, place: Path, engine: Scripted) -> None:
        write(place, {f"{i}.jpg": photo() for i in range(5)})

        def interrupted(number: int):
            if number == 2:
                raise KeyboardInterrupt
            return said()

        engine.answer = interrupted
        with pytest.raises(
            InspectionStopped, match=r"Interrupted after 2 of 5 photos\. The same command goes on"
        ):
            run(place, engine)
        engine.answer = lambda number: said()
        counts, found = run(place, engine)
        assert (counts.new, len(found)) == (3, 5)

    def test_an_engine_that_stops_loses_nothing(self, place: Path, engine: Scripted) -> None:
        write(place, {f"{i}.jpg": photo() for i in range(5)} | {"broken.jpg": b""})

        def gone(number: int):
            if number == 4:
                raise InspectionStopped("nobody answers")
            return said()

        engine.answer = gone
        engine.batch = 2
        with pytest.raises(InspectionStopped, match="nobody answers"):
            run(place, engine)
        engine.answer = lambda number: said()
        counts, found = run(place, engine)
        assert (counts.new, len(engine.asked), len(found)) == (2, 1, 6)

    def test_what_reports_may_say_is_written_before_the_first(
        self, place: Path, engine: Scripted, taxonomy: Taxonomy
    ) -> None:
        write(place, {"a.jpg": photo()})
        seen = []

        def gone(number: int):
            seen.append(load_taxonomy(place.parent / "out/taxonomy.json"))
            raise InspectionStopped("nobody answers")

        engine.answer = gone
        with pytest.raises(InspectionStopped):
            run(place, engine)
        assert seen == [taxonomy]

    def test_a_full_disk_stops_it_in_a_sentence(self, place: Path, engine: Scripted) -> None:
        write(place, {f"{i}.jpg": photo() for i in range(3)})
        reports = Reports(place.parent / "out/reports.jsonl")

        def full(number: int):
            if number == 1:
                reports.path.rename(reports.path.with_name("kept"))
                reports.path.symlink_to("/dev/full")
            return said()

        engine.answer = full
        with pytest.raises(
            InspectionStopped, match=r"reports\.jsonl cannot be written: No space left .*kept"
        ):
            run(place, engine)
        reports.path.with_name("kept").replace(reports.path)
        assert [one.photo for one in reports] == ["0.jpg"]

    @pytest.mark.parametrize("reports", ["/dev/null/x", "/proc/x"])
    def test_a_place_that_cannot_be_written(self, place: Path, engine: Scripted, reports: str) -> None:
        with pytest.raises(InspectionStopped, match=r"/x cannot be written: .*--params reports=PATH"):
            inspect_photos(NewPhotos(place), Reports(Path(reports) / "reports.jsonl"), engine, PARAMS)

    def test_few_photos_are_decoded_ahead(
        self, place: Path, engine: Scripted, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(place, {f"{i:02}.jpg": photo() for i in range(20)})
        read, ahead = [], []
        one = NewPhotos.read
        monkeypatch.setattr(NewPhotos, "read", lambda *args: read.append(args[1]) or one(*args))

        def answer(number: int):
            ahead.append(len(read) - number)
            return said()

        engine.answer = answer
        run(place, engine, look_ahead=4)
        assert len(read) == 20
        assert max(ahead) <= 5
