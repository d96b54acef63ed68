"""Whatever a model would write, under a constraint it writes a report."""

import json
from functools import partial

import pytest
import torch
import xgrammar

from lng_kedro.geometry import Frame
from lng_kedro.report import parse_report, to_json
from lng_kedro.vlm.constraint import compile_constraint, missing_means, report_grammar, report_schema
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import generate_answers
from lng_kedro.vlm.load import load_vlm
from tests.vlm.walks import faults, kinds, other_taxonomy, tokenizer_of, vlm_of

ROWS = 150
FRAME = Frame(128, 128)


@pytest.fixture(scope="module")
def shipped(vlm_params):
    return load_vlm(vlm_params)


@pytest.fixture(scope="module")
def loaders(photos):
    return [partial(photos.load, f"p{i}") for i in range(4)]


def answers_of(vlm, dialogue, loaders, limit, constrained, batch=4):
    constraint = compile_constraint(vlm, dialogue, limit) if constrained else None
    return list(generate_answers(vlm, dialogue.prompt, loaders, batch, limit, constraint))


def truths(taxonomy, dialogue, thought="tiếng 탱크 1"):
    """A report for each label, of one finding and of two, with every value of every field."""
    objects = []
    for i, label in enumerate(taxonomy.label_names):
        values = {f: taxonomy.choices(f)[i % len(taxonomy.choices(f))] for f in taxonomy.field_names}
        objects.append({"label": label, "bbox": [9 * i, 0, 9 * i + 1 + i, 512], **values})
    reports = [to_json(found, taxonomy, dialogue.frame) for found in ([], *zip(objects), objects[:2])]
    if dialogue.reasoning:
        return [f"<think>{thought}</think><answer>{r}</answer>" for r in reports]
    return reports


def longest_tokens(constraint, text):
    ids = {token: i for i, token in enumerate(constraint.tokens) if token}
    data, start = text.encode(), 0
    while start < len(data):
        end = next(e for e in range(len(data), start, -1) if data[start:e] in ids)
        yield ids[data[start:end]]
        start = end


def is_allowed(constraint, tokens, end):
    """Whether tokens and the end may be chosen one after the other."""
    processor, chosen = constraint.processor(), torch.zeros(1, 1, dtype=torch.long)
    for token in [*tokens, end]:
        scores = processor(chosen, torch.zeros(1, len(constraint.tokens)))
        if not scores[0, token].isfinite():
            return False
        chosen = torch.tensor([[token]])
    return True


@pytest.mark.parametrize("number", range(6))
def test_random_walks_are_reports(taxonomy, number):
    """benchmarks/constrained.py walks 100,000 times."""
    family, dialogue, room = kinds(taxonomy, FRAME)[number]
    vlm = vlm_of(family)
    for seed, digits in ((0, 1.0), (1, 30.0)):
        found, findings = faults(vlm, dialogue, room, ROWS, seed, digits)
        assert found == []
        assert findings > ROWS / 10


@pytest.mark.parametrize("reasoning", [False, True])
def test_random_walks_of_the_shipped_tokenizer(taxonomy, shipped, reasoning):
    dialogue = Dialogue(taxonomy=taxonomy, frame=shipped.frame, reasoning=reasoning)
    least = compile_constraint(shipped, dialogue, 999).form.least_room
    for room in (least, 112):
        found, findings = faults(shipped, dialogue, room, ROWS, room, 30.0)
        assert found == []
        assert findings > 0


def test_tokens_write_what_the_tokenizer_reads(family_params, taxonomy):
    """Of the tiny checkpoints, and of vocabularies of both kinds; special tokens write nothing."""
    vlms = [load_vlm(family_params), vlm_of(family_params.spec.family)]
    for vlm in vlms:
        tokenizer = vlm.processor.tokenizer
        dialogue = Dialogue(taxonomy=taxonomy, frame=Frame(1, 1, decimals=2), reasoning=False)
        tokens = compile_constraint(vlm, dialogue, 999).tokens
        assert len(tokens) == vlm.model.config.get_text_config().vocab_size
        # Behind another token, as LLaVA's drops the space of the first.
        x = tokenizer.get_vocab()["x"]
        for i, token in enumerate(tokens[: len(tokenizer)]):
            text = tokenizer.decode([x, i], skip_special_tokens=True)
            assert token.decode(errors="replace") == text.removeprefix("x")
        assert not any(tokens[len(tokenizer) :])
        assert not any(tokens[i] for i in vlm.barred_ids)


