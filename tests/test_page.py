"""The report page in Chromium, on photos drawn here."""

import io
import json
import re
import unicodedata
from urllib.parse import quote

import pandas as pd
import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from lng_kedro.page import render_page, to_script
from lng_kedro.taxonomy import Label, Taxonomy

FIELDS = {
    "tank_type": "B",
    "location": "Outside",
    "sub_location": "Support",
    "part": "Joint",
    "quality": "Defective",
}
BOX = [100, 140, 260, 300]
BESIDE = [196, 140, 356, 300]
"""IoU with BOX: 64 / 256 = 0.25."""
GREEN = (0x16, 0xA3, 0x4A)
HTML_LABEL = '<b>&"label'
HOSTILE = '</script><img src=x onerror="window.hacked = 1">\u2028[{"label":"<i>"}]<!--'
KOREAN = unicodedata.normalize("NFD", "균열 #1 50%")
HTML_ID = "a<b>&'\"c?d"
PLAIN = [f"plain_{i:02}" for i in range(32)]


def thing(label="crack", bbox=BOX, **other):
    return {"label": label, "bbox": bbox, **FIELDS, **other}


def scored(*things):
    return [{**item, "score": -0.5 * (i + 1)} for i, item in enumerate(things)]


PHOTOS = {
    # id -> label, truth, what SFT+GRPO says, its text or None for the JSON of that
    "right": ("crack", [thing()], [thing()], None),
    "field": ("crack", [thing()], [thing(part="Cable")], None),
    "misnamed": ("crack", [thing()], [thing("scratch")], None),
    "misplaced": ("crack", [thing()], [thing(bbox=BESIDE)], None),
    "missed": ("crack", [thing(), thing("cutting", [300, 300, 400, 400])], [], None),
    "false": (None, [], [thing("scratch")], None),
    "empty": (None, [], [], None),
    "broken": ("crack", [thing()], [], '[{"label":"crack"'),
    "hostile": ("crack", [thing()], [{**dict.fromkeys(FIELDS), "label": None, "bbox": None}], HOSTILE),
    KOREAN: ("scratch", [thing("scratch")], [thing("scratch")], None),
    HTML_ID: (HTML_LABEL, [thing(HTML_LABEL)], [thing(HTML_LABEL)], None),
    **{name: ("welding", [thing("welding")], [thing("welding")], None) for name in PLAIN},
}
KINDS = {
    # kind of mistake -> photos with it, in the order of the test split
    "right": ["right", KOREAN, HTML_ID, *PLAIN],
    "wrong field": ["field"],
    "misnamed": ["misnamed"],
    "misplaced": ["misplaced"],
    "missed": ["missed", "broken", "hostile"],
    "false": ["false", "hostile"],
    "broken JSON": ["broken", "hostile"],
}
BATCH = 24


@pytest.fixture(scope="module")
def odd_taxonomy(taxonomy):
    odd = Label(name=HTML_LABEL, defective_id=9902)
    return Taxonomy(**{**taxonomy.model_dump(), "labels": [*taxonomy.labels, odd]})


def answers(objects, texts):
    return pd.DataFrame(
        {
            "photo_id": list(PHOTOS),
            "text": [
                text or f"<think>x</think><answer>{json.dumps(found)}</answer>"
                for found, text in zip(objects, texts, strict=True)
            ],
            "objects": [json.dumps(scored(*o)) for o in objects],
            "valid_json": [t is None for t in texts],
            "schema_true": [t is None for t in texts],
            "n_tokens": 7,
            "finished": True,
        }
    )


