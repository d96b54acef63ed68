"""data_processing, from raw folders made by hand to samples."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from click import ClickException
from kedro.io import DatasetError
from PIL import ExifTags, Image

from lng_kedro.aihub.folder import AIHubFolder, stem
from lng_kedro.aihub.label_journal import LabelJournal
from lng_kedro.imaging import PhotoFolder
from lng_kedro.pipelines.data_processing import nodes
from lng_kedro.pipelines.data_processing.params import DECIDE, REVIEWED_DIGEST, DataProcessingParams
from lng_kedro.prompts import user_prompt
from lng_kedro.quarantine import REASONS
from lng_kedro.report import parse_report
from lng_kedro.taxonomy import Taxonomy, load_taxonomy
from tests.project import ROOT, copy_project, mlflow_runs, prepare_store, session
from tests.raw import ENGLISH, annotation, encoded, label, photo, scene, write
from tests.reviewed import correct

SIZES = ((192, 108), (120, 160), (100, 100))
SETTINGS = {
    "per_label": {"sft": 2, "grpo": 1, "test": 1},
    "good_share": 0.3,
    "negative_share": 0.1,
    "compute": {"engine": "processes", "workers": 1},
}
SPLITS = ("sft", "grpo", "test")

# A crack below a scratch, in a portrait photo: eqs (1)-(4) by hand.
CRACK_SIZE = (300, 400)
CRACK = [
    annotation(
        2102, (150, 200, 75, 100)
    ),  # 150/300*512 = 256, 200/400*512 = 256, 225/300 -> 384, 300/400 -> 384
    annotation(  # 30/300 -> 51.2, 40/400 -> 51.2, 90/300 -> 153.6, 140/400 -> 179.2
        2502, (30, 40, 60, 100), attributes=ENGLISH | {"tank_type": "B", "part": "Cable"}
    ),
]
CRACK_REPORT = (
    '[{"label":"scratch","bbox":[51,51,154,179],"tank_type":"B","location":"Inside","sub_location":"Floor",'
    '"part":"Cable","quality":"Defective"},'
    '{"label":"crack","bbox":[256,256,384,384],"tank_type":"C","location":"Inside","sub_location":"Floor",'
    '"part":"Coating","quality":"Defective"}]'
)


def write_raw(
    root: Path, taxonomy: Taxonomy, cracks: int = 4, reverse: bool = False, **attributes: str
) -> Path:
    """Just enough of everything for SETTINGS, and four files that are of no use."""
    counts = dict.fromkeys(taxonomy.by_id, 1) | {o.defective_id: 4 for o in taxonomy.labels}
    counts |= {2101: 7, 2102: cracks}
    photos, labels = {}, {}
    for category_id, n in counts.items():
        for k in range(n):
            width, height = CRACK_SIZE if category_id == 2102 else SIZES[k % 3]
            name = f"{category_id}_12_{k}"
            # Without quality and part: the id and the zip tell.
            values = {"tank_type": "B형", "location": "외부", "sub_location": "지지대", **attributes}
            found = [
                annotation(category_id, (width // 4, height // 4, width // 2, height // 2), attributes=values)
            ]
            if category_id in taxonomy.boxless_ids:
                found[0]["bbox"] = None
            if category_id == 2102:
                found = [o | {"attributes": o["attributes"] | attributes} for o in CRACK]
            photos[f"{name}.{'JPG' if k else 'jpg'}"] = scene(10 * category_id + k, width, height)
            labels[f"{name}.json"] = encoded(
                label(*([] if category_id == 2101 else found), width=width, height=height)
            )
    if reverse:
        photos, labels = (dict(reversed(files.items())) for files in (photos, labels))
    data = root / "3.개방데이터/1.데이터"
    write(data / "Training/01.원천데이터/TS_표면처리_균열_보온재.zip", photos)
    write(data / "Training/02.라벨링데이터/TL_표면처리_균열_보온재.zip", labels)
    write(data / "Validation", {"2102_12_0.jpg": photo(9, 9), "2102_12_0.json": b"{}"})
    write(data / "Validation", {"2102_12_orphan.jpg": photo(9, 9), "2102_12_lone.json": b"{}"})
    return root


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    target = copy_project(tmp_path_factory.mktemp("data_processing") / "project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(target)
        yield target


def process(project: Path, raw_dir: Path, **settings: Any) -> Path:
    """Runs the pipeline; returns the data folder."""
    data_dir = raw_dir.with_name(f"{raw_dir.name}-data")
    prepare_store(data_dir)
    parameters = {"data_dir": str(data_dir), "raw_dir": str(raw_dir), "data_processing": SETTINGS | settings}
    with session(project, "test", **parameters) as kedro_session:
        kedro_session.run(pipeline_names=["data_processing"])
    return data_dir


def contents(data_dir: Path) -> dict[str, bytes]:
    """Every file of every layer, but what tells whether raw files have changed: no copy has their times."""
    files = [f for f in data_dir.glob("0*/**/*") if f.is_file() and f.parent.name != "label_journal"]
    return {str(f.relative_to(data_dir)): f.read_bytes() for f in files}


@pytest.fixture(scope="module")
def raw_dir(taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_raw(tmp_path_factory.mktemp("raw") / "plain", taxonomy)


@pytest.fixture(scope="module")
def data_dir(project: Path, raw_dir: Path) -> Path:
    return process(project, raw_dir)


@pytest.fixture(scope="module")
def samples(data_dir: Path) -> dict[str, pd.DataFrame]:
    return {s: pd.read_parquet(data_dir / f"05_model_input/{s}_samples.parquet") for s in SPLITS}


class TestPipeline:
    def test_counts_of_every_split(self, samples: dict[str, pd.DataFrame], taxonomy: Taxonomy) -> None:
        for split, frame in samples.items():
            counts = Counter(frame["photo_label"].dropna())
            assert counts == dict.fromkeys(taxonomy.label_names, SETTINGS["per_label"][split])
        # 15 labels x (2, 1, 1) x 0.1, rounded to even.
        assert [int(samples[s]["photo_label"].isna().sum()) for s in SPLITS] == [3, 2, 2]
        ids = pd.concat(samples.values())["photo_id"]
        assert ids.is_unique
        # 0.3 of 2 photos, rounded, for SFT; none of one photo.
        good = ids[ids.str[3] == "1"].str[:4].astype(int)
        assert Counter(good) == {o.good_id: 1 for o in taxonomy.labels if o.good_id} | {2101: 7}

    def test_the_report_of_a_photo_by_hand(self, samples: dict[str, pd.DataFrame]) -> None:
        cracks = pd.concat(samples.values()).query("photo_label == 'crack'")
        assert list(cracks["ground_truth"]) == [CRACK_REPORT] * 4

    def test_what_is_filled_reaches_the_report(self, samples: dict[str, pd.DataFrame]) -> None:
        (row,) = samples["test"].query("photo_label == 'scratch'").to_dict("records")
        (found,) = json.loads(row["ground_truth"])
        assert found == {
            "label": "scratch",
            "bbox": [128, 128, 384, 384],
            "tank_type": "B",
            "location": "Outside",
            "sub_location": "Support",
            "part": "Insulation",
            "quality": "Defective",
        }

    def test_samples_say_which_raw_file_they_show(
        self, data_dir: Path, samples: dict[str, pd.DataFrame]
    ) -> None:
        split = pd.read_parquet(data_dir / "03_primary/split.parquet").set_index("photo_id")
        for frame in samples.values():
            assert frame["sha256"].tolist() == split.loc[frame["photo_id"], "sha256"].tolist()

    def test_every_report_is_schema_true_and_every_answer_holds_it(
        self, samples: dict[str, pd.DataFrame], taxonomy: Taxonomy
    ) -> None:
        for split, frame in samples.items():
            for row in frame.to_dict("records"):
                report = parse_report(row["ground_truth"], taxonomy)
                assert report.schema_true
                assert bool(report.findings) == isinstance(row["photo_label"], str)
                (answer,) = row["completion"]
                assert answer["role"] == "assistant"
                assert parse_report(answer["content"], taxonomy).findings == report.findings
                roles = [message["role"] for message in row["prompt"]]
                assert row["prompt"][-1]["content"] == user_prompt(taxonomy)
                if split == "grpo":
                    assert roles == ["system", "user"]
                    assert answer["content"].startswith("<think>")
                else:
                    assert roles == ["user"]
                    assert answer["content"] == row["ground_truth"]

    def test_the_chosen_photos_are_squares(self, data_dir: Path, samples: dict[str, pd.DataFrame]) -> None:
        files = sorted((data_dir / "04_feature/photos").glob("*.jpg"))
        assert [f.name for f in files] == sorted(f"{i}.jpg" for i in pd.concat(samples.values())["photo_id"])
        for file in files:
            with Image.open(file) as image:
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (512, 512))

    def test_the_manifest_says_what_was_filled_and_whence_a_box_is(self, data_dir: Path) -> None:
        manifest = pd.read_parquet(data_dir / "02_intermediate/manifest.parquet")
        filled = manifest.groupby("category_id")["filled"].unique().str[0]
        assert filled[2602] == "part:zip,quality:id"
        assert filled[2102] == filled[2101] == ""
        images = manifest[manifest["box_source"] == "image"]
        assert Counter(images["category_id"]) == {2702: 4, 6102: 4, 6101: 1}
        objects = pd.read_parquet(data_dir / "04_feature/objects.parquet")
        boxes = objects[objects["box_source"] == "image"][["x_min", "y_min", "x_max", "y_max"]]
        assert boxes.to_numpy().tolist() == [[0, 0, 512, 512]] * 8

    def test_the_quarantine_lists_every_file_that_was_left_out(self, data_dir: Path) -> None:
        quarantine = pd.read_csv(data_dir / "02_intermediate/label_quarantine.csv")
        found = [
            (Path(file).name, reason)
            for file, reason in quarantine[["file", "reason"]].itertuples(index=False)
        ]
        assert found == [
            ("2102_12_0.jpg", "duplicate"),
            ("2102_12_0.json", "duplicate"),
            ("2102_12_lone.json", "label_without_photo"),
            ("2102_12_orphan.jpg", "photo_without_label"),
        ]

    def test_another_process_writes_the_same_bytes_and_needs_no_torch(
        self, project: Path, raw_dir: Path, data_dir: Path, tmp_path: Path
    ) -> None:
        per_label = ",".join(f"data_processing.per_label.{s}={n}" for s, n in SETTINGS["per_label"].items())
        given = f"data_dir={tmp_path},raw_dir={raw_dir},"
        given += "data_processing.compute.workers=1,data_processing.negative_share=0.1"
        code = (
            "import sys; from pathlib import Path; from kedro.framework.cli.cli import KedroCLI\n"
            "from kedro.framework.startup import bootstrap_project; bootstrap_project(Path.cwd())\n"
            "try: KedroCLI(Path.cwd())(sys.argv[1:])\n"
            "finally: print('heavy:', sorted({'torch', 'transformers', 'trl', 'peft'} & sys.modules.keys()))"
        )
        prepare_store(tmp_path)
        command = [
            "run",
            "--env",
            "test",
            "--pipelines",
            "data_processing",
            "--params",
            f"{given},{per_label}",
        ]
        done = subprocess.run(
            [sys.executable, "-c", code, *command],
            env=os.environ | {"PYTHONHASHSEED": "12345"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.endswith("heavy: []\n")
        ours, theirs = contents(data_dir), contents(tmp_path)
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if ours[name] != theirs[name]] == []
        assert len(ours) > 70
        assert mlflow_runs(data_dir) == mlflow_runs(tmp_path) == 1

    @pytest.mark.parametrize(
        "compute", [{"engine": "processes", "workers": 2}, {"engine": "ray", "address": "local"}]
    )
    def test_wherever_photos_are_processed_the_bytes_are_the_same(
        self, project: Path, raw_dir: Path, data_dir: Path, tmp_path: Path, compute: dict[str, Any]
    ) -> None:
        (tmp_path / "raw").symlink_to(raw_dir)
        theirs = contents(process(project, tmp_path / "raw", compute=compute))
        assert theirs == contents(data_dir)
        assert len(theirs) > 70

    def test_the_order_of_files_changes_nothing(
        self, project: Path, raw_dir: Path, data_dir: Path, taxonomy: Taxonomy, tmp_path: Path
    ) -> None:
        write_raw(tmp_path / "raw", taxonomy, reverse=True)
        other = process(project, tmp_path / "raw")
        ours, theirs = (contents(d) for d in (data_dir, other))
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if ours[name] != theirs[name]] == []

    def test_labels_that_have_not_changed_are_not_read_again(
        self, project: Path, raw_dir: Path, data_dir: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (copy / "02_intermediate/manifest.parquet").unlink()
        monkeypatch.delattr(nodes, "index_labels")
        run_tags(project, raw_dir, copy, "ingest")
        assert contents(copy) == contents(data_dir)
        with pytest.raises(NameError, match="index_labels"):
            run_tags(project, raw_dir, copy, "ingest", clip_boxes=True)

    def test_counts_of_the_split(self, data_dir: Path) -> None:
        counts = pd.read_csv(data_dir / "03_primary/split_counts.csv", dtype={"pool": str})
        rows = counts.set_index(["pool", "split"]).sort_index()
        assert (rows["wanted"] == rows["got"]).all()
        # Each photo of a crack shows a scratch too, which counts where it is seen.
        assert rows.loc[("2102", "sft"), ["label", "got", "objects"]].tolist() == ["crack", 2, 2]
        assert rows.loc[("2502", "sft"), ["label", "got", "objects"]].tolist() == ["scratch", 2, 4]
        assert rows.loc[("2101", "sft"), ["got", "objects"]].tolist() == [3, 0]

    def test_later_stages_run_alone(
        self, project: Path, raw_dir: Path, data_dir: Path, tmp_path: Path
    ) -> None:
        folder = tmp_path / "data"
        shutil.copytree(data_dir, folder)
        for file in (folder / "05_model_input").iterdir():
            file.unlink()
        (folder / "03_primary/split.parquet").unlink()
        run_tags(project, raw_dir, folder, "images", "samples")
        ours, theirs = (contents(d) for d in (data_dir, folder))
        assert ours.keys() == theirs.keys()
        assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.fixture
def copy(data_dir: Path, tmp_path: Path) -> Path:
    """The data folder of a finished run, to be spoilt."""
    return Path(shutil.copytree(data_dir, tmp_path / "data"))


def run_tags(project: Path, raw_dir: Path, data_dir: Path, *tags: str, **settings: Any) -> None:
    """Runs parts of the pipeline."""
    parameters = {"data_dir": str(data_dir), "raw_dir": str(raw_dir), "data_processing": SETTINGS | settings}
    with session(project, "test", **parameters) as kedro_session:
        kedro_session.run(pipeline_names=["data_processing"], tags=list(tags))


def change(path: Path, function: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Puts another table in the place of a stored one."""
    function(pd.read_parquet(path)).to_parquet(path)


