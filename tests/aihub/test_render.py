"""The renderer of the demo raw dataset."""

import hashlib
import io
import json
import re
import unicodedata
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lng_kedro.aihub.items import GRADED, draw_item
from lng_kedro.aihub.render import write_dataset
from lng_kedro.aihub.scenes import (
    HARD_CASES,
    HEIGHT,
    MATERIALS,
    PARTS,
    SCENES,
    WIDTH,
    RenderedObject,
    _hard_case,
    render_photo,
)
from lng_kedro.geometry import iou
from lng_kedro.taxonomy import Taxonomy, fold, load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[2] / "conf/base/parameters/taxonomy.yml")
IDS = sorted([*TAXONOMY.by_id, *TAXONOMY.negative_ids])
COUNTS = {1202: 5, 2101: 1, 2702: 1, 4301: 2, 6101: 1}
STEM = re.compile(r"\d{4}_1[1-8]_[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def photos() -> dict[int, tuple[Image.Image, list[RenderedObject]]]:
    return {i: render_photo(7, i, TAXONOMY) for i in IDS}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("demo") / "raw"
    write_dataset(root, COUNTS, TAXONOMY, seed=3, n_jobs=1)
    return root


def members(root: Path, prefixes: str) -> dict[str, bytes]:
    """Name -> content of everything in the zips whose name starts with one of `prefixes`."""
    found: dict[str, bytes] = {}
    for path in sorted(root.rglob("*.zip")):
        if path.name[:2] in prefixes.split():
            with zipfile.ZipFile(path) as archive:
                found |= {name: archive.read(name) for name in archive.namelist()}
    return found


def digests(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.zip")}


def test_every_id_renders_a_full_size_photo(
    photos: dict[int, tuple[Image.Image, list[RenderedObject]]],
) -> None:
    assert len(photos) == 23
    for category_id, (image, objects) in photos.items():
        assert (image.mode, image.size) == ("RGB", (1920, 1080))
        if category_id in TAXONOMY.negative_ids:
            assert objects == []
        else:
            assert objects[0].category_id == category_id
            assert (objects[0].label, objects[0].attributes["quality"]) == TAXONOMY.by_id[category_id]
            assert (objects[0].bbox is None) == (category_id in TAXONOMY.boxless_ids)


def test_same_seed_same_photo_other_seed_other_photo() -> None:
    first, again, other = (render_photo(s, 3102, TAXONOMY) for s in (1, 1, 2))
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1] == again[1]
    assert first[0].tobytes() != other[0].tobytes()


@pytest.mark.parametrize("difficulty", [0.0, 1.0])
def test_boxes_lie_in_the_photo_and_apart(difficulty: float) -> None:
    counts = set()
    for seed in range(40):
        _, objects = render_photo(seed, 2102, TAXONOMY, difficulty)
        boxes = [o.bbox for o in objects if o.bbox is not None]
        assert len(boxes) == len(objects) >= 1
        counts.add(len(boxes))
        corners = [(x, y, x + w, y + h) for x, y, w, h in boxes]
        for x_min, y_min, x_max, y_max in corners:
            assert min(x_min, y_min) >= 0
            assert x_max <= WIDTH
            assert y_max <= HEIGHT
            assert 0.08 < (x_max - x_min) / WIDTH < 0.43
            assert 0.08 < (y_max - y_min) / HEIGHT < 0.43
        assert all(iou(a, b) == 0 for i, a in enumerate(corners) for b in corners[:i])
    assert counts == {1, 2, 3, 4}


def test_attributes_are_allowed_and_places_are_legal(
    photos: dict[int, tuple[Image.Image, list[RenderedObject]]],
) -> None:
    for _, objects in photos.values():
        for found in objects:
            assert list(found.attributes) == [*TAXONOMY.field_names, "material"]
            assert all(found.attributes[f] in TAXONOMY.allowed[f] for f in TAXONOMY.field_names)
            assert found.attributes["material"] in MATERIALS[found.attributes["part"]]
            assert found.attributes["part"] in PARTS[found.label]
            place = (found.attributes["location"], found.attributes["sub_location"])
            assert place in SCENES[found.attributes["tank_type"]]
        assert len({tuple(list(o.attributes.values())[:3]) for o in objects}) <= 1


def test_the_box_is_tight_around_what_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    def plain(*args: Any, **_: Any) -> Image.Image:
        return Image.new("RGB", args[4], (0, 255, 0))

    monkeypatch.setattr("lng_kedro.aihub.scenes.draw_item", plain)
    image, objects = next(p for s in range(99) if len((p := render_photo(s, 2102, TAXONOMY, 0.0))[1]) == 1)
    pixels = np.asarray(image).astype(int)
    ys, xs = np.nonzero((pixels[..., 1] > 170) & (pixels[..., 0] < 80) & (pixels[..., 2] < 80))
    assert objects[0].bbox is not None
    x, y, w, h = objects[0].bbox
    assert np.allclose((xs.min(), ys.min(), xs.max() + 1, ys.max() + 1), (x, y, x + w, y + h), atol=4)


@pytest.mark.parametrize("label", GRADED)
def test_good_and_defective_look_different(label: str) -> None:
    part = PARTS[label][0]
    good, bad = (
        draw_item(label, quality, part, MATERIALS[part][0], (400, 240), np.random.default_rng(1)).resize(
            (24, 24)
        )
        for quality in (True, False)
    )
    difference = np.abs(np.asarray(good).astype(int) - np.asarray(bad)).max(axis=2)
    assert (difference > 40).mean() > 0.05


def test_materials_differ_in_their_marks_only() -> None:
    steel, stainless = (
        draw_item("crack", False, "Joint", material, (400, 240), np.random.default_rng(1))
        for material in MATERIALS["Joint"]
    )
    differs = np.argwhere(np.abs(np.asarray(steel).astype(int) - np.asarray(stainless)).max(axis=2) > 40)
    assert differs.min() == 1  # inside the mark's dark edge
    assert 30 < differs.max() < 60  # 0.24 units of 0.78 x 225 pixels


def test_a_look_alike_keeps_its_shape_and_backing_and_loses_its_colour() -> None:
    vivid, grey = (
        np.asarray(
            draw_item(
                "paint sagging", False, "Coating", "Carbon steel", (400, 240), np.random.default_rng(1), c
            )
        ).astype(int)
        for c in (False, True)
    )
    changed = np.abs(vivid - grey).max(axis=2) > 0
    assert 0.1 < changed.mean() < 0.7
    assert (np.ptp(grey[changed], axis=1) == 0).all()
    assert (np.ptp(vivid[changed], axis=1) > 0).all()


def test_hard_items_come_with_difficulty() -> None:
    """Half of the items at difficulty 1, none at 0; small ones are 0.6 of the least side of others."""
    rng = np.random.default_rng(0)
    assert {_hard_case(0.0, rng) for _ in range(100)} == {""}
    cases = [_hard_case(1.0, rng) for _ in range(2000)]
    assert set(cases) == {"", *HARD_CASES}
    assert sum(case == "" for case in cases) / 2000 == pytest.approx(0.5, abs=0.05)


def test_every_boxed_label_has_a_drawing_on_each_of_its_parts() -> None:
    for label in TAXONOMY.labels:
        if label.defective_id not in TAXONOMY.boxless_ids:
            for part in PARTS[label.name]:
                draw_item(label.name, False, part, MATERIALS[part][0], (270, 152), np.random.default_rng(0))


def test_bytes_do_not_depend_on_the_number_of_processes(dataset: Path, tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw", COUNTS, TAXONOMY, seed=3, n_jobs=2)
    assert digests(tmp_path / "raw") == digests(dataset)
    assert [p.name for p in tmp_path.iterdir()] == ["raw"]


def test_tree_and_zip_names(dataset: Path) -> None:
    zips = sorted(dataset.rglob("*.zip"))
    prefixes = {
        ("Training", "01.원천데이터"): "TS_",
        ("Training", "02.라벨링데이터"): "TL_",
        ("Validation", "01.원천데이터"): "VS_",
        ("Validation", "02.라벨링데이터"): "VL_",
    }
    for path in zips:
        top, data, split, kind, name = path.relative_to(dataset).parts
        assert (top, data) == ("3.개방데이터", "1.데이터")
        assert name.startswith(prefixes[split, kind])
    names = [p.name for p in zips]
    forms = [unicodedata.is_normalized("NFC", n) for n in names]
    assert set(forms) == {True, False}
    composed = "\n".join(unicodedata.normalize("NFC", n) for n in names)
    for expected in ("용접블로우홀", "용접블루홀", "TS_표면처리_표면처리양품_도장.zip", "바인딩양품"):
        assert expected in composed


def spelled(field: str, value: str, taxonomy: Taxonomy) -> str:
    return taxonomy.fields[field].spellings[fold(value)]


def test_photos_and_labels_pair_up(dataset: Path) -> None:
    photos, labels = members(dataset, "TS VS"), members(dataset, "TL VL")
    assert {Path(n).stem for n in photos} == {Path(n).stem for n in labels}
    assert len(photos) == sum(COUNTS.values())
    assert {Path(n).suffix for n in photos} <= {".jpg", ".JPG"}
    for name, content in labels.items():
        assert STEM.fullmatch(Path(name).stem)
        label = json.loads(content)
        (image,) = label["images"]
        assert set(image) == {"id", "file_name", "width", "height", "date_captured"}
        with Image.open(io.BytesIO(photos[image["file_name"]])) as photo:
            assert photo.size == (image["width"], image["height"])
        assert label["categories"] == []
        category_id, code = map(int, name.split("_")[:2])
        if category_id in TAXONOMY.negative_ids:
            assert label["annotations"] == []
            continue
        first = label["annotations"][0]
        assert first["category_id"] == category_id
        assert spelled("part", first["attributes"]["part"], TAXONOMY) == spelled("part", str(code), TAXONOMY)


def test_annotation_fields(dataset: Path) -> None:
    for content in members(dataset, "TL VL").values():
        for found in json.loads(content)["annotations"]:
            assert (found["image_id"] >= 1, found["segmentation"], found["iscrowd"]) == (True, [], 0)
            assert found["attributes"].keys() == {*TAXONOMY.field_names, "material"}
            for field in TAXONOMY.field_names:
                assert spelled(field, found["attributes"][field], TAXONOMY) in TAXONOMY.allowed[field]
            if found["category_id"] in TAXONOMY.boxless_ids:
                assert found["bbox"] is None
            else:
                assert found["area"] == found["bbox"][2] * found["bbox"][3]


def test_refuses_what_it_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="9999"):
        write_dataset(tmp_path / "raw", {9999: 1}, TAXONOMY, seed=0)
    (tmp_path / "kept").write_text("", encoding="utf-8")
    with pytest.raises(FileExistsError, match="not empty"):
        write_dataset(tmp_path, {2101: 1}, TAXONOMY, seed=0)
