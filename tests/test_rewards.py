import json
import pickle
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lng_kedro.geometry import Frame
from lng_kedro.report import to_json
from lng_kedro.rewards import build_rewards

NAMES = [
    "format_tag",
    "json_validity",
    "schema_compliance",
    "count_consistency",
    "iou_f1",
    "attribute_accuracy",
    "anti_gibberish",
]
READ_TRUTH = ["schema_compliance", "count_consistency", "iou_f1", "attribute_accuracy"]

CRACK = {
    "label": "crack",
    "bbox": [10, 20, 110, 120],
    "tank_type": "B",
    "location": "Inside",
    "sub_location": "Floor",
    "part": "Joint",
    "quality": "Good",
}
SCRATCH = CRACK | {"label": "scratch", "bbox": [200, 210, 300, 310], "quality": "Defective"}
FAR = CRACK | {"bbox": [400, 400, 450, 450]}
HALF = CRACK | {"bbox": [10, 20, 110, 70]}  # IoU 5,000 / 10,000 with CRACK
LESS = CRACK | {"bbox": [10, 20, 110, 69]}  # IoU 4,900 / 10,000
UNBOXED = {key: value for key, value in CRACK.items() if key != "bbox"}
RUST = CRACK | {"label": "rust"}


def without(item, *keys):
    return {key: value for key, value in item.items() if key not in keys}


def said(objects, thought="t"):
    return f"<think>{thought}</think><answer>{json.dumps(objects)}</answer>"


@pytest.fixture(scope="module")
def rewards(taxonomy):
    return build_rewards(taxonomy)


def score(rewards, name, completion, truth=()):
    (value,) = rewards[name]([completion], [json.dumps(list(truth))])
    return value


