"""The data page in Chromium, of tables made here."""

import base64
import io
import re
from dataclasses import replace
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from lng_kedro.data_page import DataPageParams, render_data_page
from lng_kedro.data_summary import Tables
from lng_kedro.imaging import PhotoFolder
from lng_kedro.quarantine import REASONS, Rejected

SPLITS = ("sft", "grpo", "test")
HOSTILE = '"></bdi><script>window.hacked = 1</script><img src=x onerror="window.hacked = 1">'
FIELDS = {"tank_type": "B", "location": "Outside", "sub_location": "Support", "part": "Joint"}
FILES = {
    "manifest": "../02_intermediate/manifest.parquet",
    "label_quarantine": "../02_intermediate/label_quarantine.csv",
    "photo_quarantine": "../04_feature/photo_quarantine.csv",
}
SETTINGS = {
    "seed": 3,
    "near_duplicate_bits": 8,
    "per_label": {"sft": 2, "grpo": 2, "test": 1},
    "boxless": "skip",
    "clip_boxes": False,
}
PHOTOS = [
    # photo_id, id, label, split, turned as EXIF says, looks like
    ("w0", 1102, "welding", "sft", 1, None),
    ("w1", 1101, "welding", "sft", 6, None),
    ("w2", 1102, "welding", "grpo", 1, None),
    ("w3", 1102, "welding", "grpo", 1, "w2"),
    ("w4", 1102, "welding", "test", 1, None),
    ("c0", 2102, "crack", "sft", 1, None),
    ("c1", 2102, "crack", "test", 1, None),
    ("n0", 2101, None, "sft", 1, None),
    ("left", 2102, "crack", None, 1, None),
]
"""w0 has two objects, n0 none, every other photo one; `left` is not chosen."""


def quarantine(*rows):
    return pd.DataFrame(rows, columns=["file", "reason", "detail"], dtype=str)


def make(taxonomy, photos=PHOTOS):
    """The tables of a run, and its counts."""
    rows = []
    for photo_id, number, label, split, *_ in photos:
        quality = "Good" if number % 10 == 1 else "Defective"
        row = {
            "photo_id": photo_id,
            "photo": f"{photo_id}.jpg",
            "label_file": f"{photo_id}.json",
            "photo_category_id": number,
            "category_id": number,
            "split": split,
        }
        row |= {"label": label, "quality": quality, **FIELDS, "width": 1000, "height": 500, "filled": ""}
        row |= {"x": 100.0, "y": 50.0, "w": 500.0, "h": 250.0, "box_source": "label", "clipped": False}
        rows.append(row)
        if photo_id == "w0":
            rows.append({**row, "x": 0.0, "clipped": True, "filled": "quality:id"})
    columns = [
        "photo_id",
        "photo",
        "label_file",
        "photo_category_id",
        "category_id",
        "split",
        "label",
        "quality",
        *FIELDS,
    ]
    columns += ["width", "height", "filled", "x", "y", "w", "h", "box_source", "clipped"]
    manifest = pd.DataFrame(rows, columns=columns)
    objects = manifest[manifest["label"].notna() & manifest["split"].notna()].copy()
    objects["x_min"], objects["x_max"] = 0.512 * objects["x"], 0.512 * (objects["x"] + objects["w"])
    objects["y_min"], objects["y_max"] = 1.024 * objects["y"], 1.024 * (objects["y"] + objects["h"])
    chosen = [photo for photo in photos if photo[3]]
    split = pd.DataFrame(
        [
            (i, s, label, turned, sha256((like or i).encode()).hexdigest(), like)
            for i, _, label, s, turned, like in chosen
        ],
        columns=["photo_id", "split", "photo_label", "orientation", "dhash", "near_duplicate_of"],
    ).assign(stored_width=1000, stored_height=500)
    tables = Tables(manifest.drop(columns="split"), split, objects, quarantine(), quarantine())
    return tables, split_counts(taxonomy, manifest, objects)


