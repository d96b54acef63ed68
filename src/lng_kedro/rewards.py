"""The seven verifiable rewards of the GRPO stage (paper, section III.C.2).

A reward is a picklable callable over a batch, ``(completions, ground_truth, **columns) -> list[float]``,
as TRL calls it. All but `format_tag` look only at the answer slice; a completion without ``<answer>``
has none, and no array in it is no report: both score 0 there. Detection and attributes use the same
matching as the evaluation.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import eq
from typing import Any

from lng_kedro.geometry import PROCESSED, Frame
from lng_kedro.matching import f1, match
from lng_kedro.report import (
    ANSWER_CLOSE,
    ANSWER_OPEN,
    THINK_CLOSE,
    THINK_OPEN,
    Finding,
    Report,
    is_inside,
    parse_report,
)
from lng_kedro.taxonomy import Taxonomy

Completion = str | Sequence[Mapping[str, Any]]

NO_REPORT = Report(findings=(), valid_json=False, found=False)
LOOP_PERIOD = 8
"""Longest repeated run of words that counts as a loop."""
LOOP_COPIES = 5
"""A run of words is a loop from this many copies in a row on; four equal box sides are none."""

# A decimal fraction is one word: the box [0.0, 0.0, 0.2, 0.2] holds no loop of zeros.
_WORD = re.compile(r"\d+\.\d+|\w+")
_CHARACTER_LOOP = re.compile(r"(\S)\1{15,}")


@dataclass(frozen=True, eq=False)
class _Rules:
    """What a completion is judged by. Compared by identity, which keeps the cache's keys cheap."""

    taxonomy: Taxonomy
    frame: Frame


Score = Callable[[str, str, _Rules], float]


@dataclass(frozen=True, eq=False)
class Reward:
    """One reward, ready for TRL.

    Calling it gives a float in [0, 1] for each completion.

    Args:
        completions: texts, or TRL's conversational completions (lists of messages, the last of which
            is the assistant's).
        ground_truth: for each completion the JSON text of its true report, in the same frame.
        columns: whatever else TRL passes; not used.

    Raises:
        ValueError: a ground truth is not a report of the taxonomy (never because of a completion).
    """

    name: str
    score: Score
    rules: _Rules

    @property
    def __name__(self) -> str:
        """The name under which TRL logs the reward."""
        return self.name

    def __call__(
        self, completions: Sequence[Completion], ground_truth: Sequence[str], **columns: Any
    ) -> list[float]:
        """Scores a batch; see the class."""
        pairs = zip(completions, ground_truth, strict=True)
        return [self.score(_text(completion), truth, self.rules) for completion, truth in pairs]


def build_rewards(taxonomy: Taxonomy, frame: Frame = PROCESSED) -> dict[str, Reward]:
    """The seven rewards by name, in the paper's order.

    Args:
        taxonomy: labels, fields and values that are allowed.
        frame: the coordinate frame in which completions and ground truth speak.
    """
    rules = _Rules(taxonomy, frame)
    return {name: Reward(name, score, rules) for name, score in SCORES.items()}


def format_tag(text: str, truth: str, rules: _Rules) -> float:
    """1 if the text is one ``<think>…</think>`` and then one ``<answer>…</answer>``, white space aside."""
    stripped = text.strip()
    tags = (THINK_OPEN, THINK_CLOSE, ANSWER_OPEN, ANSWER_CLOSE)
    if any(stripped.count(tag) != 1 for tag in tags):
        return 0.0
    if not (stripped.startswith(THINK_OPEN) and stripped.endswith(ANSWER_CLOSE)):
        return 0.0
    think_end, answer_start = stripped.find(THINK_CLOSE), stripped.find(ANSWER_OPEN)
    between = stripped[think_end + len(THINK_CLOSE) : answer_start]
    return float(think_end < answer_start and not between.strip())


def json_validity(text: str, truth: str, rules: _Rules) -> float:
    """1 if the answer slice is one strict JSON array: no fence, no other text, no NaN."""
    return float(_report(text, rules).valid_json)


def schema_compliance(text: str, truth: str, rules: _Rules) -> float:
    """Mean over predicted objects of the share of required keys that are present and allowed."""
    report = _report(text, rules)
    if not report.findings:
        return float(report.found and not _truth(truth, rules))
    return sum(finding.schema_share for finding in report.findings) / len(report.findings)


def count_consistency(text: str, truth: str, rules: _Rules) -> float:
    """1 - |n_pred - n_gt| / max(n_pred, n_gt, 1)."""
    report, n_true = _report(text, rules), len(_truth(truth, rules))
    if not report.found:
        return 0.0
    n_predicted = len(report.findings)
    return 1 - abs(n_predicted - n_true) / max(n_predicted, n_true, 1)