@pytest.fixture(scope="module")
def content(odd_taxonomy):
    """Arguments of `render_page`: base says nothing anywhere, in no valid JSON."""
    labels, truths, said, texts = zip(*PHOTOS.values(), strict=True)
    samples = {"photo_id": list(PHOTOS), "photo_label": labels, "ground_truth": map(json.dumps, truths)}
    names = [*odd_taxonomy.label_names]
    matrix = [[10 * i + j for j in range(len(names) + 1)] for i in range(len(names) + 1)]
    quality = {"values": ["Good", "Defective"], "matrix": [[5, 0, 1], [2, 7, 0], [0, 3, 0]]}
    figures = {"map_50": 0.5, "f1_label": 0.25, "valid_json": 0.95}
    table = pd.DataFrame({"stage": ["Base", "SFT"], "mAP@50": [1.25, 60.0], "note": ["", "<i>"]})
    history = pd.DataFrame({"step": [1, 2, 3], "loss": [3.0, 2.0, 1.5]})
    return {
        "model": "<model>",
        "taxonomy": odd_taxonomy,
        "tables": {"Table III": table},
        "histories": {"sft": history},
        "samples": pd.DataFrame(samples),
        "predictions": {
            "base": answers([[] for _ in PHOTOS], ["nothing"] * len(PHOTOS)),
            "sft_grpo": answers(said, texts),
        },
        "metrics": {
            "base": {"metrics": figures, "confusion": {"quality": quality}},
            "sft_grpo": {
                "metrics": figures,
                "intervals": {"map_50": [0.4, 0.6]},
                "labels": {"crack": {"ap_50": 0.5, "n_true": 9}},
                "confusion": {"label": {"values": names, "matrix": matrix}, "quality": quality},
            },
        },
        "photos": "../photos%20of%20all",
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    (folder / "photos of all").mkdir()
    (folder / "report").mkdir()
    photo = Image.new("RGB", (512, 512), "black")
    ImageDraw.Draw(photo).rectangle(BOX, fill="white")
    for photo_id in PHOTOS:
        photo.save(folder / "photos of all" / f"{photo_id}.jpg")
    return folder


@pytest.fixture(scope="module")
def write(folder, content):
    """Writes a page with some arguments changed; gives its URL."""

    def do(name="page", **changes):
        path = folder / "report" / f"{name}.html"
        path.write_text(render_page(**(content | changes)), encoding="utf-8")
        return path.as_uri()

    return do


@pytest.fixture(scope="module")
def url(write):
    return write()


def listed(page):
    return page.eval_on_selector_all(".card > a", "links => links.map(link => link.dataset.photo)")


def status(page):
    return int(re.match(r"(\d+) of 43 photos", page.inner_text("#status"))[1])


def test_of_which_answers_the_figures_are(content):
    assert "figures of unconstrained answers" in render_page(**content)
    metrics = {"sft": {**content["metrics"]["base"], "about": {"constrained": True}}}
    assert "figures of constrained answers" in render_page(**(content | {"metrics": metrics}))
    assert "answers;" not in render_page(**(content | {"metrics": {}}))


def test_boxes_lie_on_the_photo_to_the_pixel(visit, url):
    page = visit(f"{url}#photo=right")
    page.evaluate("document.querySelector('dialog img').decode()")
    photo = page.locator("dialog .photo")
    frame = photo.bounding_box()
    scale = frame["width"] / 512
    pixels = Image.open(io.BytesIO(photo.screenshot())).convert("RGB")
    left, top, right, bottom = (round(scale * v) for v in BOX)
    middle = (left + right) // 2, (top + bottom) // 2
    for x, y in ((left, middle[1]), (right, middle[1]), (middle[0], bottom)):
        near = [pixels.getpixel((x + d, y) if x != middle[0] else (x, y + d)) for d in (-1, 0, 1)]
        assert any(max(abs(a - b) for a, b in zip(pixel, GREEN, strict=True)) < 40 for pixel in near), (
            x,
            y,
            near,
        )
    assert min(pixels.getpixel(middle)) > 240  # inside, the photo's white rectangle is to be seen
    assert max(pixels.getpixel((left - 12, middle[1]))) < 40


@pytest.mark.parametrize(("kind", "expected"), KINDS.items())
def test_a_kind_of_mistake_is_chosen(visit, url, kind, expected):
    page = visit(url)
    page.get_by_role("radio", name=re.compile(f"{kind} \\d")).check(force=True)
    expect(page.locator("#status")).to_have_text(f"{len(expected)} of 43 photos.")
    assert listed(page)[:BATCH] == expected[:BATCH]


def test_labels_of_truth_and_prediction_are_chosen(visit, url):
    page = visit(url)
    page.select_option("#label", "scratch")
    assert listed(page) == ["misnamed", "false", KOREAN]
    page.select_option("#label", HTML_LABEL)
    assert listed(page) == [HTML_ID]
    page.select_option("#label", "(no label)")
    assert listed(page) == ["hostile"]


def test_label_and_kind_mean_the_same_finding(visit, url):
    page = visit(f"{url}#label=cutting&kind=missed")
    assert listed(page) == ["missed"]
    page.select_option("#label", "scratch")
    assert listed(page) == []


def test_free_text_finds_ids_in_any_unicode_form(visit, url):
    page = visit(url)
    page.fill("#q", unicodedata.normalize("NFC", "균열 #1"))
    assert listed(page) == [KOREAN]
    page.fill("#q", "PLAIN_0")
    assert listed(page) == PLAIN[:10]


def test_counts_are_what_a_choice_then_shows(visit, url):
    page = visit(f"{url}#label=crack&kind=missed")
    for selector in ("#stage", "#label"):
        for index in range(page.locator(f"{selector} option").count()):
            page.select_option(selector, index=index)
            text = page.locator(f"{selector} option").nth(index).text_content()
            assert text.endswith(f"({status(page)})"), text
        page.select_option(selector, index=1)
    for chip in page.locator("#kinds .chip").all():
        chip.locator("input").check(force=True)
        assert int(chip.locator("small").text_content()) == status(page)


def test_lists_are_sorted(visit, url):
    page = visit(url)
    page.select_option("#sort", "mistakes")
    assert listed(page)[:2] == ["missed", "hostile"]
    page.select_option("#stage", "sft_grpo")
    page.select_option("#sort", "score")
    assert listed(page)[0] == "right"
    page.fill("#q", "m")
    assert listed(page) == ["misnamed", "misplaced", "missed", "empty"]  # nothing said: no score, last


def test_cards_come_as_one_scrolls(visit, url):
    page = visit(url)
    assert len(listed(page)) == BATCH
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".card")).to_have_count(len(PHOTOS))
    assert listed(page) == list(PHOTOS)


