"""The review page in Chromium, on photos drawn here."""

import io
import re
import unicodedata
from collections import Counter

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import expect

from lng_kedro.imaging import upright_jpeg
from lng_kedro.inspection.colours import label_colours
from lng_kedro.inspection.order import worst_first
from lng_kedro.inspection.review_page import render_review_page
from lng_kedro.quarantine import Rejected
from lng_kedro.taxonomy import Label, Taxonomy
from tests.inspection.reports import FIELDS, finding, report, turned

HTML_LABEL = '<b>&"label'
HOSTILE = "line 3/</script><img src=x onerror='window.hacked=1'>\u2028.jpg"
KOREAN = unicodedata.normalize("NFD", "균열/사진 1.jpg")
BOX = (80, 60, 240, 180)
PLAIN = [f"plain/{i:02}.jpg" for i in range(30)]


def drawn(width=640, height=480, form="JPEG"):
    """Black, with a white rectangle where `BOX` is."""
    image = Image.new("RGB", (width, height))
    ImageDraw.Draw(image).rectangle(BOX, fill="white")
    buffer = io.BytesIO()
    image.save(buffer, form)
    return buffer.getvalue()


PHOTOS = {
    "error.jpg": drawn(),
    "unknown.jpg": drawn(),
    HOSTILE: drawn(),
    "boxed.jpg": drawn(),
    KOREAN: drawn(480, 640, "PNG"),
    "turned.jpg": turned(drawn(), 6),
    "odd.jpg": drawn(),
    **dict.fromkeys(PLAIN, drawn()),
    "empty.jpg": drawn(),
}
"""In the order in which they have to be shown, after the photo that could not be read."""


def reports():
    evil = finding(HTML_LABEL, BOX, 0.1)
    found = [
        report("boxed.jpg", PHOTOS["boxed.jpg"], finding("crack", BOX, 0.2), finding("welding", BOX, 0.9)),
        report("empty.jpg", PHOTOS["empty.jpg"], text="[]"),
        report(KOREAN, PHOTOS[KOREAN], finding("scratch", (5, 6, 400, 500), 0.3, part="Cable")),
        report("turned.jpg", PHOTOS["turned.jpg"], finding("cutting", (10, 20, 300, 400), 0.4)),
        report(HOSTILE, PHOTOS[HOSTILE], evil, text="<img src=x onerror=window.hacked=1>", schema_true=False),
        report("unknown.jpg", PHOTOS["unknown.jpg"], finding("crack", BOX, None)),
        report(
            "odd.jpg",
            PHOTOS["odd.jpg"],
            {**finding(None, None, 0.5), "part": None},
            finished=False,
            schema_true=False,
        ),
        report("error.jpg", PHOTOS["error.jpg"], error={"reason": "engine", "detail": "<i>timed out</i>"}),
        report("a.jpg", PHOTOS["error.jpg"]).model_copy(
            update={
                "width": None,
                "height": None,
                "sha256": None,
                "error": {"reason": "truncated", "detail": "its data end"},
            }
        ),
    ]
    found += [
        report(name, PHOTOS[name], finding("paint peeling", BOX, 0.6 + i / 100))
        for i, name in enumerate(PLAIN)
    ]
    return found


@pytest.fixture(scope="module")
def odd_taxonomy(taxonomy):
    odd = Label(name=HTML_LABEL, defective_id=9902)
    return Taxonomy(**{**taxonomy.model_dump(), "labels": [*taxonomy.labels, odd]})


@pytest.fixture(scope="module")
def write(tmp_path_factory, odd_taxonomy):
    folder = tmp_path_factory.mktemp("page")

    def do(name="page", found=None, read_photo=PHOTOS.__getitem__, mib=8.0):
        pieces = render_review_page(reports() if found is None else found, read_photo, odd_taxonomy, mib)
        path = folder / f"{name}.html"
        with path.open("w", encoding="utf-8", newline="") as file:
            file.writelines(pieces)
        return path

    return do


@pytest.fixture(scope="module")
def url(write):
    return write().as_uri()


def listed(page):
    return page.eval_on_selector_all(".card > a b", "names => names.map(name => name.textContent)")


def status(page):
    return int(re.match(r"(\d+) of 39 photos", page.inner_text("#status"))[1])


def test_a_photo_that_is_another_one_now_is_left_blank(write):
    found = [report(name, PHOTOS["boxed.jpg"], finding()) for name in ("a.jpg", "b.jpg")]
    now = {"a.jpg": PHOTOS["boxed.jpg"], "b.jpg": drawn(2000, 1000)}
    html = write("changed", found, now.__getitem__).read_text(encoding="utf-8")
    assert [bool(jpeg) for jpeg in re.findall('data-jpeg="([^"]*)"', html)] == [True, False]


