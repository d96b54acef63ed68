from functools import partial

import pytest
import torch
from trl import chat_template_utils

from lng_kedro.prompts import chat_prompt
from lng_kedro.report import confidence_spans, parse_report
from lng_kedro.vlm.generate import _span_score, generate_answers, with_photo
from lng_kedro.vlm.load import load_vlm


@pytest.fixture(scope="module")
def vlm(vlm_params):
    return load_vlm(vlm_params)


@pytest.fixture(scope="module")
def loaders(photos):
    return [partial(photos.load, f"p{i}") for i in range(4)]


@pytest.fixture(scope="module")
def answers(vlm, loaders, taxonomy):
    return list(generate_answers(vlm, chat_prompt(taxonomy, vlm.frame), loaders, 4, max_new_tokens=64))


def test_a_batch_answers_as_single_photos_do(vlm, loaders, taxonomy, answers):
    single = list(generate_answers(vlm, chat_prompt(taxonomy, vlm.frame), loaders, 1, max_new_tokens=64))
    assert [a.text for a in single] == [a.text for a in answers]
    for one, many in zip(single, answers, strict=True):
        assert one.scores == pytest.approx(many.scores, abs=1e-4)


def test_scores_are_the_models_own_log_probabilities(vlm, loaders, taxonomy, answers):
    """Oracle: a forward pass over prompt and answer, averaged by hand over label and box tokens."""
    answer = next(a for a in answers if a.scores)
    photo = loaders[answers.index(answer)]()
    prompt = vlm.processor.apply_chat_template(
        with_photo(chat_prompt(taxonomy, vlm.frame)), tokenize=False, add_generation_prompt=True
    )
    inputs = vlm.processor(text=[prompt + answer.text], images=[[photo]], return_tensors="pt")
    n_prompt = vlm.processor(text=[prompt], images=[[photo]], return_tensors="pt")["input_ids"].shape[1]
    with torch.no_grad():
        logits = vlm.model(**inputs).logits[0, n_prompt - 1 : -1].clone()
    logits[:, list(vlm.barred_ids)] = -torch.inf
    ids = inputs["input_ids"][0, n_prompt:]
    values = logits.log_softmax(-1).gather(1, ids[:, None])[:, 0]
    pieces = [vlm.processor.tokenizer.decode([i]) for i in ids]
    start = pieces.index('","bbox":[')
    end = pieces.index('],"tank_type":"')
    # The first object: its label (one token), and the numbers and commas of its box.
    wanted = [values[i].item() for i in [start - 1, *range(start + 1, end)]]
    assert answer.scores[0] == pytest.approx(sum(wanted) / len(wanted), abs=1e-4)


def test_length_and_end(vlm, loaders, taxonomy, answers):
    ids = [vlm.processor.tokenizer(a.text).input_ids for a in answers if a.finished]
    assert [len(i) + 1 for i in ids] == [a.n_tokens for a in answers if a.finished]
    cut = next(generate_answers(vlm, chat_prompt(taxonomy, vlm.frame), loaders, 4, max_new_tokens=5))
    assert not cut.finished
    assert cut.n_tokens == 5


def test_one_score_an_object(answers, taxonomy):
    for answer in answers:
        assert len(answer.scores) == len(parse_report(answer.text, taxonomy).findings)
        assert all(score <= 0 for score in answer.scores)


def test_span_score_by_hand():
    pieces = ['[{"label":"', "crack", '","bbox":[', "1", ",", "2", "]}]"]
    (spans,) = confidence_spans("".join(pieces))
    values = [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0, -7.0]
    # crack, 1, the comma and 2.
    assert _span_score(pieces, values, spans) == pytest.approx((-2.0 - 4.0 - 5.0 - 6.0) / 4)


@pytest.mark.parametrize(
    ("template", "picture"),
    [
        (chat_template_utils.qwen2_5_vl_chat_template, "<|image_pad|>"),
        (chat_template_utils.gemma3_chat_template, "<start_of_image>"),
        (chat_template_utils.llava_next_chat_template, "<image>"),
    ],
)
def test_every_familys_template_takes_the_prompt(vlm, taxonomy, template, picture):
    """With a system message, which LLaVA's takes in blocks alone."""
    prompt = chat_prompt(taxonomy, vlm.frame, reasoning=True)
    text = vlm.processor.apply_chat_template(
        with_photo(prompt), chat_template=template, tokenize=False, add_generation_prompt=True, bos_token=""
    )
    places = [text.index(part) for part in (prompt[0]["content"], picture, prompt[1]["content"])]
    assert places == sorted(places)
    assert text.count(picture) == 1
