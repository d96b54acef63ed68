import json

import pytest

from lng_kedro.geometry import Frame
from lng_kedro.prompts import SYSTEM_PROMPT, chat_completion, chat_prompt, user_prompt
from lng_kedro.report import parse_report, to_json
from lng_kedro.rewards import build_rewards

CRACK = {
    "label": "crack",
    "bbox": [10, 20, 110, 120],
    "tank_type": "B",
    "location": "Inside",
    "sub_location": "Floor",
    "part": "Joint",
    "quality": "Good",
}
SCRATCH = CRACK | {"label": "scratch", "bbox": [200, 210, 300, 310]}


def test_user_prompt_lists_every_key_and_value(taxonomy):
    prompt = user_prompt(taxonomy)
    for field in ("label", *taxonomy.field_names):
        (line,) = [line for line in prompt.splitlines() if line.startswith(f'"{field}"')]
        for value in taxonomy.choices(field):
            assert f'"{value}"' in line
    assert '"bbox": [x_min, y_min, x_max, y_max]' in prompt
    assert "material" not in prompt
    assert "Pipe" not in prompt


def test_user_prompt_follows_the_run(taxonomy):
    prompt = user_prompt(taxonomy.with_data_values({"part": ["Pipe"], "material": ["steel"]}))
    assert '"Pipe"' in prompt
    assert '"material": one of "steel"' in prompt


@pytest.mark.parametrize(
    ("frame", "said", "unsaid"),
    [
        (Frame(), ["512"], ["504", "fractions"]),
        (Frame(504, 364), ["504", "364"], ["512"]),
        (Frame(1000, 1000), ["1000"], ["512"]),
        (Frame(1, 1, decimals=2), ["fractions"], ["512"]),
    ],
)
def test_user_prompt_names_the_frame(taxonomy, frame, said, unsaid):
    prompt = user_prompt(taxonomy, frame)
    assert all(part in prompt for part in said)
    assert not any(part in prompt for part in unsaid)


def test_system_prompt_only_with_reasoning(taxonomy):
    frame = Frame(1000, 1000)
    plain = chat_prompt(taxonomy, frame)
    reasoned = chat_prompt(taxonomy, frame, reasoning=True)
    assert [message["role"] for message in plain] == ["user"]
    assert [message["role"] for message in reasoned] == ["system", "user"]
    assert reasoned[0]["content"] == SYSTEM_PROMPT
    assert reasoned[1] == plain[0] == {"role": "user", "content": user_prompt(taxonomy, frame)}
    assert all(tag in SYSTEM_PROMPT for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    assert not any(tag in plain[0]["content"] for tag in ("<think>", "<answer>"))


def test_plain_completion_is_the_report(taxonomy):
    report = to_json([CRACK], taxonomy)
    assert chat_completion(report, [CRACK]) == [{"role": "assistant", "content": report}]


@pytest.mark.parametrize("objects", [[], [CRACK], [CRACK, SCRATCH, CRACK | {"label": "cable sheath"}]])
def test_reasoned_completion_earns_every_reward_in_full(taxonomy, objects):
    report = to_json(objects, taxonomy)
    (message,) = completion = chat_completion(report, objects, reasoning=True)
    for name, reward in build_rewards(taxonomy).items():
        assert reward([completion], [report]) == [1.0], name
    assert parse_report(message["content"], taxonomy).schema_true


def test_reasoning_counts_and_names(taxonomy):
    objects = [CRACK, SCRATCH]
    (message,) = chat_completion(json.dumps(objects), objects, reasoning=True)
    thought = message["content"].partition("<think>")[2].partition("</think>")[0]
    assert thought == "2: crack, scratch"
    (empty,) = chat_completion("[]", [], reasoning=True)
    assert empty["content"] == "<think>0</think><answer>[]</answer>"
