"""What is right and wrong about the findings of one photo: for people who look at photos, one by one."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from lng_kedro.matching import match
from lng_kedro.report import Finding

Kind = Literal["right", "wrong field", "misnamed", "misplaced", "missed", "false"]

NEAR = 0.1
"""From this IoU on, a box with the right label that hits nothing is misplaced, and below it false."""


class Verdict(NamedTuple):
    """On one prediction, one true finding, or a pair of both.

    Attributes:
        kind: right (all of it), wrong field (label and box are right, some field is not), misnamed (the box
            is right, the label is not), misplaced (the label is right, the box is near), missed (a true
            finding without a prediction), false (a prediction without a true finding).
        predicted: index of the prediction, or None.
        true: index of the true finding, or None.
    """

    kind: Kind
    predicted: int | None
    true: int | None


def judge(predicted: Sequence[Finding], true: Sequence[Finding]) -> list[Verdict]:
    """A verdict on each finding, predicted or true; each is in exactly one.

    Pairs are those of the fields' F1 (IoU of at least 0.5 whatever the label); what is left is paired again
    from an IoU of `NEAR` on where the labels are equal.
    """
    hits = match(predicted, true)
    verdicts = [Verdict(_kind(predicted[i], true[j]), i, j) for i, j in hits]
    rest = [i for i in range(len(predicted)) if i not in {i for i, _ in hits}]
    unmet = [j for j in range(len(true)) if j not in {j for _, j in hits}]
    near = match([predicted[i] for i in rest], [true[j] for j in unmet], NEAR, same_label=True)
    verdicts += [Verdict("misplaced", rest[i], unmet[j]) for i, j in near]
    paired = {i for _, i, _ in verdicts}, {j for _, _, j in verdicts}
    verdicts += [Verdict("false", i, None) for i in rest if i not in paired[0]]
    verdicts += [Verdict("missed", None, j) for j in unmet if j not in paired[1]]
    return verdicts


def _kind(predicted: Finding, true: Finding) -> Kind:
    if predicted.label != true.label:
        return "misnamed"
    return "right" if predicted.values == true.values else "wrong field"
