"""Verdicts by hand."""

import pytest

from lng_kedro.mistakes import Verdict, judge
from lng_kedro.report import to_finding

FIELDS = {
    "tank_type": "B",
    "location": "Outside",
    "sub_location": "Support",
    "part": "Joint",
    "quality": "Defective",
}
BOX = [100, 100, 200, 200]
BESIDE = [160, 100, 260, 200]
"""IoU with BOX: 40 / 160 = 0.25."""
FAR = [300, 300, 400, 400]


@pytest.fixture
def findings(taxonomy):
    def make(*objects):
        return [
            to_finding({"label": label, "bbox": box, **FIELDS, **other}, taxonomy)
            for label, box, other in objects
        ]

    return make


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (("crack", BOX, {}), [Verdict("right", 0, 0)]),
        (("crack", BOX, {"part": "Cable"}), [Verdict("wrong field", 0, 0)]),
        (("crack", BOX, {"part": "no part"}), [Verdict("wrong field", 0, 0)]),
        (("scratch", BOX, {}), [Verdict("misnamed", 0, 0)]),
        (("no label", BOX, {}), [Verdict("misnamed", 0, 0)]),
        (("crack", BESIDE, {}), [Verdict("misplaced", 0, 0)]),
        (("scratch", BESIDE, {}), [Verdict("false", 0, None), Verdict("missed", None, 0)]),
        (("crack", FAR, {}), [Verdict("false", 0, None), Verdict("missed", None, 0)]),
        (("crack", None, {}), [Verdict("false", 0, None), Verdict("missed", None, 0)]),
    ],
)
def test_one_prediction_of_one_finding(findings, said, expected):
    assert judge(findings(said), findings(("crack", BOX, {}))) == expected


def test_each_finding_has_one_verdict(findings):
    said = findings(("crack", FAR, {}), ("scratch", BESIDE, {}), ("crack", BOX, {}))
    true = findings(("crack", BOX, {}), ("scratch", BOX, {}))
    # The best pair first: the second prediction is near what is left.
    assert judge(said, true) == [
        Verdict("right", 2, 0),
        Verdict("misplaced", 1, 1),
        Verdict("false", 0, None),
    ]


def test_nothing_said_where_nothing_is(findings):
    assert judge([], []) == []
    assert judge([], findings(("crack", BOX, {}))) == [Verdict("missed", None, 0)]
    assert judge(findings(("crack", BOX, {})), []) == [Verdict("false", 0, None)]