def test_the_keyboard_is_enough(visit, url):
    page = visit(url)
    page.focus("#q")
    page.keyboard.type("mis")
    page.keyboard.press("Tab")  # to the kinds
    page.keyboard.press("Tab")  # to the first card
    assert page.evaluate("document.activeElement.dataset.photo") == "misnamed"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    title, dialog = page.locator("#detail-title .id"), page.locator("#detail")
    expect(title).to_have_text("misnamed")
    for key, expected in (
        ("Right", "misplaced"),
        ("Right", "missed"),
        ("Right", "missed"),
        ("Left", "misplaced"),
    ):
        page.keyboard.press(f"Arrow{key}")
        expect(title).to_have_text(expected)
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.dataset.photo") == "misplaced"
    assert page.evaluate("location.hash") == "#q=mis"


def test_a_click_opens_and_the_back_button_closes(visit, url):
    page = visit(url)
    page.locator(".card .photo").nth(2).click()
    expect(page.locator("#detail-title .id")).to_have_text("misnamed")
    assert page.locator("dialog .verdicts").inner_text().split("\n") == [
        "1",
        "✎ misnamed scratch",
        "truth crack; IoU\u00a01.00; score\u00a061\u202f%",
    ]
    page.go_back()
    expect(page.locator("#detail")).to_be_hidden()


def test_a_view_goes_into_its_address_and_back(visit, url):
    page = visit(url)
    page.select_option("#stage", "base")
    page.select_option("#beside", "sft_grpo")
    page.select_option("#label", HTML_LABEL)
    page.select_option("#sort", "mistakes")
    page.get_by_role("radio", name=re.compile("broken JSON")).check(force=True)
    page.fill("#q", "<b>&'")
    page.locator(".card > a").click()
    page.select_option("#matrix-field", "quality", force=True)
    state = page.evaluate("state")
    assert state["photo"] == HTML_ID
    other = visit(page.url)
    assert other.evaluate("state") == state
    expect(other.locator("#detail-title .id")).to_have_text(HTML_ID)
    assert listed(other) == [HTML_ID]
    assert other.input_value("#label") == HTML_LABEL