def split_counts(taxonomy, manifest, objects):
    """As many wanted of each pool as there are, but of cracks two for SFT and one for the test."""
    wanted = {("2102", "sft"): 2, ("2102", "test"): 1}
    pools = {str(number): label for number, (label, _) in taxonomy.by_id.items()} | {"2101": None}
    photos = manifest.drop_duplicates("photo_id")
    rows = []
    for pool, label in pools.items():
        for name in SPLITS:
            got, seen = (
                int(((f["photo_category_id"] == int(pool)) & (f["split"] == name)).sum())
                for f in (photos, objects)
            )
            rows.append((pool, label, name, wanted.get((pool, name), got), got, seen))
    return pd.DataFrame(rows, columns=["pool", "label", "split", "wanted", "got", "objects"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for photo_id, *_ in PHOTOS[:-1]:
        Image.fromarray(rng.integers(0, 255, (512, 512, 3), dtype=np.uint8)).save(folder / f"{photo_id}.jpg")
    return PhotoFolder(folder)


@pytest.fixture(scope="module")
def render(folder, taxonomy):
    """HTML of the page of some tables."""

    def do(tables, counts, photos_per_label=8):
        params = DataPageParams(photos_per_label=photos_per_label, examples=2, files=FILES)
        return render_data_page(tables, folder, taxonomy, counts, SETTINGS, params)

    return do


@pytest.fixture(scope="module")
def write(render, tmp_path_factory):
    """Writes the page of some tables; gives its URL."""
    target = tmp_path_factory.mktemp("page")

    def do(name, tables, counts):
        path = target / f"{name}.html"
        path.write_text(render(tables, counts), encoding="utf-8")
        return path.as_uri()

    return do


@pytest.fixture(scope="module")
def url(write, taxonomy):
    tables, counts = make(taxonomy)
    labels = quarantine(
        *[(f"3.데이터/VL.zip!/{i}.json", "json", "Expecting value") for i in range(5)],
        ("twice.json", "duplicate", "another label has this name"),
    )
    photos = quarantine(("left.jpg", "truncated", "12 bytes are missing"))
    return write("page", replace(tables, label_quarantine=labels, photo_quarantine=photos), counts)


def cells(page, region, label):
    """Texts of a row of a table."""
    row = (
        page.get_by_role("region", name=region)
        .get_by_role("row")
        .filter(has=page.get_by_role("rowheader", name=label, exact=True))
    )
    return [re.sub(r"\s+", " ", text).strip() for text in row.get_by_role("cell").all_inner_texts()]


def test_the_head_says_how_many(visit, url):
    page = visit(url)
    figures = [re.sub(r"\s+", " ", text) for text in page.locator(".figures > div").all_inner_texts()]
    assert figures == [
        "photos in the manifest 9 9 objects",
        "photos chosen 8 88.9 % of the manifest",
        "objects in them 8 1.00 a photo",
        "labels 2 of 15",
        "files rejected 6 40.0 % of 15",  # 9 photos, one of them rejected, and 6 label files
        "files left out 1 nothing is wrong with them",
    ]
    assert "1 of the 9 photos asked for are not there" in page.inner_text(".verdict")
    assert "No photo looks like one of another split" in page.inner_text(".verdict")


def test_photos_and_objects_are_counted_and_what_is_missing_is_marked(visit, url):
    page = visit(url)
    photos, objects = "Photos of each label and split", "Objects of each label and split"
    # Of sft, grpo, test and together: all, Good, defective.
    assert cells(page, photos, "welding") == [*"211", *"202", *"101", *"514"]
    assert cells(page, objects, "welding") == [*"312", *"202", *"101", *"615"]
    short = "▼ 1 of 2"
    assert cells(page, photos, "crack") == [short, "0", short, *"000", *"101", "▼ 2 of 3", "0", "▼ 2 of 3"]
    assert cells(page, photos, "nothing to report") == [*"100", *"000", *"000", *"100"]
    assert cells(page, objects, "all") == [*"413", *"202", *"202", *"817"]


def test_quarantine_by_reason_with_its_first_files(visit, url):
    page = visit(url)
    rows = [re.sub(r"\s+", " ", text).strip() for text in page.locator(".reasons > li").all_inner_texts()]
    assert rows == [
        f"5 83.3 % json: {REASONS['json']} 3.데이터/VL.zip!/0.json Expecting value "
        "3.데이터/VL.zip!/1.json Expecting value and 3 more",
        f"1 16.7 % duplicate: {REASONS['duplicate']} twice.json another label has this name",
        f"1 100.0 % truncated: {REASONS['truncated']} left.jpg 12 bytes are missing",
    ]
    assert page.locator(".reasons > .left-out").count() == 1
    assert page.get_by_role("link", name=FILES["photo_quarantine"]).count() == 2


def test_boxes_and_metadata(visit, url):
    page = visit(url)
    boxes = "Boxes of each label"
    # objects, small, medium, large, median, from the label, its segmentation, the photo, cut
    assert cells(page, boxes, "welding") == ["6", "0", "0", "6", "25.0 %", "6", "0", "0", "1"]
    assert cells(page, boxes, "cutting") == ["0", "0", "0", "0", "–", "0", "0", "0", "0"]
    shares = cells(page, "Shares of the metadata's values", "welding")
    assert shares[:2] == ["100", "0"] and shares[-2:] == ["17", "83"]
    assert set(cells(page, "Shares of the metadata's values", "cutting")) == {"–"}
    assert cells(page, "Values filled by rules", "quality") == ["id", "1", "12.5 %", "1", "11.1 %"]


def test_bars_show_manifest_and_choice(visit, url):
    page = visit(url)
    text = re.sub(r"\s+", " ", page.locator("#boxes .bars").nth(1).inner_text())
    assert "1 7 / 6 manifest: 77.8 77.8 chosen: 75.0 75.0" in text
    text = re.sub(r"\s+", " ", page.locator("#sizes").inner_text())
    assert "1000 x 500 9 / 8" in text and "6: turned right 1 chosen: 12.5" in text
    assert "2 of the chosen photos look like another one, in 1 group, the largest of 2" in text


def test_contact_sheets_show_photos_with_their_boxes(visit, url):
    page = visit(url)
    assert page.locator("#sheets h3").all_inner_texts() == [
        "welding 5 of 5 photos",
        "crack 2 of 2 photos",
        "nothing to report 1 of 1 photos",
    ]
    shown = page.locator(".sheet li").filter(has=page.get_by_alt_text("w0", exact=True))
    assert shown.locator(".says").inner_text() == "welding, Defective x 2"
    assert "sft" in shown.locator(".id").inner_text()
    frame, box = shown.locator(".photo").bounding_box(), shown.locator(".box").first.bounding_box()
    # 100, 50 to 600, 300 in 1000 x 500; a line of 2 pixels lies around it.
    left, width = box["x"] - frame["x"], box["width"]
    assert left / frame["width"] == pytest.approx(0.1, abs=0.02)
    assert width / frame["width"] == pytest.approx(0.5, abs=0.03)
    assert page.evaluate("Math.min(...[...document.images].map(i => i.naturalWidth))") == 192
    good = page.locator(".sheet li").filter(has=page.get_by_alt_text("w1", exact=True))
    assert good.locator("g.k-right").count() == 1


def test_parameters_are_written_as_the_command_line_takes_them(visit, url):
    page = visit(url)
    assert "Seed 3" in page.inner_text("header")
    table = page.get_by_role("region", name="Parameters").inner_text()
    assert table.split() == [
        *("seed", "3", "near_duplicate_bits", "8"),
        *("per_label.sft", "2", "per_label.grpo", "2", "per_label.test", "1"),
        *("boxless", "skip", "clip_boxes", "false"),
    ]
    link = page.get_by_role("region", name="Files").get_by_role("link", name=FILES["manifest"])
    assert link.get_attribute("href") == FILES["manifest"]


def test_the_same_tables_give_the_same_bytes(render, taxonomy):
    assert render(*make(taxonomy)) == render(*make(taxonomy))


def test_the_seed_chooses_the_photos(render, taxonomy):
    def shown(number):
        return re.findall(r'alt="(\w+)"', render(*make(taxonomy), photos_per_label=number))

    few = shown(2)
    assert shown(2) == few
    assert len(few) == 5 and {"n0", "c0", "c1"} < set(few)
    assert set(shown(8)) == {photo_id for photo_id, *_ in PHOTOS[:-1]}
    assert shown(0) == []


def test_fifteen_labels_of_eight_photos_stay_small(render, taxonomy):
    source = re.search(r"data:image/jpeg;base64,([^\"]+)", render(*make(taxonomy)))
    assert Image.open(io.BytesIO(base64.b64decode(source[1]))).size == (192, 192)
    # Noise: no photo is as hard to encode.
    assert 15 * 8 * len(source[0]) < 6e6


def test_hostile_text_stays_text(visit, write, taxonomy):
    tables, counts = make(taxonomy)
    labels = quarantine((HOSTILE, "json", HOSTILE), ("\u202etxt.exe", "empty", "x" * 5000))
    page = visit(write("hostile", replace(tables, label_quarantine=labels), counts))
    assert page.locator(".reasons dt").first.text_content() == HOSTILE
    assert page.locator(".reasons dd").first.text_content() == HOSTILE
    assert page.locator("script").count() == 0 and page.locator("img[src=x]").count() == 0
    assert len(page.locator(".reasons dd").nth(1).text_content()) < 300


@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_hangs_over_the_side(visit, url, width, scheme):
    page = visit(url, width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 29)"
    assert dark == (scheme == "dark")


def test_on_paper_all_of_it_is_there(visit, url):
    page = visit(url)
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden()
    assert page.locator(".sheet img").last.is_visible() and page.locator(".reasons dd").last.is_visible()


def test_a_full_run_without_quarantine_and_negatives(visit, write, taxonomy):
    tables, counts = make(taxonomy, [photo for photo in PHOTOS if photo[2] == "welding"])
    page = visit(write("full", tables, counts.assign(wanted=counts["got"])))
    assert "Every split is full." in page.inner_text(".verdict")
    assert "Nothing is wrong with any file." in page.inner_text(".verdict")
    assert "every file could be used" in page.inner_text("#quarantine")
    assert page.get_by_text("nothing to report").count() == 0
    assert page.locator(".short").count() == 0


def test_a_split_without_a_photo(visit, write, taxonomy):
    tables, counts = make(taxonomy, [photo for photo in PHOTOS if photo[3] != "grpo"])
    page = visit(write("empty", tables, counts))
    assert cells(page, "Photos of each label and split", "welding")[3:6] == ["0", "0", "0"]


def test_no_photo_at_all(visit, write, taxonomy):
    tables, counts = make(taxonomy, [photo for photo in PHOTOS if photo[0] == "left"])
    page = visit(write("nothing", tables, counts))
    assert page.inner_text("h1") == "0 of 1 photos"
    assert "No photos are shown." in page.inner_text("#sheets")


def test_a_leak_is_said_at_once(visit, write, taxonomy):
    photos = [(*photo[:5], "w0" if photo[0] == "w4" else None) for photo in PHOTOS]
    tables, counts = make(taxonomy, photos)
    page = visit(write("leak", tables, counts))
    assert "Photos that look alike are in more than one split" in page.inner_text(".verdict")
    notice = "2 of the chosen photos look like one of another split"
    assert notice in page.inner_text("#sizes .notice")


def test_turned_photos_whose_boxes_may_be_turned_wrongly_are_counted(visit, write, url, taxonomy):
    assert visit(url).get_by_text("cannot be told").count() == 0  # a quarter turn of 1000 x 500 can be seen
    tables, counts = make(taxonomy)
    page = visit(write("square", replace(tables, split=tables.split.assign(stored_width=500)), counts))
    assert "1 of the turned photos is as wide and high before as after" in page.inner_text("#sizes")


def test_a_photo_is_counted_once_though_its_name_begins_as_a_formula_does(render, taxonomy):
    tables, counts = make(taxonomy)
    tables = replace(tables, manifest=tables.manifest.assign(photo="=line/" + tables.manifest["photo"]))
    row = Rejected("truncated", "12 bytes are missing").row("=line/left.jpg")
    rejected = replace(tables, photo_quarantine=pd.DataFrame([row]))
    assert "11.1&#8239;% of 9</span>" in render(rejected, counts, 0)


def test_a_photo_that_is_not_there_is_an_error(taxonomy, tmp_path):
    tables, counts = make(taxonomy)
    params = DataPageParams(photos_per_label=1, examples=1, files=FILES)
    with pytest.raises(FileNotFoundError, match=r"\.jpg"):
        render_data_page(tables, PhotoFolder(tmp_path), taxonomy, counts, SETTINGS, params)