def test_the_worst_come_first(visit, url):
    page = visit(url)
    assert page.locator("h1").inner_text() == "39 photos, 37 findings"
    assert listed(page) == ["a.jpg", *PHOTOS][:24]
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator(".card")).to_have_count(39)
    assert listed(page) == ["a.jpg", *PHOTOS]


def test_boxes_lie_on_the_photo_to_the_pixel(visit, url, odd_taxonomy):
    page = visit(f"{url}#photo=boxed.jpg")
    page.evaluate("document.querySelector('dialog img').decode()")
    photo = page.locator("dialog .photo")
    frame = photo.bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(4 / 3, abs=0.01)
    scale = frame["width"] / 640
    pixels = Image.open(io.BytesIO(photo.screenshot())).convert("RGB")
    colour = bytes.fromhex(label_colours(odd_taxonomy)["welding"][1:])  # drawn after the crack
    left, top, right, bottom = (round(scale * v) for v in BOX)
    middle = (left + right) // 2, (top + bottom) // 2
    for x, y in ((left, middle[1]), (right, middle[1]), (middle[0], bottom)):
        near = [pixels.getpixel((x + d, y) if x != middle[0] else (x, y + d)) for d in (-1, 0, 1)]
        assert any(max(abs(a - b) for a, b in zip(p, colour, strict=True)) < 40 for p in near), (x, y, near)
    assert min(pixels.getpixel(middle)) > 240
    assert max(pixels.getpixel((left - 12, middle[1]))) < 40
    assert photo.locator("svg text").all_text_contents() == ["1 crack 20\u202f%", "2 welding 90\u202f%"]


def test_a_turned_photo_stands_upright(visit, url):
    page = visit(f"{url}#photo=turned.jpg")
    page.evaluate("document.querySelector('dialog img').decode()")
    sides = page.eval_on_selector("dialog img", "i => [i.naturalWidth, i.naturalHeight]")
    assert sides == [480, 640]
    frame = page.locator("dialog .photo").bounding_box()
    assert frame["width"] / frame["height"] == pytest.approx(3 / 4, abs=0.01)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("errors", ["a.jpg", "error.jpg"]),
        ("without findings", ["empty.jpg"]),
        ("not as the schema asks", [HOSTILE, "odd.jpg"]),
        ("cut off", ["odd.jpg"]),
    ],
)
def test_what_is_shown_is_chosen(visit, url, name, expected):
    page = visit(url)
    page.get_by_role("radio", name=re.compile(name)).check(force=True)
    assert listed(page) == expected
    assert status(page) == len(expected)


def test_findings_are_chosen_by_label_fields_and_score_together(visit, url):
    page = visit(url)
    page.select_option("#label", "crack")
    assert listed(page) == ["unknown.jpg", "boxed.jpg"]
    page.fill("#below", "20")  # 20 % is not below; nobody knows the other
    assert listed(page) == ["unknown.jpg"]
    page.fill("#below", "21")
    assert listed(page) == ["unknown.jpg", "boxed.jpg"]
    page.select_option("#label", "welding")  # that finding has 90 %
    assert listed(page) == []
    page.select_option("#label", "")
    page.fill("#below", "")
    page.select_option("#field-part", "Cable")
    assert listed(page) == [KOREAN]
    page.select_option("#field-part", "(none)")
    assert listed(page) == ["odd.jpg"]


def test_counts_are_what_a_choice_then_shows(visit, url):
    page = visit(f"{url}#below=50&f-part=Joint")
    for selector in ("#label", "#field-part", "#field-quality"):
        for index in range(1, page.locator(f"{selector} option").count()):
            page.select_option(selector, index=index)
            text = page.locator(f"{selector} option").nth(index).text_content()
            assert text.endswith(f"({status(page)})"), text
        page.select_option(selector, index=0)
    for chip in page.locator("#kinds .chip").all():
        chip.locator("input").check(force=True)
        assert int(chip.locator("small").text_content()) == status(page)


def test_paths_are_found_in_any_unicode_form(visit, url):
    page = visit(url)
    page.fill("#q", unicodedata.normalize("NFC", "균열/"))
    assert listed(page) == [KOREAN]
    page.fill("#q", "PLAIN/0")
    assert listed(page) == PLAIN[:10]


def test_the_keyboard_is_enough(visit, url):
    page = visit(url)
    page.fill("#q", "o")
    order = listed(page)
    page.focus("#q")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    title, dialog = page.locator("#detail-title b"), page.locator("#detail")
    expect(title).to_have_text(order[0])
    for key, expected in (("Right", 1), ("Right", 2), ("Left", 1)):
        page.keyboard.press(f"Arrow{key}")
        expect(title).to_have_text(order[expected])
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert page.evaluate("document.activeElement.textContent").startswith(order[1])
    assert page.evaluate("location.hash") == "#q=o"


