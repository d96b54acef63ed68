"""Chat messages of both stages (paper, section III.B)."""

from collections.abc import Mapping, Sequence
from typing import Any

from lng_kedro.geometry import PROCESSED, Frame
from lng_kedro.report import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from lng_kedro.taxonomy import LABEL, Taxonomy

Message = dict[str, Any]

SYSTEM_PROMPT = (
    f"Reason about the photo between {THINK_OPEN} and {THINK_CLOSE}, then give the report between "
    f"{ANSWER_OPEN} and {ANSWER_CLOSE}. Write nothing else."
)
"""Asked of the model in the GRPO stage: hidden reasoning, then the report."""


def user_prompt(taxonomy: Taxonomy, frame: Frame = PROCESSED) -> str:
    """The instruction of both stages: the JSON schema and every allowed value."""
    lines = [
        "Inspect this photo of LNG tank manufacturing.",
        "The report is a JSON array with one object for each inspected item, [] if there is none.",
        "Each object has exactly these keys:",
        f'"{LABEL}": one of {_listed(taxonomy.choices(LABEL))}',
        f'"bbox": [x_min, y_min, x_max, y_max] {frame.unit}',
    ]
    lines += [f'"{name}": one of {_listed(taxonomy.choices(name))}' for name in taxonomy.field_names]
    return "\n".join(lines)


def chat_prompt(taxonomy: Taxonomy, frame: Frame = PROCESSED, reasoning: bool = False) -> list[Message]:
    """Messages up to the answer; the photo is placed before the user's text by TRL or the processor.

    Args:
        taxonomy: the report schema.
        frame: the coordinate frame in which the answer is to speak.
        reasoning: ask for ``<think>`` and ``<answer>`` by a system prompt (GRPO), or for the bare
            report (SFT).
    """
    user: Message = {"role": "user", "content": user_prompt(taxonomy, frame)}
    return [{"role": "system", "content": SYSTEM_PROMPT}, user] if reasoning else [user]


def chat_completion(
    report: str, objects: Sequence[Mapping[str, Any]], reasoning: bool = False
) -> list[Message]:
    """The wanted answer: the report, or the report behind a line of reasoning that counts and names.

    Args:
        report: JSON text of the report, in the frame of the prompt.
        objects: the same findings as mappings, of which the reasoning names the labels.
        reasoning: answer in the form of the GRPO stage.
    """
    if not reasoning:
        return [{"role": "assistant", "content": report}]
    # Each label once: the same word many times over would be a loop to the anti-gibberish reward.
    names = ", ".join(dict.fromkeys(o[LABEL] for o in objects))
    thought = f"{len(objects)}: {names}" if objects else "0"
    text = f"{THINK_OPEN}{thought}{THINK_CLOSE}{ANSWER_OPEN}{report}{ANSWER_CLOSE}"
    return [{"role": "assistant", "content": text}]


def _listed(values: Sequence[str]) -> str:
    return ", ".join(f'"{value}"' for value in values)
