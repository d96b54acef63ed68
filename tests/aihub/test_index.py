"""Whole raw folders -> manifest and quarantine."""

import json
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from lng_kedro.aihub import index
from lng_kedro.aihub.folder import AIHubFolder, stem
from lng_kedro.aihub.index import index_labels
from lng_kedro.aihub.labels import LabelReader
from lng_kedro.compute import Processes
from lng_kedro.quarantine import LEFT_OUT, REASONS
from lng_kedro.taxonomy import Taxonomy
from tests.raw import ENGLISH, KOREAN, annotation, encoded, label, write

OF_PHOTOS = {"near_duplicate", "no_place", "size_mismatch", "truncated", "too_large"}
"""Reasons that only a photo's pixels give."""
ORPHAN = annotation() | {"image_id": 99}


def index_of(
    root: Path, taxonomy: Taxonomy, n_jobs: int = 1, **options: bool
) -> tuple[pd.DataFrame, pd.DataFrame]:
    manifest, quarantine = index_labels(
        AIHubFolder(root), LabelReader(taxonomy, **options), Processes(engine="processes", workers=n_jobs)
    )
    found = {stem(photo) for photo in AIHubFolder(root).listing().photos}
    told = set(manifest["photo_id"])
    assert found - told - {stem(file) for file in quarantine["file"]} == set()
    return manifest, quarantine


def table(quarantine: pd.DataFrame) -> list[tuple[str, str, str]]:
    return list(quarantine[["file", "reason", "detail"]].itertuples(index=False, name=None))


def places(manifest: pd.DataFrame) -> list[tuple[str, str]]:
    return list(manifest[["photo", "label_file"]].itertuples(index=False, name=None))