def test_an_address_of_another_report_does_no_harm(visit, url):
    page = visit(f"{url}#stage=x&beside=y&label=z&kind=k&sort=s&matrix=m&field=f&photo=gone&more=1")
    expect(page.locator("#status")).to_have_text("43 of 43 photos. There is no photo gone.")


def test_a_link_may_have_been_normalised_on_its_way(visit, url):
    page = visit(f"{url}#photo={quote(unicodedata.normalize('NFC', KOREAN))}&matrix=constructor")
    expect(page.locator("#detail-title .id")).to_have_text(KOREAN)


def test_two_stages_stand_side_by_side(visit, url):
    page = visit(url)
    page.select_option("#beside", "base")
    sides = page.locator(".card").first.locator(".side")
    assert [side.get_attribute("data-stage") for side in sides.all()] == ["sft_grpo", "base"]
    first, second = (side.bounding_box() for side in sides.all())
    assert first["y"] == second["y"] and first["x"] + first["width"] <= second["x"]
    assert "right crack" in sides.nth(0).text_content()
    assert "missed crack" in sides.nth(1).text_content() and "broken JSON" in sides.nth(1).text_content()
    page.select_option("#stage", "base")  # a stage never stands beside itself
    assert page.input_value("#beside") == ""


def test_hostile_text_stays_text(visit, url):
    page = visit(f"{url}#photo=hostile")
    shown = page.locator("dialog pre").first.text_content()
    assert re.sub(r"\s", "", shown) == re.sub(r"\s", "", HOSTILE)
    assert "(no label)" in page.locator("dialog .verdicts").inner_text()
    assert "no box" in page.locator("dialog .verdicts").inner_text()
    assert page.locator("img[src='x']").count() == 0
    assert page.locator("h1").inner_text() == "<model>"


@pytest.mark.parametrize("photo_id", [KOREAN, HTML_ID])
def test_photos_with_odd_names_are_found(visit, url, photo_id):
    page = visit(f"{url}#photo={quote(photo_id)}")
    page.evaluate("document.querySelector('dialog img').decode()")
    assert page.evaluate("document.querySelector('dialog img').naturalWidth") == 512
    assert page.locator("#missing").is_hidden()


def test_the_answer_is_laid_out_and_nothing_but_white_space_added(visit, url):
    page = visit(url)
    report = '<answer>[{"label":"a, [{\\"b","bbox":[1,2, 3,4],"x":{}},{"y":[]}]</answer>, {and} [so on]'
    laid = page.evaluate("pretty", report)
    assert re.sub(r"\s", "", laid) == re.sub(r"\s", "", report)
    assert '\n    "bbox":[1,2, 3,4],\n' in laid and '"a, [{\\"b"' in laid
    for text in ("", "[]", '[{"label": "cut', "no [report", '[{]}"', HOSTILE):
        assert re.sub(r"\s", "", page.evaluate("pretty", text)) == re.sub(r"\s", "", text)


def test_boxes_are_drawn_where_photos_are_missing(visit, write):
    page = visit(write("alone", photos="../nowhere"))
    page.locator(".card").first.scroll_into_view_if_needed()
    expect(page.locator("#missing")).to_be_visible()
    assert "/nowhere" in page.locator("#missing").inner_text()
    assert page.locator(".card").first.locator(".box").count() == 2


