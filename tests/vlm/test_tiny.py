import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from lng_kedro.geometry import Frame
from lng_kedro.prompts import user_prompt
from lng_kedro.report import to_json
from lng_kedro.vlm.tiny import build_model, build_processor, number_ids


@pytest.fixture(scope="module")
def processor(taxonomy):
    return build_processor(taxonomy, 128)


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs",)), max_size=40))
def test_reads_and_writes_any_text(processor, text):
    tokenizer = processor.tokenizer
    assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_a_report_is_short(processor, taxonomy):
    finding = {
        "label": "weld blowhole",
        "bbox": [40, 60, 160, 260],
        "tank_type": "C",
        "location": "Outer wall",
        "sub_location": "Dished end",
        "part": "Base Material",
        "quality": "Defective",
    }
    text = to_json([finding, finding], taxonomy, Frame(128, 128))
    # 2 x (label, 4 numbers, 3 commas, 5 values, 7 pieces before, between and after them), and the end.
    assert len(processor.tokenizer(text).input_ids) == 2 * 20 + 1


def test_a_prompt_is_a_token_a_line(processor, taxonomy):
    prompt = user_prompt(taxonomy, Frame(128, 128))
    assert len(processor.tokenizer(prompt).input_ids) == len(prompt.splitlines()) == 10


def test_is_the_real_thing(processor):
    model = build_model(processor, (1, 32, 1), (1, 32, 1), seed=0)
    assert isinstance(model, Qwen2_5_VLForConditionalGeneration)
    assert isinstance(processor, Qwen2_5_VLProcessor)


def test_same_seed_gives_the_same_weights(processor):
    first, same, other = (build_model(processor, (1, 32, 1), (1, 32, 1), seed=s) for s in (1, 1, 2))
    weight = "model.language_model.layers.0.self_attn.q_proj.weight"
    assert first.state_dict()[weight].equal(same.state_dict()[weight])
    assert not first.state_dict()[weight].equal(other.state_dict()[weight])


def test_neighbouring_numbers_are_similar(processor):
    model = build_model(processor, (1, 32, 1), (1, 64, 2), seed=0)
    numbers = model.get_input_embeddings().weight[number_ids(processor.tokenizer)]
    assert len(numbers) == 129
    unit = numbers / numbers.norm(dim=1, keepdim=True)
    near, far = (unit[60] @ unit[61]).item(), (unit[60] @ unit[100]).item()
    assert near > 0.8 > 0.4 > far