class TestMissing:
    def test_a_part_without_the_one_before_it_says_so(self, project: Path, raw_dir: Path, copy: Path) -> None:
        (copy / "02_intermediate/manifest.parquet").unlink()
        with pytest.raises(ClickException, match="'manifest' does not exist yet: run `kedro run --pipelines"):
            run_tags(project, raw_dir, copy, "split")


class TestTablesOfDifferentAge:
    """A part never works with a table that was made of another one than lies there now."""

    def test_a_chosen_photo_that_was_left_out_since(self, project: Path, raw_dir: Path, copy: Path) -> None:
        manifest = copy / "02_intermediate/manifest.parquet"
        change(manifest, lambda rows: rows[rows["photo_id"] != "2102_12_0"])
        again = "--tags split,images,samples"
        with pytest.raises(ClickException, match=f"1 photos of the split, 2102_12_0 for one.*{again}"):
            run_tags(project, raw_dir, copy, "samples")
        with pytest.raises(ClickException, match=f"1 photos of the draw, 2102_12_0 for one.*{again}"):
            run_tags(project, raw_dir, copy, "images")

    @pytest.mark.parametrize(("photo_id", "label"), [("2102_12_0", None), ("2101_12_0", "crack")])
    def test_a_chosen_photo_with_other_objects(
        self, project: Path, raw_dir: Path, copy: Path, photo_id: str, label: str | None
    ) -> None:
        def relabelled(rows: pd.DataFrame) -> pd.DataFrame:
            rows.loc[rows["photo_id"] == photo_id, "label"] = label
            return rows

        change(copy / "02_intermediate/manifest.parquet", relabelled)
        with pytest.raises(ClickException, match=f"1 photos of the split, {photo_id} for one"):
            run_tags(project, raw_dir, copy, "samples")