def scores(rewards, completion, truth=()):
    return {name: score(rewards, name, completion, truth) for name in rewards}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>a</think><answer>[]</answer>", 1),
        (" \n<think>a\nb</think>\n\n<answer>\n[]\n</answer>\n", 1),
        ("<think></think><answer></answer>", 1),
        ("<think>a</think><answer>not JSON</answer>", 1),
        ("", 0),
        ("[]", 0),
        ("<answer>[]</answer>", 0),
        ("<think>a</think>", 0),
        ("<think>a</think>[]", 0),
        ("<answer>[]</answer><think>a</think>", 0),
        ("<think>a</think> so: <answer>[]</answer>", 0),
        ("Sure. <think>a</think><answer>[]</answer>", 0),
        ("<think>a</think><answer>[]</answer> Done.", 0),
        ("<think>a</think><answer>[]", 0),
        ("<think>a<answer>[]</answer>", 0),
        ("<think>a<answer>[]</answer></think>", 0),
        ("<think>a<answer>[]</think></answer>", 0),
        ("<think>a</think><think>b</think><answer>[]</answer>", 0),
        ("<think>a</think><answer>[]</answer><answer>[]</answer>", 0),
        ("<think><think>a</think></think><answer>[]</answer>", 0),
        ("<think>a</think></think><answer>[]</answer>", 0),
        ("<think>I write <answer> next</think><answer>[]</answer>", 0),
        ("<THINK>a</THINK><ANSWER>[]</ANSWER>", 0),
        ("<think >a</think><answer>[]</answer>", 0),
    ],
)
def test_format_tag(rewards, text, expected):
    assert score(rewards, "format_tag", text) == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("[]", 1),
        ("\n[ ]\n", 1),
        ("[1, null]", 1),
        (json.dumps([CRACK, SCRATCH]), 1),
        (json.dumps([CRACK], indent=2), 1),
        ("", 0),
        ("none", 0),
        ("{}", 0),
        ('"[]"', 0),
        (json.dumps(CRACK), 0),
        ("```json\n[]\n```", 0),
        ("[] That is all.", 0),
        ("Report: []", 0),
        ("[][]", 0),
        ("[NaN]", 0),
        ("[-Infinity]", 0),
        ("[1,]", 0),
        ("['a']", 0),
        ("[1", 0),
        ("[01]", 0),
        ("[True]", 0),
        (json.dumps([CRACK])[:-1], 0),
    ],
)
def test_json_validity(rewards, answer, expected):
    assert score(rewards, "json_validity", f"<think>t</think><answer>{answer}</answer>") == expected


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ([], [], 1),
        ([], [CRACK], 0),
        ([CRACK], [CRACK], 1),
        ([FAR, SCRATCH], [CRACK], 1),
        ([CRACK], [], 1),
        ([RUST], [CRACK], 6 / 7),
        ([UNBOXED], [CRACK], 6 / 7),
        ([without(CRACK, "part", "quality")], [CRACK], 5 / 7),
        ([CRACK | {"bbox": [10, 20, 513, 120]}], [CRACK], 6 / 7),
        ([CRACK | {"bbox": [-1, 20, 110, 120]}], [CRACK], 6 / 7),
        ([CRACK | {"bbox": [110, 20, 10, 120]}], [CRACK], 6 / 7),
        ([CRACK | {"bbox": [10, 120, 110, 20]}], [CRACK], 6 / 7),
        ([CRACK | {"bbox": ["10", 20, 110, 120]}], [CRACK], 6 / 7),
        ([{"label": "crack"}], [CRACK], 1 / 7),
        ([CRACK, {}], [CRACK], 1 / 2),
        ([CRACK, RUST, {}], [CRACK], (1 + 6 / 7 + 0) / 3),
        ([1, "crack", None], [CRACK], 0),
        (CRACK, [CRACK], 0),
    ],
)
def test_schema_compliance(rewards, predicted, truth, expected):
    assert score(rewards, "schema_compliance", said(predicted), truth) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("n_predicted", "n_true", "expected"),
    [
        (0, 0, 1),
        (0, 1, 0),
        (0, 3, 0),
        (3, 0, 0),
        (2, 2, 1),
        (1, 2, 1 / 2),
        (2, 1, 1 / 2),
        (3, 2, 2 / 3),
        (5, 1, 1 / 5),
        (4, 5, 4 / 5),
    ],
)
def test_count_consistency(rewards, n_predicted, n_true, expected):
    value = score(rewards, "count_consistency", said([FAR] * n_predicted), [CRACK] * n_true)
    assert value == pytest.approx(expected)


def test_count_consistency_counts_ill_formed_objects(rewards):
    assert score(rewards, "count_consistency", said([CRACK, {}, 5]), [CRACK]) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ([], [], 1),
        ([], [CRACK], 0),
        ([CRACK], [], 0),
        ([CRACK], [CRACK], 1),
        ([SCRATCH, CRACK], [CRACK, SCRATCH], 1),
        ([HALF], [CRACK], 1),
        ([LESS], [CRACK], 0),
        ([FAR], [CRACK], 0),
        ([CRACK | {"label": "scratch"}], [CRACK], 0),
        ([RUST], [CRACK], 0),
        ([UNBOXED], [CRACK], 0),
        ([{"label": "crack", "bbox": [10, 20, 110, 120]}], [CRACK], 1),
        ([CRACK], [CRACK, SCRATCH], 2 / 3),  # precision 1, recall 1/2
        ([CRACK, CRACK], [CRACK], 2 / 3),  # precision 1/2, recall 1
        ([CRACK, HALF, LESS], [CRACK], 2 / 4),  # precision 1/3, recall 1
        ([CRACK, FAR], [CRACK], 2 / 3),
        ([CRACK, UNBOXED], [CRACK], 2 / 3),
        ([CRACK, 5], [CRACK], 2 / 3),
        ([CRACK, CRACK], [CRACK, CRACK], 1),
        ([CRACK, FAR], [CRACK, SCRATCH], 1 / 2),  # precision 1/2, recall 1/2
    ],
)
def test_iou_f1(rewards, predicted, truth, expected):
    assert score(rewards, "iou_f1", said(predicted), truth) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("predicted", "truth", "expected"),
    [
        ([], [], 1),
        ([], [CRACK], 0),
        ([CRACK], [], 0),
        ([CRACK], [CRACK], 1),
        ([HALF], [CRACK], 1),
        ([LESS], [CRACK], 0),
        ([CRACK | {"label": "scratch"}], [CRACK], 1),
        ([RUST], [CRACK], 1),
        ([UNBOXED], [CRACK], 0),
        ([CRACK | {"tank_type": "C", "quality": "Defective"}], [CRACK], 3 / 5),
        ([without(CRACK, "location")], [CRACK], 4 / 5),
        ([CRACK | {"part": "Pipe"}], [CRACK], 4 / 5),
        ([{"bbox": [10, 20, 110, 120]}], [CRACK], 0),
        ([SCRATCH, CRACK], [CRACK, SCRATCH], 1),
        ([CRACK, SCRATCH | {"quality": "Good"}], [CRACK, SCRATCH], 9 / 10),
        ([CRACK | {"part": "Cable"}, FAR], [CRACK], 4 / 5),
        ([CRACK], [CRACK, SCRATCH], 1),
    ],
)
def test_attribute_accuracy(rewards, predicted, truth, expected):
    assert score(rewards, "attribute_accuracy", said(predicted), truth) == pytest.approx(expected)


