"""What an answer may be, for whoever writes it token by token: a JSON schema, and a grammar in EBNF.

Needs neither torch nor xgrammar: a server takes either as it is.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

from lng_kedro.geometry import Frame
from lng_kedro.report import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from lng_kedro.taxonomy import BBOX, LABEL
from lng_kedro.vlm.dialogue import Dialogue

THOUGHT = 1000
"""Characters of a reasoning at most, where nobody counts its tokens."""


def coordinates(frame: Frame) -> list[list[float]]:
    """All that `Frame.encode` may write as x_min, y_min, x_max and y_max, in rising order.

    The first two stop below the end of the frame, so that there always is a greater number.
    """
    along = [
        [round(n / 10**frame.decimals, frame.decimals or None) for n in range(units + 1)]
        for units in (math.floor(extent * 10**frame.decimals) for extent in (frame.width, frame.height))
    ]
    return [*(numbers[:-1] for numbers in along), *(numbers[1:] for numbers in along)]


def report_schema(dialogue: Dialogue) -> dict[str, Any]:
    """JSON Schema of a report in a frame: the taxonomy's, and where boxes may lie.

    It cannot say that x_min < x_max and y_min < y_max.
    """

    kind = "number" if dialogue.frame.decimals else "integer"
    schema = dialogue.taxonomy.json_schema()
    schema["items"]["properties"][BBOX] = {
        "type": "array",
        "prefixItems": [
            {"type": kind, "minimum": axis[0], "maximum": axis[-1]} for axis in coordinates(dialogue.frame)
        ],
        "items": False,
        "minItems": 4,
        "maxItems": 4,
    }
    return schema


def report_grammar(dialogue: Dialogue, lead: bool = False, thought: int | None = THOUGHT) -> str:
    """A whole answer in EBNF (as xgrammar and llama.cpp take it): a report as `to_json` writes it.

    Where the dialogue reasons it has ``<think>`` and ``<answer>``; the reasoning is any text without "<".

    Args:
        dialogue: how the model is spoken with.
        lead: a space may come first, as some templates write one before an answer.
        thought: characters of the reasoning at most; None where it is bounded otherwise.
    """
    properties = report_schema(dialogue)["items"]["properties"]
    numbers = [_either(map(json.dumps, axis)) for axis in coordinates(dialogue.frame)]
    fields = [name for name in properties if name not in (LABEL, BBOX)]
    opening = [_quoted(f'{{"{LABEL}":'), "label", _quoted(f',"{BBOX}":['), "x_min", _quoted(","), "y_min"]
    opening += [_quoted(","), "x_max", _quoted(","), "y_max", _quoted("]")]
    for number, name in enumerate(fields):
        opening += [_quoted(f",{json.dumps(name)}:"), f"field_{number}"]
    rules = {
        "report": '"[]" | "[" finding ("," finding)* "]"',
        "finding": " ".join([*opening, _quoted("}")]),
        "label": _either(map(json.dumps, properties[LABEL]["enum"])),
        **dict(zip(("x_min", "y_min", "x_max", "y_max"), numbers, strict=True)),
    }
    rules |= {
        f"field_{i}": _either(map(json.dumps, properties[name]["enum"])) for i, name in enumerate(fields)
    }
    root = "report"
    if dialogue.reasoning:
        many = "*" if thought is None else f"{{0,{thought}}}"
        between = _quoted(THINK_CLOSE + ANSWER_OPEN)
        root = f"{_quoted(THINK_OPEN)} [^<]{many} {between} report {_quoted(ANSWER_CLOSE)}"
    rules = {"root": f'" "? {root}' if lead else root, **rules}
    return "\n".join(f"{name} ::= {rule}" for name, rule in rules.items()) + "\n"


def _quoted(text: str) -> str:
    return json.dumps(text)


def _either(texts: Iterable[str]) -> str:
    return " | ".join(map(_quoted, texts))
