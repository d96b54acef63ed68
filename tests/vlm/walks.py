"""Answers at random: whatever a constraint lets models write that are nothing but a tokenizer."""

import json
from types import SimpleNamespace

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from lng_kedro.geometry import Frame
from lng_kedro.report import parse_report
from lng_kedro.taxonomy import Field, Label, Taxonomy
from lng_kedro.vlm.constraint import compile_constraint
from lng_kedro.vlm.dialogue import Dialogue
from tests.checkpoints import TOKENS, byte_level, make_tokenizer

AWKWARD = [
    *(
        '],"',
        "0]",
        ",1",
        "12,3",
        "9,9,9",
        "0.",
        ".9",
        ".25,0.5",
        "00",
        "10",
        "99",
        '"},{"',
        "}]",
        "[[",
        "[]",
        '[{"',
    ),
    *(
        'label":"',
        '","',
        '":[',
        "</",
        ".</think",
        "><",
        '>[{"',
        "]</answer>",
        " ",
        ", 3",
        "\n",
        "-",
        "é",
        "é]",
        "탱크",
    ),
]
"""Tokens that span several parts of an answer, or belong to none."""

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'][0]['text'] }}{% endfor %}"
AFTER_SPACE = TEMPLATE.replace(
    "<{{ m['role'] }}>", "<{{ m['role'] }}>{% if m['role'] == 'assistant' %} {% endif %}"
)


def tokenizer_of(family: str):
    """Qwen's is byte-level; Gemma's and LLaVA's are SentencePiece's, with a token for each byte."""
    special = TOKENS[family][0]
    if family == "qwen2_5_vl":
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        return make_tokenizer(family, byte_level([*special, *alphabet]), AWKWARD)
    vocabulary = [*special, *(f"<0x{byte:02X}>" for byte in range(256))]
    vocabulary += [*map(chr, range(0x21, 0x7F)), *(a.replace(" ", "▁") for a in AWKWARD), "▁["]
    vocabulary = {token: i for i, token in enumerate(dict.fromkeys(vocabulary))}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True, unk_token="<unk>"))
    core.normalizer = normalizers.Replace(" ", "▁")
    strip = [decoders.Strip(" ", 1, 0)] if family == "llava_next" else []  # as LLaVA's drops the first space
    core.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
    )
    return make_tokenizer(family, core)


def vlm_of(family: str, spare: int = 20):
    """As much of a model as a constraint needs; its logits are wider than the tokenizer's vocabulary."""
    tokenizer = tokenizer_of(family)
    template = AFTER_SPACE if family == "llava_next" else TEMPLATE

    def apply_chat_template(turns, tokenize, add_generation_prompt=False):
        asked = tokenizer.apply_chat_template(turns, chat_template=template, tokenize=tokenize)
        return asked + "<assistant>" if add_generation_prompt else asked

    text_config = SimpleNamespace(vocab_size=len(tokenizer) + spare)
    config = SimpleNamespace(get_text_config=lambda: text_config)
    ends = [tokenizer.eos_token_id]
    return SimpleNamespace(
        model=SimpleNamespace(config=config, generation_config=SimpleNamespace(eos_token_id=ends)),
        processor=SimpleNamespace(tokenizer=tokenizer, apply_chat_template=apply_chat_template),
        barred_ids=(tokenizer.image_token_id,),
    )


def other_taxonomy(*fields: str) -> Taxonomy:
    """Labels and values that begin alike, that JSON has to escape, and that are no Latin."""
    values = {"paint": (), "paint sagging": (), 'a "b" \\ c': (), "탱크": ()}
    labels = [Label(name=name, defective_id=i + 1) for i, name in enumerate(values)]
    return Taxonomy(labels=tuple(labels), boxless_ids=(1,), fields={f: Field(values=values) for f in fields})


def kinds(taxonomy: Taxonomy, frame: Frame) -> list[tuple[str, Dialogue, int]]:
    """Family, dialogue and room of the walks: both forms, integers and decimals, few fields and many."""
    few, many = other_taxonomy(), other_taxonomy("material", 'an "odd" name')
    return [
        ("qwen2_5_vl", Dialogue(taxonomy=taxonomy, frame=frame, reasoning=False), 400),
        ("qwen2_5_vl", Dialogue(taxonomy=few, frame=Frame(504, 504), reasoning=True), 110),
        ("gemma3", Dialogue(taxonomy=taxonomy, frame=Frame(1000, 1000), reasoning=True), 230),
        ("gemma3", Dialogue(taxonomy=few, frame=Frame(1, 1, decimals=2), reasoning=False), 150),
        ("llava_next", Dialogue(taxonomy=many, frame=Frame(1, 1, decimals=2), reasoning=True), 250),
        ("llava_next", Dialogue(taxonomy=few, frame=Frame(3, 2), reasoning=False), 120),
    ]


def walk(constraint, rows: int, seed: int, digits: float = 1.0):
    """Tokens of `rows` answers, each drawn from those that are allowed; None where one has not ended.

    Args:
        constraint: compiled.
        rows: answers.
        seed: of the draws.
        digits: weight of tokens with digits, and of those that open an object, against others.
    """
    generator = torch.Generator().manual_seed(seed)
    heavy = [any(c in b"0123456789{" for c in token) for token in constraint.tokens]
    logits = torch.where(torch.tensor(heavy), torch.tensor(digits), torch.tensor(1.0)).log()
    processor = constraint.processor()
    chosen = torch.zeros(rows, 1, dtype=torch.long)
    found: list[list[int]] = [[] for _ in range(rows)]
    ended = [False] * rows
    for _ in range(constraint.max_new_tokens):
        allowed = processor(chosen, logits.expand(rows, -1).clone())
        chosen = torch.multinomial(allowed.softmax(-1), 1, generator=generator)
        for row, token in enumerate(chosen[:, 0].tolist()):
            if not ended[row] and constraint.tokens[token]:
                found[row].append(token)
            else:
                ended[row] = True
        if all(ended):
            break
    return [tokens if end else None for tokens, end in zip(found, ended, strict=True)]


def faults(vlm, dialogue: Dialogue, room: int, rows: int, seed: int, digits: float) -> tuple[list[str], int]:
    """Texts of walks that are no canonical report or did not end in time, and the findings of the others."""
    found, findings = [], 0
    for tokens in walk(compile_constraint(vlm, dialogue, room), rows, seed, digits):
        text = "not ended" if tokens is None else vlm.processor.tokenizer.decode(tokens)
        report = parse_report(text, dialogue.taxonomy, dialogue.frame)
        findings += len(report.findings)
        bare = text.rpartition("<answer>")[2].removesuffix("</answer>").removeprefix(" ")
        if not report.schema_true or json.dumps(json.loads(bare), separators=(",", ":")) != bare:
            found.append(text)
    return found, findings