def test_material_counts_where_the_data_carry_it(taxonomy):
    rewards = build_rewards(taxonomy.with_data_values({"material": ["steel", "foam"]}))
    truth = [CRACK | {"material": "steel"}]
    assert scores(rewards, said(truth), truth) == dict.fromkeys(NAMES, 1)
    wrong = said([CRACK | {"material": "foam"}])
    assert score(rewards, "attribute_accuracy", wrong, truth) == pytest.approx(5 / 6)
    assert score(rewards, "schema_compliance", wrong, truth) == 1
    assert score(rewards, "attribute_accuracy", said([CRACK]), truth) == pytest.approx(5 / 6)
    assert score(rewards, "schema_compliance", said([CRACK]), truth) == pytest.approx(7 / 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        (" \n\t", 0),
        ("I see a crack.", 0),
        ("<think>t</think><answer>[]</answer>", 1),
        ("  <think>t</think>\n\n<answer>[]</answer>  ", 1),
        ("<think>t</think><answer>[]", 1),
        # 35 characters of report, 5 outside
        ("<think>t</think><answer>[]</answer>junk!", 35 / 40),
        ("junk!<think>t</think><answer>[]</answer>", 35 / 40),
        ("<think>t</think> ju nk! <answer>[]</answer>", 35 / 40),
        ("<answer>[]</answer>", 1),
        ("<answer>[]</answer>" + "x y z " * 2, 19 / 25),
        # of two answers the last is read; 19 of the 54 characters are the other
        ("<think>t</think><answer>[]</answer><answer>[]</answer>", 35 / 54),
        # an answer within the thought hides nothing: 35 inside, 35 outside
        ("<think>t<answer>[]</answer></think>" + "abcdefg" * 5, 35 / 70),
        ("<answer>[]<think>t</think></answer>" + "abcdefg" * 5, 35 / 70),
        ("</think>t<think><answer>[]</answer>", 19 / 35),
        # one of 36 characters cannot be printed
        ("<think>t\x00</think><answer>[]</answer>", 35 / 36),
        ("<think>t\ufffd</think><answer>[]</answer>", 35 / 36),
        ("<think>t\ud800</think><answer>[]</answer>", 35 / 36),
        # outside and not printable: 35/36 twice
        ("<think>t</think><answer>[]</answer>\x00", (35 / 36) ** 2),
        ("<think>균열 😀</think>\n<answer>[]</answer>", 1),
        # 5 of 9 words (the tags are 4) are a loop; 4 copies are none
        ("<think>go go go go go</think><answer>[]</answer>", 4 / 9),
        ("<think>go go go go</think><answer>[]</answer>", 1),
        # 10 of 14 words: a loop of two, five times; four times is none
        ("<think>" + "go on " * 5 + "</think><answer>[]</answer>", 4 / 14),
        ("<think>" + "go on " * 4 + "</think><answer>[]</answer>", 1),
        # eight words are the longest loop that is seen: 40 of 44
        ("<think>" + "a b c d e f g h " * 5 + "</think><answer>[]</answer>", 4 / 44),
        ("<think>" + "a b c d e f g h i " * 5 + "</think><answer>[]</answer>", 1),
        # 16 of 50 characters are one character
        ("<think>" + "x" * 16 + "</think><answer>[]</answer>", 34 / 50),
        ("<think>" + "x" * 15 + "</think><answer>[]</answer>", 1),
    ],
)
def test_anti_gibberish(rewards, text, expected):
    assert score(rewards, "anti_gibberish", text) == pytest.approx(expected)


