"""How a stored adapter is spoken with."""

import json

import pytest

from lng_kedro.geometry import Frame
from lng_kedro.vlm.adapter import DIALOGUE, Adapter, stored_dialogue
from lng_kedro.vlm.dialogue import Dialogue


class Model:
    def save_pretrained(self, folder, **_):
        pass


def test_an_adapter_keeps_it(taxonomy, tmp_path):
    dialogue = Dialogue(taxonomy=taxonomy, frame=Frame(504, 504), reasoning=True)
    Adapter(Model(), dialogue, {}).save_pretrained(str(tmp_path))
    again = stored_dialogue(tmp_path)
    assert again == dialogue
    assert again.prompt == dialogue.prompt
    assert again.prompt[0]["role"] == "system"


def test_text_is_read_in_its_frame(taxonomy):
    dialogue = Dialogue(taxonomy=taxonomy, frame=Frame(504, 504), reasoning=False)
    report, objects = dialogue.read('[{"label":"crack","bbox":[0,126,252,504]}]')
    assert report.valid_json and not report.schema_true
    assert objects[0]["label"] == "crack"
    assert objects[0]["bbox"] == pytest.approx([0, 128, 256, 512])
    assert objects[0]["quality"] is None


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (None, "dialogue.json is missing.*Train it again"),
        ("{}", "dialogue.json does not say how the adapter is asked"),
        ("no JSON", "dialogue.json does not say how the adapter is asked"),
        (json.dumps({"taxonomy": {}, "frame": {"width": 1}, "reasoning": 3}), "does not say"),
    ],
)
def test_one_that_says_nothing_is_refused(tmp_path, stored, said):
    if stored is not None:
        (tmp_path / DIALOGUE).write_text(stored)
    with pytest.raises(ValueError, match=said):
        stored_dialogue(tmp_path)