# Of the photos of cracks, in the order in which they are drawn: what each one's file holds.
DRAWN = ("taken", "empty", "unreadable", "first twin", "truncated", "too_large", "size_mismatch")
DRAWN += ("duplicate", "near_duplicate", "taken", "turned")


def write_broken(root: Path, taxonomy: Taxonomy) -> dict[str, str]:
    """A raw folder whose photos of cracks go through every reason; returns what each of them is."""
    write_raw(root, taxonomy, cracks=0)
    names = sorted(f"2102_14_{k}" for k in range(len(DRAWN)))
    order = np.random.default_rng([42, 2102]).permutation(len(names))
    of_name = {names[i]: what for i, what in zip(order, DRAWN, strict=True)}
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    contents = {
        "empty": b"",
        "unreadable": b"no photo",
        "first twin": scene(1, *CRACK_SIZE),
        "truncated": scene(2, *CRACK_SIZE)[:-900],
        "too_large": scene(3, 600, 800),
        "size_mismatch": scene(4, 301, 400),
        "duplicate": scene(20, *CRACK_SIZE),
        "near_duplicate": scene(1, *CRACK_SIZE, quality=60),
        "turned": scene(5, *CRACK_SIZE, exif=exif),
    }
    files = {}
    for k, (name, what) in enumerate(of_name.items()):
        files[f"{name}.jpg"] = contents.get(what, scene(20 + k, *CRACK_SIZE))
        width, height = (600, 800) if what == "too_large" else CRACK_SIZE
        files[f"{name}.json"] = encoded(label(*CRACK, width=width, height=height))
    write(root / "Cracks", files)
    return of_name