CLEAN_FRAMES = [Frame(), Frame(504, 504), Frame(1000, 1000), Frame(1, 1, decimals=2)]
CORNERS = [[0, 0, 512, 512], [0, 0, 100, 100], [0, 0, 1, 1], [500, 500, 512, 512], [256, 256, 257, 257]]


@pytest.mark.parametrize("frame", CLEAN_FRAMES)
@pytest.mark.parametrize("box", CORNERS)
def test_a_clean_report_is_no_gibberish(taxonomy, frame, box):
    rewards = build_rewards(taxonomy, frame)
    truth = to_json([CRACK | {"bbox": box}] * 6, taxonomy, frame)
    completion = f"<think>6 findings</think><answer>{truth}</answer>"
    assert [reward([completion], [truth]) for reward in rewards.values()] == [[1.0]] * len(NAMES)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", dict.fromkeys(NAMES, 0)),
        # JSON only in the thought: there is no answer to score
        (f"<think>{json.dumps([CRACK])}</think>", dict.fromkeys(NAMES, 0) | {"anti_gibberish": 1}),
        # the thought may hold any JSON, the answer counts
        (
            said([], thought=json.dumps([CRACK])),
            {
                "format_tag": 1,
                "json_validity": 1,
                "schema_compliance": 0,
                "count_consistency": 0,
                "iou_f1": 0,
                "attribute_accuracy": 0,
                "anti_gibberish": 1,
            },
        ),
        (said([CRACK]), dict.fromkeys(NAMES, 1)),
        # a bare report is not in the answer slice
        (json.dumps([CRACK]), dict.fromkeys(NAMES, 0)),
        # answer before think: only the form is wrong
        (
            f"<answer>{json.dumps([CRACK])}</answer><think>t</think>",
            dict.fromkeys(NAMES, 1) | {"format_tag": 0},
        ),
        # a fence: the form of the JSON is wrong, its findings count
        (
            f"<think>t</think><answer>```json\n{json.dumps([CRACK])}\n```</answer>",
            dict.fromkeys(NAMES, 1) | {"json_validity": 0},
        ),
        # cut off within the second object: the first counts
        (
            said([CRACK, SCRATCH])[:-60],
            dict.fromkeys(NAMES, 1) | {"format_tag": 0, "json_validity": 0},
        ),
    ],
)
def test_all_seven_for_one_crack(rewards, text, expected):
    assert scores(rewards, text, [CRACK]) == pytest.approx(expected)


def test_no_report_is_not_an_empty_report(rewards):
    assert scores(rewards, said([])) == dict.fromkeys(NAMES, 1)
    prose = "<think>t</think><answer>nothing to see</answer>"
    silent = {"format_tag": 1, "anti_gibberish": 1}
    assert scores(rewards, prose) == dict.fromkeys(NAMES, 0) | silent
    assert scores(rewards, "[]") == dict.fromkeys(NAMES, 0)


# Defects known from other reward suites.