@pytest.mark.parametrize("number", range(6))
def test_no_report_is_barred(taxonomy, number):
    family, dialogue, _ = kinds(taxonomy, FRAME)[number]
    vlm = vlm_of(family)
    constraint = compile_constraint(vlm, dialogue, 2000)
    for text in truths(dialogue.taxonomy, dialogue):
        tokens = list(longest_tokens(constraint, text))
        assert is_allowed(constraint, tokens, vlm.processor.tokenizer.eos_token_id)
        letters = [constraint.tokens.index(bytes([byte])) for byte in text.encode()]
        assert is_allowed(constraint, letters, vlm.processor.tokenizer.eos_token_id)


@pytest.mark.parametrize("number", range(6))
def test_the_least_room_bars_no_finding(taxonomy, number):
    """It decides how many there are, never what they say."""
    family, dialogue, _ = kinds(taxonomy, FRAME)[number]
    vlm = vlm_of(family)
    form = compile_constraint(vlm, dialogue, 2000).form
    constraint = compile_constraint(vlm, dialogue, form.least_room)
    *ones, two = truths(dialogue.taxonomy, dialogue, thought="")
    for text in ones:
        tokens = list(longest_tokens(constraint, text))
        assert is_allowed(constraint, tokens, vlm.processor.tokenizer.eos_token_id)
    assert not is_allowed(constraint, longest_tokens(constraint, two), vlm.processor.tokenizer.eos_token_id)
    with pytest.raises(
        ValueError, match=rf"is {form.least_room - 1}, and an answer with one finding may take"
    ):
        compile_constraint(vlm, dialogue, form.least_room - 1)


@pytest.mark.parametrize(
    "text",
    [
        '[{"label":"crack","bbox":[5,5,5,',
        '[{"label":"crack","bbox":[5,5,6,5]',
        '[{"label":"crack","bbox":[5,5,6,129',
        '[{"label":"crack","bbox":[128',
        '[{"label":"r',
        '[{"label":"crack","bbox":[5,5,6,6],"l',
        '[{"label": ',
        "[],",
        "<",
    ],
)
def test_what_is_no_report_is_barred(taxonomy, text):
    family, dialogue, room = kinds(taxonomy, FRAME)[0]
    constraint = compile_constraint(vlm_of(family), dialogue, room)
    letters = [constraint.tokens.index(bytes([byte])) for byte in text.encode()]
    assert len(text) == 1 or is_allowed(constraint, letters[:-2], letters[-2])
    assert not is_allowed(constraint, letters[:-1], letters[-1])


def test_a_template_may_begin_answers_with_a_space(taxonomy):
    for family, allowed in (("gemma3", False), ("llava_next", True)):
        dialogue = Dialogue(taxonomy=taxonomy, frame=FRAME, reasoning=False)
        vlm = vlm_of(family)
        constraint = compile_constraint(vlm, dialogue, 400)
        end = vlm.processor.tokenizer.eos_token_id
        for text in (" []", " [{"):
            letters = [constraint.tokens.index(bytes([byte])) for byte in text.encode()]
            assert is_allowed(constraint, letters[:-1], letters[-1]) == allowed
        two = [constraint.tokens.index(b" ")] * 2
        assert not is_allowed(constraint, two, end)


