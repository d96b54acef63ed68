"""The threshold and the figures of Table III, by hand."""

import pytest

from lng_kedro.detectors.scores import choose_threshold, detector_metrics
from tests.detectors.conftest import found

BOX, FAR = [0, 0, 100, 100], [300, 300, 400, 400]


def said(score: float, box: list[int] = BOX, **values: str) -> dict:
    nothing = dict.fromkeys(("label", "tank_type", "location", "sub_location", "part", "quality"))
    return {**nothing, "bbox": box, "score": score, **values}


TRUTHS = [[found("crack", "Defective", BOX)], [found("welding", "Good", BOX)]]


class TestThreshold:
    def test_by_hand(self, taxonomy) -> None:
        """Two truths; from 0.41 on two hits, from 0.3 on a false alarm more, above 0.6 one hit."""
        photos = [
            [said(0.9, label="crack"), said(0.405, FAR, label="crack")],
            [said(0.6, label="welding")],
        ]
        # F1: 2*2/(3+2) = 0.8 up to 0.40, 2*2/(2+2) = 1 from 0.41 to 0.60, 2*1/(1+2) = 0.67 up to 0.90.
        assert choose_threshold(photos, TRUTHS, "label", taxonomy) == 0.6

    def test_a_wrong_label_at_the_right_place_is_no_hit(self, taxonomy) -> None:
        photos = [[said(0.9, label="crack")], [said(0.95, label="crack"), said(0.5, label="welding")]]
        # Up to 0.50: the pair at the second photo's box goes to the first of two equal boxes, which is wrong.
        # F1 = 2*1/(3+2) = 0.4 up to 0.50, 2*1/(2+2) = 0.5 up to 0.90, 0 above.
        assert choose_threshold(photos, TRUTHS, "label", taxonomy) == 0.9

    def test_of_quality(self, taxonomy) -> None:
        photos = [[said(0.3, quality="Defective")], [said(0.2, quality="Defective")]]
        # F1 = 2*1/(2+2) = 0.5 up to 0.20, 2*1/(1+2) = 0.67 up to 0.30.
        assert choose_threshold(photos, TRUTHS, "quality", taxonomy) == 0.3


def test_each_figure_comes_from_the_detector_of_its_field(taxonomy) -> None:
    label = [[said(0.9, label="crack")], [said(0.1, label="welding")]]
    quality = [[said(0.8, quality="Defective")], [said(0.7, quality="Defective")]]
    figures = detector_metrics(
        {"label": label, "quality": quality}, {"label": 0.5, "quality": 0.5}, TRUTHS, taxonomy
    )
    assert figures.keys() == {
        *("map_50", "map_50_equal", "map_50_boxed", "ap_50_agnostic", "f1_50"),
        *("ap_50/crack", "ap_50/welding"),
        *("f1_label", "macro_f1_label", "f1_quality", "macro_f1_quality"),
    }
    # mAP keeps the object of score 0.1, F1 does not: one of two is found, nothing else is said.
    assert figures["map_50"] == pytest.approx(1)
    assert figures["ap_50_agnostic"] == pytest.approx(1)
    assert figures["f1_label"] == figures["f1_50"] == pytest.approx(2 / 3)
    assert figures["f1_quality"] == pytest.approx(1 / 2)