@pytest.mark.parametrize("name", NAMES)
def test_order_of_objects_does_not_change_a_score(rewards, name):
    false = [FAR | {"bbox": [300, 5 * k, 340, 5 * k + 40]} for k in range(10)]
    first, last = said([CRACK, *false]), said([*false, CRACK])
    assert score(rewards, name, first, [CRACK]) == score(rewards, name, last, [CRACK])


def test_ten_false_boxes_behind_a_hit_are_paid_for(rewards):
    false = [FAR | {"bbox": [300, 5 * k, 340, 5 * k + 40]} for k in range(10)]
    # precision 1/11, recall 1: 2/12
    assert score(rewards, "iou_f1", said([CRACK, *false]), [CRACK]) == pytest.approx(2 / 12)
    assert score(rewards, "count_consistency", said([CRACK, *false]), [CRACK]) == pytest.approx(1 / 11)


@pytest.mark.parametrize("label", ["scratch", "rust", None])
def test_false_alarms_of_labels_absent_from_the_truth_are_paid_for(rewards, label):
    extra = FAR | {"label": label}
    assert score(rewards, "iou_f1", said([CRACK, extra]), [CRACK]) == pytest.approx(2 / 3)


def test_boxes_of_the_wrong_label_take_no_truth_away(rewards):
    near = CRACK | {"bbox": [10, 20, 110, 119]}
    closer = CRACK | {"label": "scratch"}
    assert score(rewards, "iou_f1", said([closer, near]), [CRACK]) == pytest.approx(2 / 3)


def test_more_false_alarms_cost_more(rewards):
    values = [score(rewards, "iou_f1", said([CRACK] + [FAR] * n), [CRACK]) for n in range(20)]
    assert values == pytest.approx([2 / (2 + n) for n in range(20)])


@pytest.mark.parametrize("confidence", [0, 0.0, 1, -1e9, None, "0"])
def test_a_miss_with_confidence_zero_earns_nothing(rewards, confidence):
    miss = FAR | {"confidence": confidence, "score": confidence}
    assert score(rewards, "iou_f1", said([miss]), [CRACK]) == 0
    assert score(rewards, "attribute_accuracy", said([miss]), [CRACK]) == 0


def test_matching_does_not_ignore_the_label(rewards):
    assert score(rewards, "iou_f1", said([CRACK | {"label": "scratch"}]), [CRACK]) == 0


def test_json_of_many_lines_in_the_answer_is_read(rewards):
    text = f"<think>first\nsecond</think>\n<answer>\n{json.dumps([CRACK, SCRATCH], indent=4)}\n</answer>\n"
    assert scores(rewards, text, [CRACK, SCRATCH]) == dict.fromkeys(NAMES, 1)


def test_a_model_that_never_thinks_still_earns_for_its_answer(rewards):
    text = f"<answer>{json.dumps([CRACK])}</answer>"
    assert scores(rewards, text, [CRACK]) == dict.fromkeys(NAMES, 1) | {"format_tag": 0}


def test_well_formed_answers_still_differ(rewards):
    """Once all have the form, what they say must still separate a group."""
    truth = [CRACK, SCRATCH]
    group = [
        [],
        [FAR],
        [FAR, FAR],
        [without(CRACK, "part") | {"label": "scratch"}, FAR],
        [CRACK | {"label": "scratch"}, FAR],
        [CRACK, FAR],
        [CRACK, SCRATCH | {"part": "Cable"}],
        [CRACK, SCRATCH],
    ]
    totals = [sum(scores(rewards, said(objects), truth).values()) for objects in group]
    assert all(worse < better for worse, better in pairwise(totals))


def test_photos_without_defects(rewards):
    assert scores(rewards, said([]), []) == dict.fromkeys(NAMES, 1)
    alarm = scores(rewards, said([CRACK]), [])
    assert (alarm["count_consistency"], alarm["iou_f1"], alarm["attribute_accuracy"]) == (0, 0, 0)