def photos_and_labels(labels: dict[str, Any]) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Empty photos of those names, and their label files."""
    contents = {f"{name}.json": c if isinstance(c, bytes) else encoded(c) for name, c in labels.items()}
    return {f"{name}.jpg": b"" for name in labels}, contents


# --- everything that can be wrong -----------------------------------------------------------------------


@pytest.fixture
def spoiled(tmp_path: Path) -> Path:
    """A raw folder in which each reason to leave something out occurs."""
    photos, labels = photos_and_labels(
        {
            "2102_12_good": label(annotation(), annotation(bbox=(40, 50, 60, 50))),
            "2102_12_twice": label(annotation()),
            "2102_12_empty": b"",
            "2102_12_json": b'{"images": [',
            "2102_12_size": label(annotation(), width=None),
            "crack": label(annotation()),
            "2102_12_annotation": label(annotation(), "x"),
            "2102_12_id": label(annotation(), annotation(9999)),
            "2102_12_box": label(annotation(bbox=(1, 2, float("nan"), 4))),
            "2102_12_flat": label(annotation(bbox=(1, 2, 0, 4))),
            "2102_12_outside": label(annotation(bbox=(190, 90, 20, 10))),
            "2702_12_boxless": label(annotation(2702, bbox=None)),
            "2102_12_value": label(annotation(attributes=KOREAN | {"location": "달"})),
            "2102_12_missing": label(annotation(attributes={"tank_type": "B"})),
            "2102_12_nothing": label(),
            "2102_12_unreadable": b"",
            "9999_12_id": label(annotation()),
            "2101_12_shows": label(annotation()),
        }
    )
    del labels["2102_12_unreadable.json"]
    photos["2102_12_unlabelled.jpg"] = b""
    labels["2102_12_alone.json"] = encoded(label(annotation()))
    write(tmp_path / "Training/TS_균열_도장.zip", photos)
    write(tmp_path / "Training/TL_균열_도장.zip", labels)
    write(tmp_path / "Training/TS_half.zip.part0", {}) or (tmp_path / "Training/TS_half.zip.part0").touch()
    write(
        tmp_path / "Validation", {"2102_12_twice.jpg": b"", "2102_12_twice.json": b"{}", "broken.zip": b"x"}
    )
    write(tmp_path / "Validation/VS.zip", {"../2102_12_out.jpg": b""})
    (tmp_path / "Training/2102_12_unreadable.json").symlink_to(tmp_path / "gone.json")
    images = [{"id": k, "file_name": f"2102_12_m{k}.jpg", "width": 200, "height": 100} for k in (1, 2, 3)]
    merged = {
        "images": images,
        "annotations": [*(annotation() | {"image_id": k} for k in (1, 2, 3)), ORPHAN],
    }
    merged["annotations"][1]["bbox"] = "wide"
    write(tmp_path / "Merged", {"labels.json": encoded(merged), "2102_12_m1.jpg": b"", "2102_12_m2.jpg": b""})
    return tmp_path


def test_each_reason_row_by_row(spoiled: Path, taxonomy: Taxonomy) -> None:
    manifest, quarantine = index_of(spoiled, taxonomy, skip_boxless=True)
    zipped = "Training/TL_균열_도장.zip!/"
    assert table(quarantine) == [
        (
            "Merged/2102_12_m2.jpg",
            "box",
            "four finite numbers expected, found 'wide' (in Merged/labels.json)",
        ),
        ("Merged/labels.json", "label_without_photo", "no photo has the name 2102_12_m3"),
        ("Merged/labels.json", "annotation", f"belongs to no photo of the file: {ORPHAN!r:.80}"),
        (
            "Training/2102_12_unreadable.json",
            "unreadable",
            "cannot be read: No such file or directory",
        ),
        (f"{zipped}2101_12_shows.json", "not_negative", "id 2101 in its name, yet it shows: crack"),
        (
            f"{zipped}2102_12_alone.json",
            "label_without_photo",
            "no photo has the name unused",
        ),  # as its file_name says
        (f"{zipped}2102_12_annotation.json", "annotation", "not an object: 'x'"),
        (f"{zipped}2102_12_box.json", "box", "four finite numbers expected, found [1, 2, nan, 4]"),
        (f"{zipped}2102_12_empty.json", "empty", "a label file of zero bytes"),
        (f"{zipped}2102_12_flat.json", "box_degenerate", "[1, 2, 0, 4]"),
        (f"{zipped}2102_12_id.json", "unknown_id", "category_id 9999"),
        (f"{zipped}2102_12_json.json", "json", "Expecting value: line 1 column 13 (char 12)"),
        (f"{zipped}2102_12_missing.json", "missing_value", "location is nowhere in the label"),
        (f"{zipped}2102_12_nothing.json", "no_object", "id 2102 without annotations"),
        (f"{zipped}2102_12_outside.json", "box_outside", "[190, 90, 20, 10] in 200 x 100"),
        (f"{zipped}2102_12_size.json", "photo_size", "width None, height 100"),
        (f"{zipped}2102_12_value.json", "unknown_value", "location '달': add it to the taxonomy"),
        (f"{zipped}2702_12_boxless.json", "boxless", "category_id 2702 carries no boxes"),
        (f"{zipped}9999_12_id.json", "unknown_id", "id 9999 in its name"),
        (f"{zipped}crack.json", "file_name", "does not begin with an id and a part code"),
        ("Training/TS_half.zip.part0", "archive", "put its parts together, or unpack it"),
        (
            "Training/TS_균열_도장.zip!/2102_12_unlabelled.jpg",
            "photo_without_label",
            "no label file has this name",
        ),
        (
            "Validation/2102_12_twice.jpg",
            "duplicate",
            "Training/TS_균열_도장.zip!/2102_12_twice.jpg was taken",
        ),
        (
            "Validation/2102_12_twice.json",
            "duplicate",
            f"2102_12_twice: {zipped}2102_12_twice.json was taken; here photo_size, width None, height None",
        ),
        ("Validation/VS.zip!/../2102_12_out.jpg", "unsafe_path", "leads out of the zip"),
        ("Validation/broken.zip", "archive", "cannot be opened: File is not a zip file"),
    ]
    assert set(quarantine["reason"]) == REASONS.keys() - OF_PHOTOS - {"contradiction", "skipped"}
    assert places(manifest) == [
        ("Training/TS_균열_도장.zip!/2102_12_good.jpg", f"{zipped}2102_12_good.json"),
        ("Training/TS_균열_도장.zip!/2102_12_good.jpg", f"{zipped}2102_12_good.json"),
        ("Merged/2102_12_m1.jpg", "Merged/labels.json"),
        ("Training/TS_균열_도장.zip!/2102_12_twice.jpg", f"{zipped}2102_12_twice.json"),
    ]


def test_workers_and_chunks_change_nothing(
    spoiled: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = index_of(spoiled, taxonomy)
    monkeypatch.setattr(index, "PARTS", 1)
    monkeypatch.setattr(index, "CHUNK", 3)
    for n_jobs in (1, 2):
        for ours, theirs in zip(index_of(spoiled, taxonomy, n_jobs), expected, strict=True):
            pd.testing.assert_frame_equal(ours, theirs)


@pytest.mark.parametrize(("n_files", "n_parts"), [(40, 40), (600, 300)])
def test_few_label_files_are_work_for_many_processes(
    taxonomy: Taxonomy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_files: int, n_parts: int
) -> None:
    photos, labels = photos_and_labels({f"2102_12_{k}": label(annotation()) for k in range(n_files)})
    write(tmp_path / "all.zip", photos | labels)
    parts = []

    def count(function: Any, items: list[Any], *_: Any, **__: Any) -> Any:
        parts.extend(items)
        return map(function, items)

    monkeypatch.setattr(index, "parallel_map", count)
    manifest, _ = index_of(tmp_path, taxonomy)
    assert (len(parts), len(manifest)) == (n_parts, n_files)


def test_a_damaged_member_is_told_and_the_others_are_read(taxonomy: Taxonomy, tmp_path: Path) -> None:
    photos, labels = photos_and_labels({f"2102_12_{k}": label(annotation()) for k in "ab"})
    write(tmp_path, photos)
    write(tmp_path / "TL.zip", labels)
    content = (tmp_path / "TL.zip").read_bytes()
    (tmp_path / "TL.zip").write_bytes(content.replace(b"[10, 20", b"[10, 21", 1))
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert table(quarantine) == [
        (
            "TL.zip!/2102_12_a.json",
            "archive",
            "cannot be read: Bad CRC-32 for file '2102_12_a.json'",
        )
    ]
    assert list(manifest["photo_id"]) == ["2102_12_b"]


def test_a_folder_without_photos(taxonomy: Taxonomy, tmp_path: Path) -> None:
    write(tmp_path, {"2102_12_a.json": b"{}", "TS.zip": b"x"})
    with pytest.raises(ValueError, match=r"no photo.*raw_dir=PATH.*\nTS\.zip: archive, cannot be opened"):
        index_of(tmp_path, taxonomy)


# --- layouts --------------------------------------------------------------------------------------------


def nfd(text: str) -> str:
    return unicodedata.normalize("NFD", text)


NAME = "1202_14_0a1b"
CONTENT = label(
    annotation(
        1202, (10, 20, 30, 40), attributes={k: KOREAN[k] for k in ("tank_type", "location", "sub_location")}
    )
)
DATA = "3.개방데이터/1.데이터/Training"


@pytest.mark.parametrize(
    ("photo", "label_file"),
    [
        (
            f"{DATA}/01.원천데이터/TS_용접_용접블로우홀_조인트.zip",
            f"{DATA}/02.라벨링데이터/TL_용접_용접블로우홀_조인트.zip",
        ),
        (
            nfd(f"{DATA}/01.원천데이터/TS_용접_용접블루홀_조인트.zip"),
            f"{DATA}/02.라벨링데이터/TL_용접_용접블루홀_조인트.zip",
        ),
        (
            f"{DATA}/01.원천데이터/TS_용접_용접블로우홀_조인트.zip",
            nfd(f"{DATA}/02.라벨링데이터/TL_용접_용접블로우홀_조인트.zip"),
        ),
        (f"{DATA}/01.원천데이터/TS", nfd(f"{DATA}/TL_용접_용접블로우홀_조인트")),
        ("photos", "TL_용접_용접블로우홀_조인트.ZIP"),
        ("TL_용접_용접블로우홀_조인트", "TL_용접_용접블로우홀_조인트"),
    ],
)
@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".png"])
def test_where_photos_and_labels_lie(
    taxonomy: Taxonomy, tmp_path: Path, photo: str, label_file: str, suffix: str
) -> None:
    write(tmp_path / photo, {f"{NAME}{suffix}": b""})
    write(tmp_path / label_file, {f"{NAME}.json": encoded(CONTENT)})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert table(quarantine) == []
    (row,) = manifest.to_dict("records")
    between = {path: "!/" if path.lower().endswith(".zip") else "/" for path in (photo, label_file)}
    assert row == {
        "photo_id": NAME,
        "photo": f"{photo}{between[photo]}{NAME}{suffix}",
        "label_file": f"{label_file}{between[label_file]}{NAME}.json",
        "photo_category_id": 1202,
        "width": 200,
        "height": 100,
        "category_id": 1202,
        "label": "weld blowhole",
        "x": 10.0,
        "y": 20.0,
        "w": 30.0,
        "h": 40.0,
        "box_source": "label",
        "clipped": False,
        **ENGLISH,
        "part": "Joint",
        "material": row["material"],
        "filled": "part:zip,quality:id",
    }
    assert pd.isna(row["material"])


def test_photos_and_labels_in_one_zip_deep_inside(taxonomy: Taxonomy, tmp_path: Path) -> None:
    members = {f"a/{nfd('균열_도장')}/{NAME}.JPG": b"", f"b/균열_도장/{NAME}.json": encoded(CONTENT)}
    write(tmp_path / "x/y/all.zip", members)
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert table(quarantine) == []
    assert manifest[["part", "filled"]].to_numpy().tolist() == [["Coating", "part:zip,quality:id"]]


def test_names_of_either_unicode_form_are_one_name(taxonomy: Taxonomy, tmp_path: Path) -> None:
    write(tmp_path, {nfd("2102_12_균열.jpg"): b"", "2102_12_균열.json": encoded(label(annotation()))})
    merged = [{"id": 1, "file_name": nfd("2102_12_홈.jpg"), "width": 200, "height": 100}]
    merged.append({"id": 2, "file_name": "2101_12_선.jpg", "width": 200, "height": 100})
    content = {"images": merged, "annotations": [annotation()]}
    write(tmp_path, {"2102_12_홈.jpg": b"", nfd("2101_12_선.jpg"): b"", "merged.json": encoded(content)})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert table(quarantine) == []
    assert list(manifest["photo_id"]) == ["2101_12_선", "2102_12_균열", "2102_12_홈"]


def test_one_merged_file_a_split(taxonomy: Taxonomy, tmp_path: Path) -> None:
    for split, first in (("Training", 0), ("Validation", 2)):
        names = [f"2102_12_{k}" for k in range(first, first + 3)]
        images = [
            {"id": k, "file_name": f"{n}.JPG", "width": 200, "height": 100} for k, n in enumerate(names)
        ]
        objects = [(0, 2), (0, 2), (1, 1), (2, 2), (2, 2)] if first else [(0, 0), (1, 1), (2, 2), (2, 2)]
        annotations = [annotation(bbox=(x, 0, 10, 10)) | {"image_id": k} for k, x in objects]
        content = {"images": images, "annotations": annotations}
        write(tmp_path / split / "labels.zip", {"labels.json": encoded(content)})
        write(tmp_path / split / "photos.zip", {f"{n}.JPG": b"" for n in names})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    training, validation = ("Training/labels.zip!/labels.json", "Validation/labels.zip!/labels.json")
    rows = manifest[["photo_id", "x", "label_file"]].to_numpy().tolist()
    assert rows == [
        ["2102_12_0", 0.0, training],
        ["2102_12_1", 1.0, training],
        ["2102_12_2", 2.0, training],
        ["2102_12_2", 2.0, training],
        ["2102_12_3", 1.0, validation],
        ["2102_12_4", 2.0, validation],
        ["2102_12_4", 2.0, validation],
    ]
    assert table(quarantine) == [
        (validation, "duplicate", f"2102_12_2: {training} was taken"),
        ("Validation/photos.zip!/2102_12_2.JPG", "duplicate", "Training/photos.zip!/2102_12_2.JPG was taken"),
    ]


def test_a_label_file_of_another_name_than_its_photo(taxonomy: Taxonomy, tmp_path: Path) -> None:
    content = label(annotation(bbox=None))
    content["images"][0]["file_name"] = "2102_12_a.jpg"
    write(tmp_path, {"2102_12_a.jpg": b"", "0001.json": encoded(content)})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert table(quarantine) == [
        ("2102_12_a.jpg", "box", "four finite numbers expected, found None (in 0001.json)")
    ]
    # The file that has the photo's name comes first, though it is the last in order.
    write(tmp_path, {"2102_12_a.json": encoded(label(annotation()))})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert places(manifest) == [("2102_12_a.jpg", "2102_12_a.json")]
    why = "here box, four finite numbers expected, found None"
    assert table(quarantine) == [("0001.json", "duplicate", f"2102_12_a: 2102_12_a.json was taken; {why}")]


@pytest.mark.parametrize("reverse", [False, True])
def test_which_of_two_files_of_one_name_is_taken(taxonomy: Taxonomy, tmp_path: Path, reverse: bool) -> None:
    names = [f"2102_12_{k}" for k in range(3)]
    both = annotation(bbox=(1, 1, 2, 3)), annotation(2502)
    folders = ["Training/T", "Validation/V"]
    for folder in reversed(folders) if reverse else folders:
        photos, labels = photos_and_labels(
            {n: label(*(both if folder == "Training/T" else reversed(both))) for n in names}
        )
        write(tmp_path / f"{folder}S.zip", photos)
        write(tmp_path / f"{folder}L.zip", labels)
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert places(manifest) == [
        (f"Training/TS.zip!/{n}.jpg", f"Training/TL.zip!/{n}.json") for n in names for _ in both
    ]
    assert [detail for _, _, detail in table(quarantine)][:1] == [
        f"{names[0]}: Training/TL.zip!/{names[0]}.json was taken"
    ]
    assert [(file, reason) for file, reason, _ in table(quarantine)] == [
        (f"Validation/V{kind}.zip!/{n}.{suffix}", "duplicate")
        for kind, suffix in (("L", "json"), ("S", "jpg"))
        for n in names
    ]


@pytest.mark.parametrize(
    "other",
    [
        label(annotation(), annotation(2502)),
        label(annotation(), annotation()),
        label(annotation(bbox=(10, 20, 30, 41))),
        label(annotation(attributes=KOREAN | {"location": "외벽"})),
        label(annotation(), width=300),
    ],
)
def test_two_labels_of_one_name_that_differ_leave_their_photo_out(
    taxonomy: Taxonomy, tmp_path: Path, other: Any
) -> None:
    write(tmp_path, {"2102_12_a.jpg": b"", "2102_12_b.jpg": b""})
    write(tmp_path / "Training", {f"2102_12_{k}.json": encoded(label(annotation())) for k in "ab"})
    write(tmp_path / "Validation", {"2102_12_a.json": encoded(other)})
    write(tmp_path / "Validation", {"2102_12_b.json": encoded(label(annotation(area=7)))})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert table(quarantine) == [
        ("2102_12_a.jpg", "contradiction", "Training/2102_12_a.json and Validation/2102_12_a.json"),
        ("Validation/2102_12_b.json", "duplicate", "2102_12_b: Training/2102_12_b.json was taken"),
    ]
    assert places(manifest) == [("2102_12_b.jpg", "Training/2102_12_b.json")]
    assert "contradiction" not in LEFT_OUT


@pytest.mark.parametrize(("first", "problem"), [(b"", "empty, a label file of zero bytes"), (b"{", "json, ")])
def test_a_label_that_can_be_used_comes_before_one_that_cannot(
    taxonomy: Taxonomy, tmp_path: Path, first: bytes, problem: str
) -> None:
    write(tmp_path, {"2102_12_a.jpg": b""})
    write(tmp_path / "Training", {"2102_12_a.json": first})
    write(tmp_path / "Validation", {"2102_12_a.json": encoded(label(annotation()))})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert places(manifest) == [("2102_12_a.jpg", "Validation/2102_12_a.json")]
    ((file, reason, detail),) = table(quarantine)
    assert (file, reason) == ("Training/2102_12_a.json", "duplicate")
    assert detail.startswith(f"2102_12_a: Validation/2102_12_a.json was taken; here {problem}")


class TestReviewed:
    """Corrected photos beside raw ones of the same names, as where somebody copied them."""

    def index(self, root: Path, taxonomy: Taxonomy) -> tuple[pd.DataFrame, list[tuple[str, str, str]]]:
        raw = AIHubFolder(root / "raw", root / "reviewed")
        found = index_labels(raw, LabelReader(taxonomy), Processes(engine="processes", workers=1))
        return found[0], table(found[1])

    def test_a_correction_is_believed_and_contradicts_no_raw_label(
        self, taxonomy: Taxonomy, tmp_path: Path
    ) -> None:
        name = "2102_12_a"
        for folder, box in (("raw/x", (1, 1, 5, 5)), ("raw/y", (2, 2, 5, 5)), ("reviewed", (3, 3, 5, 5))):
            write(
                tmp_path / folder, {f"{name}.jpg": b"", f"{name}.json": encoded(label(annotation(bbox=box)))}
            )
        manifest, quarantine = self.index(tmp_path, taxonomy)
        assert places(manifest) == [(f"reviewed://{name}.jpg", f"reviewed://{name}.json")]
        assert manifest["x"].tolist() == [3.0]
        taken = f"reviewed://{name}"
        assert quarantine == [
            ("x/2102_12_a.jpg", "duplicate", f"{taken}.jpg was taken"),
            ("x/2102_12_a.json", "duplicate", f"{name}: {taken}.json was taken"),
            ("y/2102_12_a.jpg", "duplicate", f"{taken}.jpg was taken"),
            ("y/2102_12_a.json", "duplicate", f"{name}: {taken}.json was taken"),
        ]

    def test_a_correction_of_another_name_comes_before_the_photos_own_label(
        self, taxonomy: Taxonomy, tmp_path: Path
    ) -> None:
        merged = label(annotation(bbox=(3, 3, 5, 5)))
        merged["images"][0]["file_name"] = "2102_12_a.jpg"
        write(tmp_path / "raw", {"2102_12_a.jpg": b"", "2102_12_a.json": encoded(label(annotation()))})
        write(tmp_path / "reviewed", {"labels.json": encoded(merged)})
        manifest, quarantine = self.index(tmp_path, taxonomy)
        assert places(manifest) == [("2102_12_a.jpg", "reviewed://labels.json")]
        assert [row[:2] for row in quarantine] == [("2102_12_a.json", "duplicate")]

    def test_two_corrections_that_differ_leave_their_photo_out(
        self, taxonomy: Taxonomy, tmp_path: Path
    ) -> None:
        for folder, box in (
            ("raw", (1, 1, 5, 5)),
            ("reviewed/x", (2, 2, 5, 5)),
            ("reviewed/y", (3, 3, 5, 5)),
        ):
            write(tmp_path / folder, {"2102_12_a.json": encoded(label(annotation(bbox=box)))})
        write(tmp_path / "raw", {"2102_12_b.jpg": b"", "2102_12_b.json": encoded(label(annotation()))})
        write(tmp_path / "reviewed/x", {"2102_12_a.jpg": b""})
        manifest, quarantine = self.index(tmp_path, taxonomy)
        assert list(manifest["photo_id"]) == ["2102_12_b"]
        assert [row[:2] for row in quarantine] == [("reviewed://x/2102_12_a.jpg", "contradiction")]

    def test_corrected_photos_alone_are_no_raw_dataset(self, taxonomy: Taxonomy, tmp_path: Path) -> None:
        write(tmp_path / "reviewed", {"2102_12_a.jpg": b"", "2102_12_a.json": encoded(label(annotation()))})
        (tmp_path / "raw").mkdir()
        with pytest.raises(ValueError, match="no photo: is --params raw_dir=PATH the right folder"):
            self.index(tmp_path, taxonomy)


def test_a_part_is_filled_from_where_the_photo_lies(taxonomy: Taxonomy, tmp_path: Path) -> None:
    # The zip of the first, the folder of the second, the name of the third knows the part; of the last, none.
    names = ["2102_99_a", "2102_13_b", "2102_13_c", "2102_99_d"]
    images = [{"id": k, "file_name": f"{n}.jpg", "width": 200, "height": 100} for k, n in enumerate(names)]
    silent = {name: value for name, value in KOREAN.items() if name != "part"}
    objects = [annotation(attributes=silent) | {"image_id": k} for k in range(4)]
    objects.append(annotation(bbox=(1, 1, 2, 2)) | {"image_id": 3})
    write(tmp_path, {"labels.json": encoded({"images": images, "annotations": objects})})
    write(tmp_path / "TS_표면처리_균열_도장.zip", {f"{names[0]}.jpg": b""})
    write(tmp_path / "TS_표면처리_균열_케이블/x", {f"{names[1]}.jpg": b""})
    write(tmp_path / "TS.zip", {f"{n}.jpg": b"" for n in names[2:]})
    manifest, quarantine = index_of(tmp_path, taxonomy)
    assert manifest[["photo_id", "part", "filled"]].to_numpy().tolist() == [
        ["2102_13_b", "Cable", "part:photo"],
        ["2102_13_c", "Insulation", "part:name"],
        ["2102_99_a", "Coating", "part:photo"],
    ]
    assert table(quarantine) == [
        ("TS.zip!/2102_99_d.jpg", "missing_value", "part is nowhere in the label (in labels.json)")
    ]


def test_the_labels_own_folder_tells_the_part_before_the_photos(taxonomy: Taxonomy, tmp_path: Path) -> None:
    content = encoded(label(annotation(attributes={k: v for k, v in KOREAN.items() if k != "part"})))
    write(tmp_path / "TL_균열_도장.zip", {"2102_13_a.json": content})
    write(tmp_path / "TS_균열_케이블.zip", {"2102_13_a.jpg": b""})
    manifest, _ = index_of(tmp_path, taxonomy)
    assert manifest[["part", "filled"]].to_numpy().tolist() == [["Coating", "part:zip"]]


def test_boxes_that_were_cut_are_marked(taxonomy: Taxonomy, tmp_path: Path) -> None:
    names = {
        "2102_12_a": label(annotation(bbox=(190, 90, 20, 10)), annotation(bbox=(1, 2, 3, 4))),
        "2102_12_b": label(annotation(bbox=(200, 90, 20, 10))),
        "2101_12_c": label(),
    }
    for folder in photos_and_labels(names):
        write(tmp_path, folder)
    manifest, quarantine = index_of(tmp_path, taxonomy, clip_boxes=True)
    assert manifest[["photo_id", "w", "clipped"]].astype(object).fillna("").to_numpy().tolist() == [
        ["2101_12_c", "", False],
        ["2102_12_a", 3.0, False],
        ["2102_12_a", 10.0, True],
    ]
    assert [(file, reason) for file, reason, _ in table(quarantine)] == [("2102_12_b.json", "box_outside")]


def test_stored_and_deflated_zips_and_folders_give_the_same_rows(taxonomy: Taxonomy, tmp_path: Path) -> None:
    found = []
    names = {f"2102_12_{k}": label(annotation(bbox=(k, 1, 2, 3))) for k in range(5)}
    for number, compression in enumerate((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)):
        root = tmp_path / str(number)
        root.mkdir()
        with zipfile.ZipFile(root / "all.zip", "w", compression) as archive:
            for name, content in names.items():
                archive.writestr(f"{name}.jpg", b"")
                archive.writestr(f"{name}.json", json.dumps(content))
        found.append(index_of(root, taxonomy)[0])
    pd.testing.assert_frame_equal(found[0], found[1])
    pd.testing.assert_frame_equal(found[0], found[2])
    assert list(found[0]["x"]) == [0.0, 1.0, 2.0, 3.0, 4.0]