def test_ended_rows_are_left_alone(taxonomy):
    """What `generate` draws for them is replaced by padding, and has to be drawn from something."""
    family, dialogue, room = kinds(taxonomy, FRAME)[0]
    vlm = vlm_of(family)
    constraint = compile_constraint(vlm, dialogue, room)
    processor, zeros = constraint.processor(), torch.zeros(2, len(constraint.tokens))
    end, padding = vlm.processor.tokenizer.eos_token_id, vlm.processor.tokenizer.pad_token_id
    empty, opening = (constraint.tokens.index(token) for token in (b"[]", b"["))
    processor(torch.zeros(2, 5, dtype=torch.long), zeros.clone())
    scores = processor(torch.tensor([[empty], [opening]]), zeros.clone())
    assert scores[0].isfinite().nonzero().tolist() == [[end]]
    assert not scores[1, end].isfinite()
    for first, second in ((end, b"{"), (padding, b'"')):
        scores = processor(torch.tensor([[first], [constraint.tokens.index(second)]]), zeros.clone())
        assert scores[0].isfinite().all()
        assert not scores[1].isfinite().all()


@pytest.mark.gpu
def test_a_gpu_is_masked_as_a_cpu_is(taxonomy):
    family, dialogue, room = kinds(taxonomy, FRAME)[0]
    constraint = compile_constraint(vlm_of(family), dialogue, room)
    opening = [constraint.tokens.index(bytes([byte])) for byte in b'[{"label":"crack","bbox":[1,2,1']
    masks = []
    for device in ("cpu", "cuda"):
        processor, chosen = constraint.processor(), torch.zeros(3, 1, dtype=torch.long, device=device)
        for token in opening:
            zeros = torch.zeros(3, len(constraint.tokens), device=device)
            masks.append(processor(chosen, zeros).isfinite().cpu())
            chosen = torch.full_like(chosen, token)
    half = len(masks) // 2
    assert not any(mask.all() for mask in masks)
    assert all(torch.equal(a, b) for a, b in zip(masks[:half], masks[half:], strict=True))


@pytest.mark.parametrize("reasoning", [False, True])
def test_every_answer_of_a_random_model_is_a_report(family_params, taxonomy, loaders, reasoning):
    vlm = load_vlm(family_params)
    dialogue = Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=reasoning)
    free = answers_of(vlm, dialogue, loaders, 96, constrained=False)
    assert not any(dialogue.read(a.text)[0].schema_true for a in free)
    bound = answers_of(vlm, dialogue, loaders, 96, constrained=True)
    assert all(dialogue.read(a.text)[0].schema_true and a.finished for a in bound)
    assert all(len(a.scores) == len(dialogue.read(a.text)[1]) for a in bound)
    single = answers_of(vlm, dialogue, loaders, 96, constrained=True, batch=1)
    assert [a.text for a in single] == [a.text for a in bound]


def test_sampled_answers_are_reports(family_params, taxonomy):
    """At a high temperature, from the likeliest tokens that are allowed."""
    vlm = load_vlm(family_params)
    dialogue = Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=True)
    constraint = compile_constraint(vlm, dialogue, 96)
    ids = torch.full((16, 3), vlm.processor.tokenizer("a").input_ids[-1])
    torch.manual_seed(0)
    sequences = vlm.model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        max_new_tokens=96,
        do_sample=True,
        temperature=5.0,
        top_k=50,
        suppress_tokens=list(vlm.barred_ids),
        logits_processor=[constraint.processor()],
    )
    ends = set(vlm.model.generation_config.eos_token_id)
    for row in sequences[:, 3:].tolist():
        length = next(i for i, token in enumerate(row) if token in ends)
        text = vlm.processor.tokenizer.decode(row[:length])
        assert parse_report(text, taxonomy, vlm.frame).schema_true


def test_answers_that_had_to_be_short_are_told(shipped, taxonomy, loaders, caplog):
    dialogue = Dialogue(taxonomy=taxonomy, frame=shipped.frame, reasoning=False)
    whole = answers_of(shipped, dialogue, loaders, 112, constrained=True)
    assert "shorter" not in caplog.text
    assert not any(a.cramped for a in whole)
    short = answers_of(shipped, dialogue, loaders, 26, constrained=True)
    longer = sum(a.n_tokens > 26 for a in whole)
    assert [a.cramped for a in short] == [a.n_tokens > 26 for a in whole]
    assert f"{longer} of 4 answers are shorter than the model would have them" in caplog.text