def test_many_boxes_of_all_classes(rewards, taxonomy):
    truth = [
        CRACK | {"label": label, "bbox": [10 * i, 10 * j, 10 * i + 9, 10 * j + 9]}
        for i, label in enumerate(taxonomy.label_names)
        for j in range(10)
    ]
    assert scores(rewards, said(truth[::-1], "150 findings"), truth) == dict.fromkeys(NAMES, 1)
    # 100 of 150 found, nothing else: 2 * 100 / 250
    assert score(rewards, "iou_f1", said(truth[:100]), truth) == pytest.approx(0.8)


# How TRL calls them.


def test_names_and_order(rewards):
    assert list(rewards) == NAMES
    assert [reward.__name__ for reward in rewards.values()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_called_as_trl_calls(rewards, name):
    texts = [said([CRACK]), said([]), "gibberish", said([CRACK, FAR])]
    truths = [json.dumps(truth) for truth in ([CRACK], [], [CRACK], [CRACK])]
    values = rewards[name](
        prompts=[[{"role": "user", "content": "Inspect"}]] * 4,
        completions=[[{"role": "assistant", "content": text}] for text in texts],
        completion_ids=[[1, 2, 3]] * 4,
        trainer_state=object(),
        log_extra=lambda *args: None,
        log_metric=lambda *args: None,
        ground_truth=truths,
        photo_id=["a", "b", "c", "d"],
        images=[None] * 4,
    )
    assert values == rewards[name](texts, truths)
    assert values == [score(rewards, name, t, json.loads(g)) for t, g in zip(texts, truths, strict=True)]
    assert all(type(value) is float for value in values)


def test_the_last_message_is_scored(rewards):
    turns = [{"role": "assistant", "content": "gibberish"}, {"role": "assistant", "content": said([CRACK])}]
    assert score(rewards, "iou_f1", turns, [CRACK]) == 1
    assert score(rewards, "iou_f1", turns[::-1], [CRACK]) == 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "completion",
    [
        None,
        5,
        [],
        {},
        "",
        ["text"],
        [None],
        [{}],
        [{"role": "assistant"}],
        [{"role": "assistant", "content": None}],
        [{"role": "assistant", "content": 5}],
    ],
)
def test_a_completion_that_is_none_earns_nothing(rewards, name, completion):
    assert score(rewards, name, completion, [CRACK]) == 0


@pytest.mark.parametrize("name", NAMES)
def test_pickle_round_trip(rewards, name):
    batch = [said([CRACK, FAR]), said([]), "gibberish"], [json.dumps([CRACK])] * 3
    copy = pickle.loads(pickle.dumps(rewards[name]))
    assert copy(*batch) == rewards[name](*batch)
    assert copy.__name__ == name


def test_the_frame_is_part_of_the_rewards(taxonomy):
    wide = CRACK | {"bbox": [0, 0, 900, 900]}
    in_thousandths = build_rewards(taxonomy, Frame(1000, 1000))
    assert scores(in_thousandths, said([wide]), [wide]) == dict.fromkeys(NAMES, 1)
    in_pixels = build_rewards(taxonomy)
    assert score(in_pixels, "schema_compliance", said([wide]), [CRACK]) == pytest.approx(6 / 7)


@pytest.mark.parametrize("name", NAMES)
def test_lengths_must_agree(rewards, name):
    with pytest.raises(ValueError, match=r"shorter|longer"):
        rewards[name]([said([])], ["[]", "[]"])
    assert rewards[name]([], []) == []


@pytest.mark.parametrize("name", READ_TRUTH)
@pytest.mark.parametrize(
    "truth",
    [
        "",
        "none",
        "{}",
        "[{}]",
        json.dumps([RUST]),
        json.dumps([UNBOXED]),
        json.dumps([CRACK | {"bbox": [0, 0, 513, 10]}]),
        f"```{json.dumps([CRACK])}```",
    ],
)
def test_a_wrong_ground_truth_is_refused(rewards, name, truth):
    with pytest.raises(ValueError, match="ground_truth is not a report"):
        rewards[name]([said([])], [truth])


# No text raises.