# Labels of scratches that cannot be used, each for a reason of its own.
LABELS = {
    "annotation": encoded(label("no object")),
    "box": encoded(label(annotation(2502, None))),
    "box_degenerate": encoded(label(annotation(2502, (1, 1, 0, 9)))),
    "box_outside": encoded(label(annotation(2502), annotation(2502, (190, 1, 11, 9)))),
    "contradiction": encoded(label(annotation(2502, attributes=ENGLISH | {"quality": "Good"}))),
    "empty": b"",
    "json": b"{",
    "missing_value": encoded(label(annotation(2502, attributes={"tank_type": "B", "location": "Inside"}))),
    "no_object": encoded(label()),
    "photo_size": encoded(label(annotation(2502), width=None)),
    "unknown_id": encoded(label(annotation(9999))),
    "unknown_value": encoded(label(annotation(2502, attributes=ENGLISH | {"tank_type": "Z"}))),
}


def write_unusable(root: Path) -> dict[str, str]:
    """Labels and archives that cannot be used; returns each file that is told of, and the reason."""
    files = {f"2502_14_{reason}.json": content for reason, content in LABELS.items()}
    files["nonsense.json"] = files["2101_14_x.json"] = encoded(label(annotation(2502)))
    files |= {f"{Path(name).stem}.jpg": photo() for name in files}
    write(root / "Scratches", files | {"broken.zip": b"no zip"})
    write(root / "unsafe.zip", {"../2502_14_x.jpg": photo()})
    found = {f"Scratches/2502_14_{reason}.json": reason for reason in LABELS}
    found |= {"Scratches/nonsense.json": "file_name", "Scratches/broken.zip": "archive"}
    found["Scratches/2101_14_x.json"] = "not_negative"
    return found | {"unsafe.zip!/../2502_14_x.jpg": "unsafe_path"}


class TestObjects:
    @pytest.mark.parametrize(
        ("column", "value"), [("x_min", -0.1), ("y_max", 512.1), ("x_max", 0.0), ("box_source", "guess")]
    )
    def test_a_box_outside_the_frame_or_without_size_is_not_stored(
        self, project: Path, copy: Path, column: str, value: Any
    ) -> None:
        with session(project, "test", data_dir=str(copy)) as kedro_session:
            catalog = kedro_session.load_context().catalog
            objects = catalog.load("objects")
            catalog.save("objects", objects)
            objects.loc[objects.index[3], column] = value
            with pytest.raises(DatasetError, match=column):
                catalog.save("objects", objects)