def iou_f1(text: str, truth: str, rules: _Rules) -> float:
    """F1 of one-to-one matching at IoU >= 0.5 among findings of equal labels."""
    report, true = _report(text, rules), _truth(truth, rules)
    if not report.found:
        return 0.0
    hits = match(report.findings, true, same_label=True)
    return f1(len(hits), len(report.findings), len(true))


def attribute_accuracy(text: str, truth: str, rules: _Rules) -> float:
    """Share of metadata fields that are right, over pairs matched at IoU >= 0.5 whatever their label."""
    report, true = _report(text, rules), _truth(truth, rules)
    if not report.found:
        return 0.0
    if not report.findings and not true:
        return 1.0
    pairs = match(report.findings, true)
    fields = rules.taxonomy.field_names
    right = sum(report.findings[i].values[name] == true[j].values[name] for i, j in pairs for name in fields)
    return right / (len(pairs) * len(fields)) if pairs else 0.0


def anti_gibberish(text: str, truth: str, rules: _Rules) -> float:
    """Product of the shares of text that are inside the two slices, printable, and not in a loop.

    A loop is one character 16 times in a row, or up to eight words five times in a row.
    """
    ink = _ink(text)
    if not ink:
        return 0.0
    return _inside_share(text, ink) * _printable_share(text) * _unlooped_share(text)


SCORES: dict[str, Score] = {
    "format_tag": format_tag,
    "json_validity": json_validity,
    "schema_compliance": schema_compliance,
    "count_consistency": count_consistency,
    "iou_f1": iou_f1,
    "attribute_accuracy": attribute_accuracy,
    "anti_gibberish": anti_gibberish,
}


def _text(completion: Completion) -> str:
    if isinstance(completion, str):
        return completion
    last = completion[-1] if isinstance(completion, Sequence) and completion else None
    content = last.get("content") if isinstance(last, Mapping) else None
    return content if isinstance(content, str) else ""


# The seven rewards read the same completions one after the other: each is parsed once.
@lru_cache(maxsize=4096)
def _parsed(text: str, rules: _Rules) -> Report:
    return parse_report(text, rules.taxonomy, rules.frame)


def _report(text: str, rules: _Rules) -> Report:
    return NO_REPORT if ANSWER_OPEN not in text else _parsed(text, rules)


@lru_cache(maxsize=4096)
def _truth(truth: str, rules: _Rules) -> tuple[Finding, ...]:
    report = parse_report(truth, rules.taxonomy, rules.frame)
    placed = (f.label and f.bbox and is_inside(f.bbox, rules.frame) for f in report.findings)
    if not report.valid_json or not all(placed):
        raise ValueError(f"ground_truth is not a report of this taxonomy: {truth[:200]}")
    return report.findings


def _ink(text: str) -> int:
    """Characters that are not white space."""
    return sum(map(len, text.split()))


def _inside_share(text: str, ink: int) -> float:
    outside = text
    start = outside.rfind(ANSWER_OPEN)
    if start >= 0:
        end = outside.find(ANSWER_CLOSE, start)
        outside = outside[:start] + (outside[end + len(ANSWER_CLOSE) :] if end >= 0 else "")
    start, end = outside.find(THINK_OPEN), outside.find(THINK_CLOSE)
    if 0 <= start < end:
        outside = outside[:start] + outside[end + len(THINK_CLOSE) :]
    return 1 - _ink(outside) / ink


def _printable_share(text: str) -> float:
    noise = text.count("\ufffd")
    if not text.isprintable():
        noise += sum(not c.isprintable() and c not in string.whitespace for c in text)
    return 1 - noise / len(text)


def _unlooped_share(text: str) -> float:
    looped = sum(len(run.group()) for run in _CHARACTER_LOOP.finditer(text)) / len(text)
    words = _WORD.findall(text)
    in_loop = max(_looped_words(words, period) for period in range(1, LOOP_PERIOD + 1))
    return 1 - max(looped, in_loop / max(len(words), 1))


def _looped_words(words: Sequence[str], period: int) -> int:
    """Number of words in runs that repeat `period` words at least `LOOP_COPIES` times."""
    least = period * (LOOP_COPIES - 1)
    repeats = list(map(eq, words[period:], words))
    if sum(repeats) < least:
        return 0
    total = run = 0
    for same in [*repeats, False]:
        if same:
            run += 1
        elif run:
            total += run + period if run >= least else 0
            run = 0
    return total