@pytest.mark.parametrize("reasoning", [False, True])
def test_the_shipped_model(shipped, taxonomy, loaders, reasoning):
    """What is a report without it stays as it is; what would be cut off has fewer findings."""
    dialogue = Dialogue(taxonomy=taxonomy, frame=shipped.frame, reasoning=reasoning)
    free = [a for limit in (112, 26) for a in answers_of(shipped, dialogue, loaders, limit, False)]
    bound = [a for limit in (112, 26) for a in answers_of(shipped, dialogue, loaders, limit, True)]
    good = [dialogue.read(a.text)[0].schema_true for a in free]
    assert any(good[:4]) and (reasoning or not all(good[4:]))
    assert all(dialogue.read(a.text)[0].schema_true and a.finished for a in bound)
    for one, other, is_good in zip(free, bound, good, strict=True):
        if is_good and one.finished:
            assert one.text == other.text
            assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_another_budget_than_the_constraints_is_refused(shipped, taxonomy, loaders):
    dialogue = Dialogue(taxonomy=taxonomy, frame=shipped.frame, reasoning=False)
    constraint = compile_constraint(shipped, dialogue, 64)
    with pytest.raises(ValueError, match="for answers of 64 tokens, not of 48"):
        next(generate_answers(shipped, dialogue.prompt, loaders, 4, 48, constraint))


class TestForServers:
    """What a server compiles, read by the engine that is inside vLLM."""

    @pytest.fixture(scope="class")
    def read(self):
        """Whether a text is of a grammar, or the beginning of one."""
        tokenizer = tokenizer_of("qwen2_5_vl")
        compiler = xgrammar.GrammarCompiler(xgrammar.TokenizerInfo.from_huggingface(tokenizer))

        def said(grammar, text):
            matcher = xgrammar.GrammarMatcher(compiler.compile_grammar(grammar))
            return matcher.accept_string(text) and matcher.is_completed()

        return said

    @pytest.mark.parametrize("number", range(6))
    def test_grammar_and_schema_take_reports(self, taxonomy, read, number):
        _, dialogue, _ = kinds(taxonomy, FRAME)[number]
        grammar = xgrammar.Grammar.from_ebnf(report_grammar(dialogue))
        assert all(read(grammar, text) for text in truths(dialogue.taxonomy, dialogue))
        assert not any(read(grammar, text + " ") for text in truths(dialogue.taxonomy, dialogue))
        bare = dialogue.model_copy(update={"reasoning": False})
        schema = xgrammar.Grammar.from_json_schema(
            report_schema(dialogue), any_whitespace=False, separators=(",", ":")
        )
        for text in truths(dialogue.taxonomy, bare):
            # Letters that JSON need not escape xgrammar takes as they are.
            assert read(schema, json.dumps(json.loads(text), separators=(",", ":"), ensure_ascii=False))

    @pytest.mark.parametrize(("box", "good"), [("0,0,1,1", True), ("128,0,1,1", False), ("0,0,129,1", False)])
    def test_boxes_stay_in_the_frame(self, read, box, good):
        dialogue = Dialogue(taxonomy=other_taxonomy(), frame=FRAME, reasoning=False)
        text = f'[{{"label":"paint","bbox":[{box}]}}]'
        assert read(xgrammar.Grammar.from_ebnf(report_grammar(dialogue)), text) == good
        schema = xgrammar.Grammar.from_json_schema(
            report_schema(dialogue), any_whitespace=False, separators=(",", ":")
        )
        assert read(schema, text) == good

    def test_a_reasoning_is_bounded(self, read):
        dialogue = Dialogue(taxonomy=other_taxonomy(), frame=FRAME, reasoning=True)
        grammar = xgrammar.Grammar.from_ebnf(report_grammar(dialogue, thought=20))
        end = "</think><answer>[]</answer>"
        assert read(grammar, f"<think>{20 * '탱'}{end}")
        assert not read(grammar, f"<think>{21 * '탱'}{end}")
        assert not read(grammar, f"<think>a<b{end}")


def test_without_xgrammar_it_is_said(monkeypatch):
    assert missing_means() is None
    monkeypatch.setattr("lng_kedro.vlm.constraint.find_spec", lambda name: None)
    assert "need the extra `serve`: pip install" in missing_means()