class TestOtherParameters:
    """A part refuses what a part before it made with other parameters than are given now."""

    @pytest.mark.parametrize(
        ("tag", "settings", "said", "again"),
        [
            ("split", {"boxless": "skip"}, "boxless was whole_image and is skip", "ingest,split,images"),
            ("split", {"optional_fields": ["material"]}, r"optional_fields was \[\]", "ingest,split,images"),
            ("images", {"seed": 7}, "seed was 42 and is 7", "split,images,samples"),
            ("samples", {"optional_fields": ["material"]}, "optional_fields", "ingest,split,images"),
            ("samples", {"good_share": 0.4}, "good_share was 0.3 and is 0.4", "images,samples,report"),
            ("report", {"seed": 7, "jpeg_quality": 90}, "seed .*; jpeg_quality .* is 90", "split,images"),
        ],
    )
    def test_are_named_with_the_tags_to_run(
        self,
        project: Path,
        raw_dir: Path,
        data_dir: Path,
        tag: str,
        settings: dict[str, Any],
        said: str,
        again: str,
    ) -> None:
        before = contents(data_dir)
        with pytest.raises(
            ClickException, match=f"{said}.*Give the same --params again, or run --tags {again}"
        ):
            run_tags(project, raw_dir, data_dir, tag, **settings)
        assert contents(data_dir) == before

    def test_each_one_decides_something_or_changes_nothing(self) -> None:
        names = [name for part in DECIDE.values() for name in part]
        names.remove(REVIEWED_DIGEST)
        assert sorted([*names, "max_rejected_share", "compute"]) == sorted(DataProcessingParams.model_fields)

    def test_those_that_change_nothing_may_differ(self, project: Path, raw_dir: Path, copy: Path) -> None:
        more = {"max_rejected_share": 0.5, "compute": {"engine": "processes", "workers": 2}}
        run_tags(project, raw_dir, copy, "report", **more)
        page = (copy / "08_reporting/data.html").read_text(encoding="utf-8")
        # The page shows those of its tables.
        assert '<th scope="row">max_rejected_share</th><td>0.05</td>' in page
        assert '<th scope="row">seed</th><td>42</td>' in page


