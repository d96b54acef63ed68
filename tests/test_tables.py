import pandas as pd
import pytest

from lng_kedro.tables import STAGES, stage_table, study_table, table_2

FIELDS = ("label", "quality")
METRICS = {
    "map_50": 0.123456,
    "map_50_equal": 0.1,
    "ap_50_agnostic": 0.5,
    "f1_50": 0.25,
    "f1_label": 1.0,
    "f1_quality": 0.0,
    "valid_json": 0.98765,
    "schema_true": 0.75,
}


def test_table_2_sets_before_beside_after():
    table = table_2(
        {
            "qwen2_5_vl_7b": {"base": METRICS, "sft": METRICS, "sft_grpo": METRICS | {"map_50": 0.9}},
            "gemma_3_4b": {"base": METRICS},
        },
        FIELDS,
    )
    assert list(table.columns) == [
        "model",
        "mAP@50 before",
        "mAP@50 after",
        "F1 label before",
        "F1 label after",
        "F1 quality before",
        "F1 quality after",
    ]
    assert list(table["model"]) == ["qwen2_5_vl_7b", "gemma_3_4b"]
    assert list(table.iloc[0, 1:]) == [12.35, 90, 100, 100, 0, 0]
    assert list(table.loc[1, ["mAP@50 before", "F1 label before"]]) == [12.35, 100]
    assert table.loc[1, ["mAP@50 after", "F1 label after", "F1 quality after"]].isna().all()


def test_table_2_of_nothing_is_empty():
    assert table_2({}, FIELDS).empty


def test_stage_table_keeps_the_order_of_the_stages():
    table = stage_table({"sft_grpo": METRICS, "base": METRICS | {"f1_50": 0.125}}, FIELDS)
    assert list(table["stage"]) == ["Base", "SFT", "GRPO", "SFT+GRPO"]
    assert list(table.columns[1:]) == [
        "mAP@50",
        "mAP@50, equal scores",
        "AP@50, any label",
        "F1@50",
        "F1 label",
        "F1 quality",
        "valid JSON",
        "schema-true",
        "to fill",
    ]
    assert list(table.iloc[3, 1:-1]) == [12.35, 10, 50, 25, 100, 0, 98.77, 75]
    assert table.loc[0, "F1@50"] == 12.5


def test_stage_table_says_how_to_fill_what_is_empty():
    table = stage_table({"base": METRICS}, FIELDS).set_index("stage")
    assert table.loc["Base", "to fill"] == ""
    for title, command in (STAGES[stage] for stage in ("sft", "grpo", "sft_grpo")):
        assert table.loc[title, "to fill"] == command
        assert table.loc[title].drop("to fill").isna().all()


@pytest.mark.parametrize("stages", [{}, {"base": {}}])
def test_missing_figures_are_empty_and_not_zero(stages):
    figures = stage_table(stages, FIELDS).drop(columns=["stage", "to fill"])
    assert len(figures) == len(STAGES)
    assert pd.isna(figures).all(axis=None)


def test_study_table_is_mean_and_spread_and_the_gain_run_by_run():
    """By hand: 10, 20 -> 15 ± 7.07; gains 10 and 30 -> 20 ± 14.14."""
    runs = [
        {stage: METRICS | {"map_50": 0.1} for stage in STAGES} | {"sft_grpo": METRICS | {"map_50": 0.2}},
        {stage: METRICS | {"map_50": 0.2} for stage in STAGES} | {"sft_grpo": METRICS | {"map_50": 0.5}},
    ]
    table = study_table(runs, FIELDS).set_index("stage")
    assert list(table.index) == ["Base", "SFT", "GRPO", "SFT+GRPO", "SFT+GRPO less SFT"]
    assert table.loc["SFT", "mAP@50"] == "15.0 ± 7.1"
    assert table.loc["SFT+GRPO less SFT", "mAP@50"] == "20.0 ± 14.1"
    assert table.loc["SFT+GRPO less SFT", "F1 label"] == "0.0 ± 0.0"


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([dict.fromkeys(STAGES, METRICS)], "at least two runs, found 1"),
        ([dict.fromkeys(STAGES, METRICS), {"base": METRICS}], "lacks the stages grpo, sft, sft_grpo"),
    ],
)
def test_an_unfinished_study_has_no_table(runs, message):
    with pytest.raises(ValueError, match=message):
        study_table(runs, FIELDS)