def test_a_view_goes_into_its_address_and_back(visit, url):
    page = visit(url)
    page.select_option("#label", HTML_LABEL)
    page.fill("#below", "30")
    page.get_by_role("radio", name=re.compile("schema")).check(force=True)
    page.locator(".card .photo").click()
    other = visit(page.url)
    assert other.evaluate("state") == page.evaluate("state")
    expect(other.locator("#detail-title b")).to_have_text(HOSTILE)
    assert listed(other) == [HOSTILE]
    page.go_back()
    expect(page.locator("#detail")).to_be_hidden()
    odd = visit(f"{url}#label=x&f-label=x&show=constructor&below=x&photo=gone")
    expect(odd.locator("#status")).to_have_text("39 of 39 photos. There is no photo gone on this page.")


def test_hostile_texts_stay_texts(visit, url):
    page = visit(f"{url}#f-label=%3Cb%3E%26%22label")
    assert page.locator(".card .findings b").inner_text() == HTML_LABEL
    assert page.locator(".card svg text").text_content().startswith(f"1 {HTML_LABEL}")
    page.locator(".card > a").click()
    assert "<img src=x onerror=window.hacked=1>" in page.locator("dialog pre").inner_text()
    assert page.locator("img[src='x']").count() == 0
    page.keyboard.press("Escape")
    page.goto(f"{url}#show=errors")
    page.reload()
    assert "engine, <i>timed out</i>" in page.locator(".card").nth(1).inner_text()


def test_nothing_but_its_own_script_may_run(browser, url):
    page = browser.new_page()
    page.goto(url)
    refused = page.evaluate(
        """async () => {
          const script = document.createElement('script');
          script.textContent = 'window.ran = 1';
          document.body.append(script);
          return [window.ran ?? null, await fetch('data:,x').then(() => 'fetched', () => 'refused')];
        }"""
    )
    assert refused == [None, "refused"]
    page.close()


def test_a_page_that_is_full_says_what_it_leaves_out(visit, write):
    size = len(upright_jpeg(PHOTOS["boxed.jpg"], 640, 72, 640 * 480)) * 4 / 3
    path = write("small", mib=12 * size / 2**20)
    page = visit(path.as_uri())
    shown = len(listed(page))
    assert listed(page) == ["a.jpg", *PHOTOS][:shown] and 5 < shown < 14
    said = page.locator("#left-out").inner_text()
    assert f"holds the {shown} photos" in said and f"{39 - shown} others" in said
    assert page.locator("h1").inner_text().startswith("39 photos")


def test_memory_and_work_are_bounded_by_the_page(odd_taxonomy):
    read = Counter()

    def read_photo(name):
        read[name] += 1
        return PHOTOS[name]

    few = reports()
    many = (few[i % 39].model_copy(update={"photo": f"{i}.jpg"}) for i in range(1000))
    pieces = render_review_page(many, lambda _: read_photo("boxed.jpg"), odd_taxonomy, 0.1)
    first = next(pieces)
    assert "<!doctype html>" in first and read["boxed.jpg"] == 0
    whole = "".join(pieces)
    assert 10 < read["boxed.jpg"] < 60 and whole.count('class="report"') < 40


def test_photos_that_are_gone_are_drawn_as_boxes(visit, write):
    def gone(name):
        if name == "boxed.jpg":
            raise Rejected("unreadable", "cannot be read")
        raise FileNotFoundError(name)

    page = visit(write("gone", read_photo=gone).as_uri() + "#q=boxed")
    assert "could not be read" in page.locator(".card .photo").inner_text()
    assert page.locator(".card .box").count() == 2


@pytest.mark.parametrize("view", ["", "#photo=boxed.jpg", "#show=errors", "#q=line"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_scrolls_only_up_and_down(visit, url, view, scheme):
    page = visit(url + view, width=360, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.getElementById('detail').scrollWidth") <= 360
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 23, 29)"
    assert dark == (scheme == "dark")


def test_on_paper_all_chosen_photos_stand(visit, url):
    page = visit(url)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#filters").is_hidden()
    assert page.locator(".card").count() == 39


def test_no_report_at_all(visit, write):
    page = visit(write("none", found=[]).as_uri())
    assert page.locator("h1").inner_text() == "0 photos, 0 findings"
    assert page.locator("#status").inner_text() == "0 of 0 photos."


def test_white_text_can_be_read_on_every_colour(taxonomy):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    colours = label_colours(taxonomy)
    assert len(set(colours.values())) == len(taxonomy.label_names)
    assert all(1.05 / (luminance(c) + 0.05) >= 4.5 for c in colours.values())


def test_order():
    names = [r.photo for r in sorted(reports(), key=worst_first)]
    assert names == ["a.jpg", *PHOTOS]
    assert FIELDS["part"] == "Joint"