class TestEveryReason:
    """One raw folder in which all goes wrong that can."""

    @pytest.fixture(scope="class")
    def broken(
        self, project: Path, taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[dict[str, str], Path]:
        root = tmp_path_factory.mktemp("broken") / "raw"
        names = write_broken(root, taxonomy)
        write_unusable(root)
        # Training takes one photo of a good cut.
        for k in range(2):
            correct(
                root.with_name("raw-data") / "01_raw/reviewed",
                scene(30 + k),
                (200, 100),
                (5101, (1, 1, 9, 9), {}),
            )
        return names, process(project, root, max_rejected_share=1.0, max_pixels=400_000, boxless="skip")

    def test_labels_row_by_row(self, broken: tuple[dict[str, str], Path], tmp_path: Path) -> None:
        _, data_dir = broken
        quarantine = pd.read_csv(data_dir / "02_intermediate/label_quarantine.csv")
        found = sorted(zip(quarantine["file"], quarantine["reason"], strict=True))
        data = "3.개방데이터/1.데이터"
        labels = f"{data}/Training/02.라벨링데이터/TL_표면처리_균열_보온재.zip!/"
        boxless = [f"{i}_12_{k}" for i in (2702, 6102) for k in range(4)] + ["6101_12_0"]
        assert found == sorted(
            [
                *write_unusable(tmp_path).items(),
                *((f"{labels}{name}.json", "boxless") for name in boxless),
                (f"{data}/Validation/2102_12_0.json", "photo_size"),
                (f"{data}/Validation/2102_12_orphan.jpg", "photo_without_label"),
                (f"{data}/Validation/2102_12_lone.json", "label_without_photo"),
            ]
        )

    def test_every_photo_is_kept_or_told_of_and_every_reason_occurs(
        self, broken: tuple[dict[str, str], Path]
    ) -> None:
        _, data_dir = broken
        told = pd.read_csv(data_dir / "02_intermediate/label_quarantine.csv")
        also = pd.read_csv(data_dir / "04_feature/photo_quarantine.csv")
        assert {*told["reason"], *also["reason"]} == set(REASONS) - {"skipped"}  # which is of corrections
        kept = set(pd.read_parquet(data_dir / "02_intermediate/manifest.parquet")["photo_id"])
        raw = AIHubFolder(data_dir.with_name("raw"), data_dir / "01_raw/reviewed")
        photos = {stem(photo) for photo in raw.listing().photos}
        left_out = set(told["file"].map(stem)) & photos
        assert kept | left_out == photos
        assert kept & left_out == set()
        split = set(pd.read_parquet(data_dir / "03_primary/split.parquet")["photo_id"])
        assert split <= kept - set(also["file"].map(stem))

    def test_photos_row_by_row(self, broken: tuple[dict[str, str], Path]) -> None:
        of_name, data_dir = broken
        quarantine = pd.read_csv(data_dir / "04_feature/photo_quarantine.csv")
        found = dict(zip(quarantine["file"], quarantine["reason"], strict=True))
        (corrected,) = (file for file in found if file.startswith("reviewed://5101_12_"))
        assert found.pop(corrected) == "no_place"
        kept = ("taken", "first twin", "turned")
        assert found == {f"Cracks/{name}.jpg": what for name, what in of_name.items() if what not in kept}
        assert len(found) == 7
        details = dict(zip(quarantine["reason"], quarantine["detail"], strict=True))
        (twin,) = (name for name, what in of_name.items() if what == "first twin")
        assert details["near_duplicate"] == f"looks like {twin}, which is in test"
        assert details["size_mismatch"] == "the label says 300 x 400, the photo is 301 x 400"

    def test_others_take_their_places(self, broken: tuple[dict[str, str], Path]) -> None:
        of_name, data_dir = broken
        split = pd.read_parquet(data_dir / "03_primary/split.parquet").set_index("photo_id")
        assert (split["photo_label"] == "crack").sum() == 4
        taken = {of_name[name]: split.at[name, "split"] for name in of_name if name in split.index}
        assert taken == {"taken": "sft", "first twin": "test", "turned": "grpo"}

    def test_boxes_turn_with_their_photo(self, broken: tuple[dict[str, str], Path]) -> None:
        of_name, data_dir = broken
        (name,) = (name for name, what in of_name.items() if what == "turned")
        objects = pd.read_parquet(data_dir / "04_feature/objects.parquet").query(f"photo_id == {name!r}")
        boxes = objects.set_index("label")[["x_min", "y_min", "x_max", "y_max"]]
        # 300 x 400 with (150, 200, 75, 100) -> 400 x 300 with (400 - 300, 150, 100, 75).
        assert boxes.loc["crack"].tolist() == pytest.approx([128, 256, 256, 384])

    def test_too_few_photos_are_named_with_what_was_left_out(
        self, project: Path, broken: tuple[dict[str, str], Path], tmp_path: Path
    ) -> None:
        of_name, data_dir = broken
        raw_dir = tmp_path / "raw"
        shutil.copytree(data_dir.with_name("raw"), raw_dir)
        (last,) = (name for name, what in of_name.items() if what == "turned")
        (raw_dir / f"Cracks/{last}.jpg").write_bytes(b"")
        with pytest.raises(ClickException, match=r"crack \(id 2102\): 3 of 4\. 8 were left out \(empty 2, "):
            process(project, raw_dir, max_rejected_share=1.0, max_pixels=400_000)


class TestOptions:
    def test_take_all_says_which_label_falls_short(
        self, project: Path, raw_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        (tmp_path / "raw").symlink_to(raw_dir)
        settings = {"per_label": {"sft": 4, "grpo": 2, "test": 2}, "shortfall": "take_all"}
        data_dir = process(project, tmp_path / "raw", **settings, good_share=0, negative_share=0)
        counts = pd.read_csv(data_dir / "03_primary/split_counts.csv", dtype={"pool": str}).set_index("pool")
        assert counts.loc["2102", "wanted"].tolist() == [4, 2, 2]
        assert counts.loc["2102", "got"].tolist() == [2, 1, 1]
        assert "Too few photos: crack (id 2102): 4 of 8" in caplog.text

    def test_a_field_that_the_data_carry(self, project: Path, taxonomy: Taxonomy, tmp_path: Path) -> None:
        raw_dir = write_raw(tmp_path / "raw", taxonomy, material="SUS304")
        data_dir = process(project, raw_dir, optional_fields=["material"])
        grown = load_taxonomy(data_dir / "03_primary/taxonomy.json")
        assert grown.choices("material") == ("SUS304",)
        samples = pd.read_parquet(data_dir / "05_model_input/sft_samples.parquet")
        assert all('"material": one of "SUS304"' in prompt[-1]["content"] for prompt in samples["prompt"])
        reports = [parse_report(text, grown) for text in samples["ground_truth"]]
        assert all(report.schema_true for report in reports)
        assert {f.values["material"] for report in reports for f in report.findings} == {"SUS304"}

    def test_skipping_boxless_objects_leaves_their_labels_out(
        self, project: Path, taxonomy: Taxonomy, raw_dir: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "raw").symlink_to(raw_dir)
        data_dir = process(project, tmp_path / "raw", boxless="skip")
        split = pd.read_parquet(data_dir / "03_primary/split.parquet")
        assert set(split["photo_label"].dropna()) == set(taxonomy.label_names) - {
            "tank cleaning",
            "foam spray",
        }
        quarantine = pd.read_csv(data_dir / "02_intermediate/label_quarantine.csv")
        assert Counter(quarantine["reason"])["boxless"] == 9


@pytest.fixture(scope="module")
def params() -> DataProcessingParams:
    content = yaml.safe_load((ROOT / "conf/base/parameters/data_processing.yml").read_text(encoding="utf-8"))
    return DataProcessingParams.model_validate(
        content["data_processing"] | {"compute": SETTINGS["compute"], "max_rejected_share": 0.1}
    )


NOTHING = pd.DataFrame(columns=["file", "reason", "detail"], dtype="str")
"""An empty quarantine."""


def folder(root: Path, n_good: int, n_bad: int) -> AIHubFolder:
    files = {f"2102_12_{k}.jpg": b"" for k in range(n_good + n_bad)}
    files |= {f"2102_12_{k}.json": encoded(label(annotation())) for k in range(n_good)}
    files |= {f"2102_12_{n_good + k}.json": encoded(label(annotation(bbox=None))) for k in range(n_bad)}
    write(root, files)
    return AIHubFolder(root)


def read(raw: AIHubFolder, taxonomy: Taxonomy, params: DataProcessingParams) -> Any:
    """Tables of labels that were not read before."""
    return nodes.read_labels(raw, taxonomy, LabelJournal(raw.root.with_name("no journal")), params)


class TestStopped:
    def test_a_run_of_too_many_bad_files_leaves_tables_that_can_be_opened(
        self, project: Path, tmp_path: Path
    ) -> None:
        raw = folder(tmp_path / "raw", 1, 9)
        with pytest.raises(ClickException, match="9 of 10 photos"):
            process(project, raw.root)
        data_dir = tmp_path / "raw-data"
        quarantine = pd.read_csv(data_dir / "02_intermediate/label_quarantine.csv")
        assert Counter(quarantine["reason"]) == {"box": 9}
        assert len(pd.read_parquet(data_dir / "02_intermediate/manifest.parquet")) == 1
        assert not (data_dir / "04_feature").exists()
        # What lies there now lets no later run pass.
        parameters = {"data_dir": str(data_dir), "raw_dir": str(raw.root), "data_processing": SETTINGS}
        with session(project, "test", **parameters) as again, pytest.raises(ClickException, match="9 of 10"):
            again.run(pipeline_names=["data_processing"], only_missing_outputs=True)

    def test_parts_after_a_reading_that_was_refused_are_refused(
        self, project: Path, raw_dir: Path, copy: Path
    ) -> None:
        quarantine = copy / "02_intermediate/label_quarantine.csv"
        rows = pd.read_csv(quarantine)
        more = [{"file": "labels.json", "reason": "json", "detail": "x"}] * 99
        more += [{"file": f"{k}.json", "reason": "json", "detail": "x"} for k in range(60)]
        pd.concat([rows, pd.DataFrame(more)]).to_csv(quarantine, index=False)
        # Two lone files and 61 bad ones; 74 photos are good.
        with pytest.raises(ClickException, match="63 of 137 photos, labels and archives"):
            run_tags(project, raw_dir, copy, "split", "images", "samples", "report")


class TestNodes:
    def test_a_tenth_may_be_rejected(
        self, taxonomy: Taxonomy, params: DataProcessingParams, tmp_path: Path
    ) -> None:
        manifest, quarantine, _ = read(folder(tmp_path, 9, 1), taxonomy, params)
        assert len(manifest) == 9
        assert quarantine.to_dict("records") == [
            {"file": "2102_12_9.json", "reason": "box", "detail": "four finite numbers expected, found None"}
        ]
        assert nodes.taxonomy_of_data(taxonomy, manifest, quarantine, params)

    def test_more_is_an_error_that_counts_the_reasons_and_shows_ten_of_each(
        self, taxonomy: Taxonomy, params: DataProcessingParams, tmp_path: Path
    ) -> None:
        write(tmp_path, {f"a/2102_12_x{k:02}.jpg": b"" for k in range(12)})
        manifest, quarantine, _ = read(folder(tmp_path, 8, 2), taxonomy, params)
        with pytest.raises(ValueError, match="14 of 22 photos") as caught:
            nodes.taxonomy_of_data(taxonomy, manifest, quarantine, params)
        first, *lines = str(caught.value).splitlines()
        assert "max_rejected_share=0.1" in first
        assert "label_quarantine.csv" in first
        assert lines == [
            "box, 2 times: not four finite numbers",
            "  2102_12_8.json: four finite numbers expected, found None",
            "  2102_12_9.json: four finite numbers expected, found None",
            "photo_without_label, 12 times: no label has the photo's name",
            *(f"  a/2102_12_x{k:02}.jpg: no label file has this name" for k in range(10)),
        ]

    def test_each_photo_that_a_merged_label_file_names_in_vain_counts(
        self, taxonomy: Taxonomy, params: DataProcessingParams, tmp_path: Path
    ) -> None:
        images = [{"id": k, "file_name": f"2102_12_y{k}.jpg", "width": 9, "height": 9} for k in range(5)]
        write(tmp_path, {"labels.json": encoded({"images": images, "annotations": []})})
        manifest, quarantine, _ = read(folder(tmp_path, 9, 0), taxonomy, params)
        with pytest.raises(ValueError, match="5 of 14 photos"):
            nodes.taxonomy_of_data(taxonomy, manifest, quarantine, params)

    def test_repeated_files_are_no_reason_to_stop(
        self, taxonomy: Taxonomy, params: DataProcessingParams, tmp_path: Path
    ) -> None:
        folder(tmp_path / "Training", 3, 0)
        folder(tmp_path / "Validation", 3, 0)
        manifest, quarantine, _ = read(AIHubFolder(tmp_path), taxonomy, params)
        assert set(quarantine["reason"]) == {"duplicate"}
        assert len(quarantine) == 6
        assert nodes.taxonomy_of_data(taxonomy, manifest, quarantine, params)

    def test_boxes_that_reach_outside_are_refused_or_cut(
        self,
        taxonomy: Taxonomy,
        params: DataProcessingParams,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        files = {"2102_12_a.jpg": b"", "2102_12_a.json": encoded(label(annotation(bbox=(190, 90, 20, 5))))}
        files |= {"2102_12_b.jpg": b"", "2102_12_b.json": encoded(label(annotation()))}
        without = {k: v for k, v in ENGLISH.items() if k not in ("part", "quality")}
        files |= {"2102_12_c.jpg": b"", "2102_12_c.json": encoded(label(annotation(attributes=without)))}
        write(tmp_path, files)
        caplog.set_level("INFO")
        manifest, quarantine, _ = read(AIHubFolder(tmp_path), taxonomy, params)
        assert list(manifest["photo_id"]) == ["2102_12_b", "2102_12_c"]
        assert list(quarantine["reason"]) == ["box_outside"]
        cutting = params.model_copy(update={"clip_boxes": True})
        manifest, quarantine, _ = read(AIHubFolder(tmp_path), taxonomy, cutting)
        assert manifest[["w", "clipped"]].to_numpy().tolist() == [[10.0, True], [30.0, False], [30.0, False]]
        assert quarantine.empty
        filled = "Filled: part:name 1, quality:id 1."
        assert [record.getMessage() for record in caplog.records if record.name == nodes.__name__] == [
            f"2 photos, 2 objects. {filled} Boxes cut: 0. Left out: box_outside 1.",
            f"3 photos, 3 objects. {filled} Boxes cut: 1. Left out: none.",
        ]

    def test_an_archive_that_cannot_be_read_is_warned_about(
        self,
        taxonomy: Taxonomy,
        params: DataProcessingParams,
        tmp_path: Path,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        write(tmp_path, {"2102_12_b.jpg": b"", "2102_12_b.json": encoded(label(annotation()))})
        read(AIHubFolder(tmp_path), taxonomy, params)
        assert "archives" not in caplog.text
        write(tmp_path, {"TS_a.zip": b"no zip"})
        read(AIHubFolder(tmp_path), taxonomy, params)
        assert "1 archives, or files in them, cannot be read, TS_a.zip for one" in caplog.text

    def test_a_label_that_has_changed_is_read_again(
        self, taxonomy: Taxonomy, params: DataProcessingParams, tmp_path: Path
    ) -> None:
        raw, journal = folder(tmp_path / "raw", 9, 0), LabelJournal(tmp_path / "journal")

        def boxes() -> list[float]:
            return list(nodes.read_labels(raw, taxonomy, journal, params)[0]["x"])

        first = boxes()
        assert boxes() == first
        write(raw.root, {"2102_12_0.json": encoded(label(annotation(bbox=(11, 20, 30, 40))))})
        assert boxes() == [11, *first[1:]]

    def test_a_folder_without_photos(
        self, taxonomy: Taxonomy, params: DataProcessingParams, tmp_path: Path
    ) -> None:
        with pytest.raises(ValueError, match=r"no photo.*raw_dir=PATH"):
            read(AIHubFolder(tmp_path), taxonomy, params)

    def test_values_of_the_data_join_the_taxonomy_of_the_run(
        self, taxonomy: Taxonomy, params: DataProcessingParams
    ) -> None:
        manifest = pd.DataFrame(
            [{"photo_id": "a", "label": "crack", **ENGLISH, "part": "Pipe", "material": None}]
        )
        grown, _ = nodes.taxonomy_of_data(taxonomy, manifest, NOTHING, params)
        assert grown.choices("part") == (*taxonomy.choices("part"), "Pipe")
        assert grown.field_names == taxonomy.field_names

    def test_an_optional_field_that_some_objects_lack(
        self, taxonomy: Taxonomy, params: DataProcessingParams
    ) -> None:
        rows = [
            {"photo_id": "a", "label": "crack", **ENGLISH, "material": m} for m in ("SUS304", None, "SUS304")
        ]
        rows.append(
            {"photo_id": "b", "label": None, "material": None}
        )  # a photo with nothing to report lacks nothing
        asked = params.model_copy(update={"optional_fields": ("material",)})
        with pytest.raises(ValueError, match="optional_fields: 1 of 3 objects have no 'material'"):
            nodes.taxonomy_of_data(taxonomy, pd.DataFrame(rows), NOTHING, asked)
        asked = params.model_copy(update={"optional_fields": ("colour",)})
        with pytest.raises(ValueError, match="no field 'colour'"):
            nodes.taxonomy_of_data(taxonomy, pd.DataFrame(rows), NOTHING, asked)

    def test_a_sample_without_its_photo_is_an_error(self, taxonomy: Taxonomy, tmp_path: Path) -> None:
        split = pd.DataFrame([{"photo_id": "a", "split": "sft", "photo_label": None, "sha256": "0"}])
        sides = ["x_min", "y_min", "x_max", "y_max"]
        objects = pd.DataFrame(columns=["photo_id", "label", *sides, *taxonomy.field_names])
        with pytest.raises(FileNotFoundError, match=r"a\.jpg is missing: run data_processing again"):
            nodes.chat_samples(split, objects, PhotoFolder(tmp_path), taxonomy)