@pytest.mark.parametrize("view", ["", "#beside=base", "#photo=hostile", "#beside=base&photo=missed"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_up_and_down(visit, url, view, scheme):
    page = visit(url + view, width=360, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.getElementById('detail').scrollWidth") <= 360
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 29)"
    assert dark == (scheme == "dark")


def test_a_matrix_is_chosen_and_its_headers_stay(visit, url):
    page = visit(url, width=360)
    rows = page.locator("#matrix tbody tr")
    assert rows.count() == 17
    assert rows.nth(1).locator("td").nth(2).inner_text() == "12"
    assert rows.nth(16).locator("th").inner_text() == "none"
    box = page.locator(".matrix")
    box.evaluate("box => box.scrollTo(200, 300)")
    for header in ("#matrix thead th:nth-child(9)", "#matrix tbody tr:nth-child(12) th"):
        place, frame = page.locator(header).bounding_box(), box.bounding_box()
        assert place["y"] >= frame["y"] and place["x"] >= frame["x"]
    page.select_option("#matrix-field", "quality")
    assert rows.nth(1).inner_text().split() == ["Defective", "2", "7", "0"]
    page.select_option("#matrix-stage", "base")
    assert page.locator("#matrix-field option").all_inner_texts() == ["quality"]


def test_a_figure_leads_to_its_photos(visit, url):
    page = visit(url)
    page.locator(".outcomes tbody tr").nth(1).locator(".k-wrong-field").click()
    assert listed(page) == ["field"]
    page.get_by_role("link", name="Tables").click()  # a section is no view: the choice stays
    assert page.evaluate("location.hash") == "#stage=sft_grpo&kind=wrong+field"
    assert page.evaluate("Math.abs(document.getElementById('tables').getBoundingClientRect().top) < 20")


def test_header_tables_curves_and_bars(visit, url):
    page = visit(url)
    header = page.locator("header").inner_text()
    assert "43 test photos, 42 objects" in header
    assert "SFT+GRPO reports 35 of 42 objects right in every field (83\u202f%), misses 4 and adds 2" in header
    assert "2 of its 43 answers are broken JSON" in header
    assert "40.0 to 60.0" in header
    assert page.locator("td.best").all_inner_texts() == ["60.00"]
    assert page.locator(".figures-table tbody th").all_inner_texts() == ["Base", "SFT"]
    assert page.get_by_role("cell", name="<i>").count() == 1
    assert page.get_by_role("img", name="SFT: loss: 3.000 at step 1, 1.500 at step 3").count() == 1
    fill = page.locator("#bars-1 .fill").bounding_box()
    track = page.locator("#bars-1 .bar").bounding_box()
    assert fill["width"] == pytest.approx(track["width"] / 2, abs=1)
    assert page.locator("#bars-2 .whisker").count() == 0


def test_the_best_of_our_figures_is_marked(visit, write):
    table = pd.DataFrame(
        {
            "model": ["a", "a", "b", "b"],
            "figures": ["ours", "paper", "ours", "paper"],
            "mAP@50": ["1.00 → 60.00", "9 → 99", "2.00 → 50.00", ""],
            "F1": ["70.0 ± 2.1", "", "71.0 ± 1.0", ""],
            "to fill": ["", "", "kedro run", ""],
        }
    )
    page = visit(write("texts", tables={"Table II": table}))
    assert page.locator("td.best").all_inner_texts() == ["1.00 → 60.00", "71.0 ± 1.0"]


def test_on_paper_there_are_no_controls(visit, url):
    page = visit(url)
    page.emulate_media(media="print")
    assert page.locator("#filters").is_hidden() and page.locator(".card").first.is_visible()


def test_an_empty_test_split(visit, write, content):
    none = {stage: table.head(0) for stage, table in content["predictions"].items()}
    page = visit(write("empty", samples=content["samples"].head(0), predictions=none, metrics={}))
    assert "The test split holds no photo" in page.inner_text("#photos")
    assert page.locator("#filters").is_hidden()


def test_nothing_evaluated_yet(visit, write):
    page = visit(write("bare", tables={}, histories={}, predictions={}, metrics={}))
    assert "No stage has been evaluated" in page.inner_text("#photos")


def test_predictions_without_metrics(visit, write):
    page = visit(write("partly", metrics={"base": {}, "sft_grpo": {"metrics": {}}}))
    assert len(listed(page)) == BATCH
    assert page.locator("#confusion, #bars-1, .figures").count() == 0


def test_predictions_of_another_split_are_refused(write, content):
    fewer = content["predictions"] | {"base": content["predictions"]["base"].head(3)}
    with pytest.raises(KeyError, match="not in index"):
        write("other", predictions=fewer)


def test_data_survive_the_script_element():
    data = {"a": [HOSTILE, "\u2029", KOREAN]}
    text = to_script(data)
    assert "<" not in text and "\u2028" not in text
    assert json.loads(text) == data
