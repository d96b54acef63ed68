"""data_processing with a second raw source: photos that people corrected."""

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click import ClickException
from PIL import ExifTags, Image

from lng_kedro.aihub.folder import AIHubFolder, stem
from lng_kedro.taxonomy import Taxonomy
from tests.pipelines.test_data_processing import SETTINGS, SPLITS, contents, process, write_raw
from tests.project import copy_project, prepare_store, session
from tests.raw import ENGLISH, encoded, scene
from tests.reviewed import correct, label_of

TURNED = (400, 300)
"""Width and height of a photo as it is stored; EXIF says to turn it right."""

# Its objects as stored, and their corners by hand: upright (300 x 400) a box is (300 - y - h, x, h, w).
TURNED_BOXES = {
    "scratch": ((40, 60, 100, 30), [358.4, 51.2, 409.6, 179.2]),  # (210, 40, 30, 100)
    "crack": ((200.5, 10.25, 50.125, 20.5), [459.52, 256.64, 494.506666667, 320.8]),  # (269.25, 200.5, …)
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = copy_project(tmp_path_factory.mktemp("reviewed") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        yield target


def table(data_dir: Path, name: str) -> pd.DataFrame:
    path = data_dir / name
    return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)


def split_of(data_dir: Path) -> dict[str, str]:
    """Photo -> split."""
    rows = table(data_dir, "03_primary/split.parquet")
    return dict(zip(rows["photo_id"], rows["split"], strict=True))


def turned_photo() -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return scene(70, *TURNED, exif=exif)


class TestRendered:
    """Rendered photos, before and after a person corrected a few and added others, by the same command."""

    @pytest.fixture(scope="class")
    def data_dir(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("rendered") / "data"

    def run(self, project: Path, data_dir: Path) -> AIHubFolder:
        with session(project, "test", data_dir=str(data_dir)) as kedro_session:
            kedro_session.run(pipeline_names=["data_processing"])
        return AIHubFolder(data_dir / "01_raw/rendered")

    @pytest.fixture(scope="class")
    def runs(self, project: Path, data_dir: Path) -> tuple[dict[str, str], dict[str, str]]:
        """Splits before, and ids of the corrected photos: of raw photos by these, and of new ones."""
        prepare_store(data_dir)
        raw = self.run(project, data_dir)
        before = split_of(data_dir)
        folder = data_dir / "01_raw/reviewed"
        mine = {}
        places = {stem(photo): photo for photo in raw.listing().photos}
        # A crack of the test, and one that GRPO was trained on, are seen as two: all boxes are drawn anew.
        for wanted in ("test", "grpo"):
            name = min(i for i, split in before.items() if i.startswith("2102") and split == wanted)
            content = raw.read(places[name])
            boxes = [(2102, (10, 20, 300, 400), {}), (2102, (500, 20, 300, 400), {"tank_type": "B"})]
            size = table(data_dir, "02_intermediate/manifest.parquet").set_index("photo_id").loc[name]
            width, height = int(size["width"].max()), int(size["height"].max())
            mine[name] = correct(folder, content, (width, height), *boxes)
        found = [(i, TURNED_BOXES[label][0], {}) for i, label in ((2502, "scratch"), (2102, "crack"))]
        mine["turned"] = correct(folder, turned_photo(), TURNED, *found)
        mine["nothing"] = correct(folder, scene(71), (200, 100))
        self.run(project, data_dir)
        return before, mine

    def test_corrected_photos_are_trained_on_and_not_tested(
        self, runs: tuple[dict[str, str], dict[str, str]], data_dir: Path
    ) -> None:
        _, mine = runs
        frames = {s: table(data_dir, f"05_model_input/{s}_samples.parquet") for s in SPLITS}
        trained = set(mine.values()) - {mine["nothing"]}
        assert trained <= set(frames["sft"]["photo_id"])
        assert set(mine.values()) & {*frames["grpo"]["photo_id"], *frames["test"]["photo_id"]} == set()
        # They took the places of others: of each label as many as before.
        for split, frame in frames.items():
            labels = Counter(frame["photo_label"])
            assert labels == dict.fromkeys(labels, 1 if split == "test" else 2)
            assert len(labels) == 15

    def test_the_test_split_loses_none_but_the_photo_that_was_corrected(
        self, runs: tuple[dict[str, str], dict[str, str]], data_dir: Path
    ) -> None:
        before, mine = runs
        first, second = ({i for i, s in d.items() if s == "test"} for d in (before, split_of(data_dir)))
        (lost,), (new,) = first - second, second - first
        assert lost in mine
        assert new.startswith("2102")

    def test_the_raw_photo_is_told_of_as_a_duplicate(
        self, runs: tuple[dict[str, str], dict[str, str]], data_dir: Path
    ) -> None:
        _, mine = runs
        rows = table(data_dir, "04_feature/photo_quarantine.csv")
        told = {stem(file): (why, what) for file, why, what in rows.itertuples(index=False)}
        raw = [name for name in mine if name.startswith("2102")]
        assert len(raw) == 2
        for name in raw:
            assert told.pop(name) == ("duplicate", f"the same content as {mine[name]}, which was corrected")
        what = "training takes 0 photos of nothing to report (id 2101)"
        assert told == {mine["nothing"]: ("no_place", what)}
        assert rows["file"].str.startswith("reviewed://").sum() == 1

    def test_reports_are_the_corrected_ones_and_boxes_turn_with_the_photo(
        self, runs: tuple[dict[str, str], dict[str, str]], data_dir: Path
    ) -> None:
        _, mine = runs
        objects = table(data_dir, "04_feature/objects.parquet")
        sides = ["x_min", "y_min", "x_max", "y_max"]
        turned = objects[objects["photo_id"] == mine["turned"]].set_index("label")
        assert len(turned) == 2
        for label, (_, corners) in TURNED_BOXES.items():
            assert turned.loc[label, sides].tolist() == pytest.approx(corners, abs=1e-6)
        reports = table(data_dir, "05_model_input/sft_samples.parquet").set_index("photo_id")["ground_truth"]
        values = {k: ENGLISH[k] for k in ("tank_type", "location", "sub_location", "part", "quality")}
        assert json.loads(reports[mine["turned"]]) == [
            {"label": "scratch", "bbox": [358, 51, 410, 179], **values},
            {"label": "crack", "bbox": [460, 257, 495, 321], **values},
        ]
        for name in (i for i in mine if i.startswith("2102")):
            found = json.loads(reports[mine[name]])
            assert [(f["label"], f["tank_type"]) for f in found] == [("crack", "C"), ("crack", "B")]

    def test_the_manifest_tells_the_source(
        self, runs: tuple[dict[str, str], dict[str, str]], data_dir: Path
    ) -> None:
        _, mine = runs
        manifest = table(data_dir, "02_intermediate/manifest.parquet")
        reviewed = manifest["photo"].str.startswith("reviewed://")
        assert set(manifest["photo_id"][reviewed]) == set(mine.values())
        rows = manifest[["photo", "label_file"]][manifest["photo_id"] == mine["turned"]].drop_duplicates()
        name = f"reviewed://{mine['turned']}"
        assert rows.to_numpy().tolist() == [[f"{name}.jpg", f"{name}.json"]]
        folder = data_dir / "01_raw"
        both = AIHubFolder(folder / "rendered", folder / "reviewed")
        assert sha256(both.read(f"{name}.jpg")).hexdigest().startswith(mine["turned"][8:])

    def test_the_page_says_how_many_there_are(
        self, runs: tuple[dict[str, str], dict[str, str]], data_dir: Path
    ) -> None:
        page = " ".join((data_dir / "08_reporting/data.html").read_text(encoding="utf-8").split())
        assert (
            "People corrected 4 of the photos in the manifest: 3 are in sft, 0 are in grpo, 0 are in test."
            in page
        )
        assert (
            '1 is left out, <b class="short">1 because training takes no more photos of its label</b>' in page
        )


@pytest.fixture(scope="module")
def raw_dir(taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw") / "plain", taxonomy)


@pytest.fixture(scope="module")
def plain(project: Path, raw_dir: Path) -> Path:
    """The data folder of a run without corrected photos."""
    return process(project, raw_dir)


def process_both(project: Path, raw_dir: Path, reviewed_dir: Path, **settings: Any) -> Path:
    """Runs the pipeline over both sources; returns the data folder."""
    data_dir = reviewed_dir.with_name(f"{reviewed_dir.name}-data")
    if not data_dir.exists():
        prepare_store(data_dir)
    parameters = {"data_dir": str(data_dir), "raw_dir": str(raw_dir), "reviewed_dir": str(reviewed_dir)}
    with session(project, "test", **parameters, data_processing=SETTINGS | settings) as kedro_session:
        kedro_session.run(pipeline_names=["data_processing"])
    return data_dir


@pytest.mark.parametrize("create", [False, True])
def test_a_folder_that_is_missing_or_empty_changes_nothing(
    project: Path, raw_dir: Path, plain: Path, tmp_path: Path, create: bool
) -> None:
    if create:
        (tmp_path / "reviewed").mkdir()
    theirs = contents(process_both(project, raw_dir, tmp_path / "reviewed"))
    assert theirs == contents(plain)
    assert len(theirs) > 70
    assert b"corrected" not in theirs["08_reporting/data.html"]
    assert b"reviewed" not in theirs["03_primary/parameters/manifest.json"]


def crack(x: float = 20, **values: str) -> tuple[int, tuple[float, ...], dict[str, str]]:
    return 2102, (x, 10, 50, 60), values


def write_cracks(folder: Path, numbers: Any) -> list[str]:
    return [correct(folder, scene(500 + k), (200, 100), crack(k)) for k in numbers]


class TestMoreThanPlaces:
    """Five cracks, of which training takes three, and two photos that show nothing, for which it has room."""

    @pytest.fixture(scope="class")
    def reviewed_dir(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("more") / "reviewed"
        write_cracks(folder, range(5))
        for k in range(2):
            correct(folder, scene(600 + k), (200, 100))
        return folder

    @pytest.fixture(scope="class")
    def data_dir(self, project: Path, raw_dir: Path, reviewed_dir: Path) -> Path:
        return process_both(project, raw_dir, reviewed_dir)

    def test_training_is_full_of_them_and_the_test_as_it_was(self, plain: Path, data_dir: Path) -> None:
        before, after = split_of(plain), split_of(data_dir)
        mine = Counter((i[:4], s) for i, s in after.items() if len(i.split("_")[2]) == 32)
        assert mine == {("2102", "sft"): 2, ("2102", "grpo"): 1, ("2101", "sft"): 2}
        assert {i for i, s in before.items() if s == "test"} == {i for i, s in after.items() if s == "test"}
        counts = table(data_dir, "03_primary/split_counts.csv")
        assert (counts["wanted"] == counts["got"]).all()

    def test_what_has_no_place_is_listed_counted_and_shown(self, data_dir: Path) -> None:
        rows = table(data_dir, "04_feature/photo_quarantine.csv")
        assert rows["reason"].tolist() == ["no_place"] * 2
        assert set(rows["detail"]) == {"training takes 3 photos of crack (id 2102)"}
        assert rows["file"].str.startswith("reviewed://2102_12_").all()
        reasons = table(data_dir, "08_reporting/quarantine_reasons.csv").set_index("reason")
        assert reasons.loc["no_place", ["count", "left_out"]].tolist() == [2, True]
        page = " ".join((data_dir / "08_reporting/data.html").read_text(encoding="utf-8").split())
        assert "7 of the photos in the manifest: 4 are in sft, 1 is in grpo, 0 are in test." in page
        assert "2 because training takes no more photos of their label" in page

    def test_the_log_says_so(
        self,
        project: Path,
        raw_dir: Path,
        reviewed_dir: Path,
        data_dir: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        process_both(project, raw_dir, reviewed_dir)
        assert "2 corrected photos have no place: training takes 3 photos of crack (id 2102)" in caplog.text
        assert f"7 of these photos were corrected ({reviewed_dir})" in caplog.text

    def test_other_processes_and_another_order_of_files_write_the_same_bytes(
        self, project: Path, raw_dir: Path, reviewed_dir: Path, data_dir: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "reviewed").mkdir()
        for file in sorted(reviewed_dir.iterdir(), reverse=True):
            shutil.copyfile(file, tmp_path / "reviewed" / file.name)
        compute = {"engine": "processes", "workers": 2}
        theirs = contents(process_both(project, raw_dir, tmp_path / "reviewed", compute=compute))
        ours = contents(data_dir)
        # The journal tells times of change of files.
        (journal,) = (name for name in ours if name.endswith("journal.jsonl"))
        assert sorted(ours.pop(journal).splitlines()) != sorted(theirs.pop(journal).splitlines())
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if ours[name] != theirs[name]] == []

    def test_corrected_photos_alone_fill_no_test(
        self, project: Path, taxonomy: Taxonomy, reviewed_dir: Path, tmp_path: Path
    ) -> None:
        raw_dir = write_raw(tmp_path / "raw", taxonomy, cracks=0)
        shutil.copytree(reviewed_dir, tmp_path / "reviewed")
        # Two files lie there whose labels or photos have no match.
        with pytest.raises(ClickException, match=r"Too few photos.*: crack \(id 2102\): 3 of 4\. Lower"):
            process_both(project, raw_dir, tmp_path / "reviewed", max_rejected_share=1.0)
        settings = {"shortfall": "take_all", "max_rejected_share": 1.0}
        data_dir = process_both(project, raw_dir, tmp_path / "reviewed", **settings)
        assert Counter(s for i, s in split_of(data_dir).items() if i.startswith("2102")) == {
            "sft": 2,
            "grpo": 1,
        }


class TestChanges:
    """A correction that was changed is a changed photo; parts of the pipeline notice."""

    @pytest.fixture
    def reviewed_dir(self, tmp_path: Path) -> Path:
        write_cracks(tmp_path / "reviewed", range(2))
        return tmp_path / "reviewed"

    def test_a_replaced_label_and_a_replaced_photo_are_noticed_at_the_next_run(
        self, project: Path, raw_dir: Path, reviewed_dir: Path
    ) -> None:
        data_dir = process_both(project, raw_dir, reviewed_dir)
        first, second = sorted(path.stem for path in reviewed_dir.glob("*.jpg"))
        before = (data_dir / f"04_feature/photos/{second}.jpg").read_bytes()
        moved = label_of(first, (200, 100), (crack(100, tank_type="B"),))
        (reviewed_dir / f"{first}.json").write_bytes(encoded(moved))
        (reviewed_dir / f"{second}.jpg").write_bytes(scene(999))
        with pytest.raises(
            ClickException, match=r"reviewed was 2 photos \(.*\) and is 2 photos \(.*ingest,split"
        ):
            run_both(project, raw_dir, reviewed_dir, data_dir, "split", "images", "samples", "report")
        process_both(project, raw_dir, reviewed_dir)
        objects = table(data_dir, "04_feature/objects.parquet").set_index("photo_id")
        assert objects.loc[first, ["x_min", "tank_type"]].tolist() == [256.0, "B"]
        assert (data_dir / f"04_feature/photos/{second}.jpg").read_bytes() != before

    @pytest.mark.parametrize("tag", ["split", "images", "samples", "report"])
    def test_every_part_refuses_another_folder(
        self, project: Path, raw_dir: Path, plain: Path, reviewed_dir: Path, tag: str
    ) -> None:
        before = contents(plain)
        again = "run --tags ingest,split,images,samples,report"
        with pytest.raises(ClickException, match=rf"reviewed was None and is 2 photos \(.*{again}"):
            run_both(project, raw_dir, reviewed_dir, plain, tag)
        assert contents(plain) == before

    def test_a_correction_that_cannot_be_used_is_told_of(
        self, project: Path, raw_dir: Path, reviewed_dir: Path
    ) -> None:
        name, _ = sorted(path.stem for path in reviewed_dir.glob("*.jpg"))
        wrong = label_of(name, (200, 100), (crack(tank_type="Z"),))
        (reviewed_dir / f"{name}.json").write_bytes(encoded(wrong))
        data_dir = process_both(project, raw_dir, reviewed_dir)
        rows = table(data_dir, "02_intermediate/label_quarantine.csv").set_index("file")
        assert rows.loc[f"reviewed://{name}.json", "reason"] == "unknown_value"
        page = " ".join((data_dir / "08_reporting/data.html").read_text(encoding="utf-8").split())
        assert "People corrected 1 of the photos" in page
        assert "1 corrected file cannot be used</b>" in page


def run_both(project: Path, raw_dir: Path, reviewed_dir: Path, data_dir: Path, *tags: str) -> None:
    """Runs parts of the pipeline over both sources."""
    parameters = {"data_dir": str(data_dir), "raw_dir": str(raw_dir), "reviewed_dir": str(reviewed_dir)}
    with session(project, "test", **parameters, data_processing=SETTINGS) as kedro_session:
        kedro_session.run(pipeline_names=["data_processing"], tags=list(tags))
