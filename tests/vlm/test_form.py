"""Where in an answer a text is, counted by hand."""

import pytest

from lng_kedro.geometry import Frame
from lng_kedro.taxonomy import Label, Taxonomy
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.form import Form
from lng_kedro.vlm.grammar import coordinates

LABELS = Taxonomy(labels=(Label(name="a", defective_id=1), Label(name="abc", defective_id=2)), fields={})
BYTES = {bytes([byte]) for byte in range(256)}
OPEN, BOX = '[{"label":"', '","bbox":['


def dialogue(reasoning=False):
    return Dialogue(taxonomy=LABELS, frame=Frame(12, 3), reasoning=reasoning)


def room_behind(form, text):
    place = form.after(form.start, text.encode())
    return None if place is None else form.room(place)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("", "[]"),
        ("[", "]"),
        ("[]", ""),
        # Of what comes next the longest counts: abc, and numbers of two digits along x, where these need not
        # be greater than others yet.
        ("[{", f"{OPEN[2:]}abc{BOX}11,2,12,3]}}]"),
        (f"{OPEN}ab", f"c{BOX}11,2,12,3]}}]"),
        # A label that is whole may go on, and need not.
        (f"{OPEN}a", f"{BOX}11,2,12,3]}}]"),
        (f"{OPEN}a{BOX}", "11,2,12,3]}]"),
        (f"{OPEN}a{BOX}1", ",2,12,3]}]"),
        # Greater than 0 is a number of one digit, greater than 9 none; 1 has to go on there.
        (f"{OPEN}a{BOX}0,1,", "12,3]}]"),
        (f"{OPEN}a{BOX}0,1,1", ",3]}]"),
        (f"{OPEN}a{BOX}10,1,1", "1,3]}]"),
        (f"{OPEN}a{BOX}10,1,12,", "3]}]"),
        (f"{OPEN}a{BOX}10,1,12,3]", "}]"),
        (f"{OPEN}a{BOX}10,1,12,3]}}", "]"),
        # Another finding, whatever it will say.
        (f"{OPEN}a{BOX}10,1,12,3]}},", f"{OPEN[1:]}abc{BOX}11,2,12,3]}}]"),
    ],
)
def test_bytes_that_are_left(text, rest):
    assert room_behind(Form(dialogue(), BYTES), text) == len(rest) + 1  # the end token


@pytest.mark.parametrize("text", ["x", "[ ", f"{OPEN}b", f"{OPEN}a{BOX}12,", f"{OPEN}a{BOX}0,3", "[]]"])
def test_what_is_no_answer(text):
    assert room_behind(Form(dialogue(), BYTES), text) is None


@pytest.mark.parametrize(
    ("box", "good"),
    [
        ("2,1,3,2]", True),
        ("2,1,2", False),
        ("2,1,1", True),  # 10, 11, 12
        ("2,1,1,", False),
        ("2,1,12,2]", True),
        ("11,1,1", True),
        ("11,1,11", False),
        ("2,1,3,1", False),
        ("2,1,3,2", True),
        ("2,1,13", False),
    ],
)
def test_boxes_open_to_the_right_and_down(box, good):
    form = Form(dialogue(), BYTES)
    assert (room_behind(form, f"{OPEN}a{BOX}{box}") is not None) == good
    # In one token as in many.
    place = form.after(form.start, f"{OPEN}a{BOX}".encode())
    for byte in box.encode():
        place = place and form.after(place, bytes([byte]))
    assert (place is not None) == good


def test_a_second_box_is_not_compared_with_the_first():
    box = "10,1,12,3]"
    assert room_behind(Form(dialogue(), BYTES), f"{OPEN}a{BOX}{box}}},{OPEN[1:]}a{BOX}0,0,1,1]}}]") == 1


def test_longer_tokens_need_less_room():
    tokens = BYTES | {OPEN.encode(), BOX.encode(), b"abc", b"]}]", b"10", b"11", b"12"}
    form = Form(dialogue(), tokens)
    # [{"label":" abc ","bbox":[ 11 , 2 , 12 , 3 ]}] and the end
    assert form.least_room == 12
    assert Form(dialogue(), tokens, lead=True).least_room == 13
    # Begun in smaller pieces, a part needs the smaller pieces.
    assert room_behind(form, OPEN[:-2]) == 2 + 11


def test_reasoning_leaves_room_for_a_finding():
    form = Form(dialogue(reasoning=True), BYTES)
    report = f"{OPEN}abc{BOX}11,2,12,3]}}]</answer>"
    after = len(f"</think><answer>{report}") + 1
    assert room_behind(form, "<think>") == after
    assert room_behind(form, "<think>any text, {[") == after
    assert room_behind(form, "<think>any</th") == after - 4
    assert room_behind(form, "<think>any</x") is None
    assert room_behind(form, "<think></think><answer>[]</answer>") == 1
    assert form.least_room == len("<think>") + after


@pytest.mark.parametrize(
    ("text", "missing"), [(b"\xc3", 1), (b"\xed\x83", 1), (b"\xed", 2), (b"\xf0\x9f", 2)]
)
def test_half_a_character_has_to_be_ended(text, missing):
    form = Form(dialogue(reasoning=True), BYTES)
    place = form.after(form.start, b"<think>" + text)
    assert form.room(place) == form.room(form.after(form.start, b"<think>")) + missing
    assert form.after(place, b"<") is None


def test_a_tokenizer_that_cannot_write_it():
    with pytest.raises(ValueError, match=r"its tokenizer has no token for '\{', which reports need"):
        Form(dialogue(), BYTES - {b"{"})


@pytest.mark.parametrize(
    ("frame", "x_min", "y_max"),
    [
        (Frame(3, 2), [0, 1, 2], [1, 2]),
        (Frame(504.0, 2.0), list(range(504)), [1, 2]),
        (Frame(1, 0.3, decimals=1), [n / 10 for n in range(10)], [0.1, 0.2, 0.3]),
    ],
)
def test_numbers_of_a_frame(frame, x_min, y_max):
    found = coordinates(frame)
    assert (found[0], found[3]) == (x_min, y_max)
    assert {type(n) for n in found[0]} == {float if frame.decimals else int}
    boxes = ((a, b, c, d) for a in (0, 100) for b in (0, 511.9) for c in (101, 512) for d in (511.99, 512))
    encoded = [frame.encode(box) for box in boxes]
    assert all(number in axis for box in encoded for number, axis in zip(box, found, strict=True))