fragments = st.sampled_from(
    [
        *("<think>", "</think>", "<answer>", "</answer>", "[", "]", "{", "}", ",", ":", '"', "\\", " ", "\n"),
        *(
            '"label"',
            '"bbox"',
            '"crack"',
            "[1,2,3,4]",
            "[0,0,1e308,1e308]",
            "[{},",
            "NaN",
            "-1e999",
            "```json",
        ),
        *(json.dumps([CRACK]), json.dumps(SCRATCH), "9" * 400, "go " * 6, "\x00", "\ufffd"),
    ]
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.sampled_from([10**300, "crack"]),
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from([*CRACK, "remark"]), inner, max_size=7),
    ),
    max_leaves=15,
)
completions = st.one_of(
    st.text(),
    st.text().map(lambda text: f"<think>{text}</think><answer>{text}</answer>"),
    st.lists(st.one_of(fragments, st.text(max_size=3)), max_size=20).map("".join),
    values.map(said),
    st.lists(st.dictionaries(st.sampled_from([*CRACK]), values, max_size=7), max_size=4).map(said),
)
truths = st.lists(st.sampled_from([CRACK, SCRATCH, CRACK | {"bbox": [0.5, 0.5, 20.25, 30.75]}]), max_size=3)


@settings(max_examples=200)
@given(completions, truths)
def test_any_text_scores_between_0_and_1(rewards, text, truth):
    for name, value in scores(rewards, text, truth).items():
        assert type(value) is float, name
        assert 0 <= value <= 1, name


@given(truths)
def test_the_truth_itself_earns_everything(rewards, truth):
    assert scores(rewards, said(truth), truth) == dict.fromkeys(NAMES, 1)


@pytest.mark.parametrize("side", [10**300, 1e308, 10**154])
def test_huge_boxes_only_miss(rewards, side):
    truth = [CRACK | {"bbox": [10.5, 20, 110, 120]}]
    text = said([CRACK | {"bbox": [0, 0, side, side]}])
    assert score(rewards, "iou_f1", text, truth) == 0
    assert score(rewards, "schema_compliance", text, truth) == pytest.approx(6 / 7)


MEGABYTE = 1 << 20
ITEM = json.dumps(CRACK) + ","
MONSTERS = {
    "open brackets": "[" * MEGABYTE,
    "closed brackets": "[" * (MEGABYTE // 2) + "]" * (MEGABYTE // 2),
    "nested objects": '[{"a":' * (MEGABYTE // 6),
    "empty objects": "[" + "{}," * (MEGABYTE // 3) + "{}]",
    "empty objects, cut": "[" + "{}," * (MEGABYTE // 3),
    "small objects": "[" + '{"a":1},' * (MEGABYTE // 8) + "{}]",
    "same finding": "[" + ITEM * (MEGABYTE // len(ITEM)) + "{}]",
    "numbers": "[" + "1," * (MEGABYTE // 2) + "1]",
    "digits": "[" + "9" * MEGABYTE + "]",
    "white space": "[{}" + " " * MEGABYTE + ",",
    "one word": "crack " * (MEGABYTE // 6),
    "one letter": "a" * MEGABYTE,
    "wide": "균열😀" * (MEGABYTE // 3),
    "control": "\x00\x1b\x7f\ufffd" * (MEGABYTE // 4),
    "surrogates": "\ud800" * MEGABYTE,
    "open string": '[{"label":"' + "x" * MEGABYTE,
    "answers": "<answer>" * (MEGABYTE // 8),
    "closing tags": "</answer></think>" * (MEGABYTE // 17),
}


@pytest.mark.parametrize("monster", MONSTERS)
def test_megabytes_give_scores(rewards, monster):
    bare = MONSTERS[monster]
    for text in (said([], bare), f"<think>t</think><answer>{bare}"):
        found = scores(rewards, text, [CRACK])
        assert all(0 <= value <= 1 for value in found.values())
        assert found["iou_f1"] < 0.01
