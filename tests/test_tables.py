import pandas as pd
import pytest
import yaml

from lng_kedro.tables import (
    DETECTORS,
    STAGES,
    PaperParams,
    readable,
    readable_comparisons,
    stage_table,
    study_table,
    table_2,
    to_latex,
    to_markdown,
)
from tests.project import ROOT

FIELDS = ("label", "quality")
METRICS = {
    "map_50": 0.123456,
    "map_50_equal": 0.1,
    "map_50_boxed": 0.2,
    "ap_50_agnostic": 0.5,
    "f1_50": 0.25,
    "f1_label": 1.0,
    "f1_quality": 0.0,
    "valid_json": 0.98765,
    "schema_true": 0.75,
}
PAPER = PaperParams(
    model="qwen2_5_vl_7b",
    table_2={
        "gemma_3_4b": {"map_50": (39.32, 85.61), "f1_label": (13.88, 84.91)},
        "qwen2_5_vl_7b": {"map_50": (39.13, 88.77)},
    },
    table_3={"sft": {"map_50": 85.26, "f1_label": 84.16}, "yolo11m": {"map_50": 86.53}},
)


def command(model, pipeline):
    return f"fill {model} by {pipeline}"


def table_ii(found):
    return table_2(found, FIELDS, PAPER, command)


def table_iii(found, model="tiny", **names):
    return stage_table(model, found, FIELDS, PAPER, command, names)


def test_table_2_sets_before_beside_after_and_ours_beside_the_papers():
    table = table_ii({"gemma_3_4b": {"base": METRICS, "sft": METRICS, "sft_grpo": METRICS | {"map_50": 0.9}}})
    assert list(table.columns) == [
        "model",
        "figures",
        "mAP@50 before",
        "mAP@50 after",
        "F1 label before",
        "F1 label after",
        "F1 quality before",
        "F1 quality after",
        "to fill",
    ]
    rows = table[table["model"] == "gemma_3_4b"].set_index("figures").drop(columns="model")
    assert list(rows.index) == ["ours", "paper", "difference"]
    assert list(rows.loc["ours"]) == [12.35, 90, 100, 100, 0, 0, ""]
    assert list(rows.loc["paper"])[:4] == [39.32, 85.61, 13.88, 84.91]
    assert list(rows.loc["difference"])[:4] == [-26.97, 4.39, 86.12, 15.09]
    assert rows.loc[["paper", "difference"], "F1 quality after"].isna().all()


def test_table_2_names_every_model_of_the_paper_and_what_fills_it():
    table = table_ii({"tiny": {"base": METRICS}}).set_index(["model", "figures"])
    assert list(table.index) == [
        ("gemma_3_4b", "ours"),
        ("gemma_3_4b", "paper"),
        ("qwen2_5_vl_7b", "ours"),
        ("qwen2_5_vl_7b", "paper"),
        ("tiny", "ours"),
    ]
    assert table.loc[("gemma_3_4b", "ours"), "to fill"] == "fill gemma_3_4b by None"
    assert table.loc[("gemma_3_4b", "ours")].drop("to fill").isna().all()
    # Half of its figures are there.
    assert table.loc[("tiny", "ours"), "mAP@50 before"] == 12.35
    assert table.loc[("tiny", "ours"), "to fill"] == "fill tiny by None"


def test_stage_table_keeps_the_order_of_stages_and_detectors():
    found = {"sft_grpo": METRICS, "base": METRICS | {"f1_50": 0.125}, "yolo11m": {"map_50": 0.5}}
    table = table_iii(found)
    ours = table[table["figures"] == "ours"].set_index("model").drop(columns="figures")
    assert list(ours.index) == ["Base", "SFT", "GRPO", "SFT+GRPO", "YOLOv11m", "YOLOv12m", "RT-DETR"]
    assert list(ours.columns) == [
        "mAP@50",
        "mAP@50, equal scores",
        "mAP@50, boxed labels",
        "AP@50, any label",
        "F1@50",
        "F1 label",
        "F1 quality",
        "valid JSON",
        "schema-true",
        "to fill",
    ]
    assert list(ours.loc["SFT+GRPO"])[:-1] == [12.35, 10, 20, 50, 25, 100, 0, 98.77, 75]
    assert ours.loc["Base", "F1@50"] == 12.5
    # What a detector does not say is empty.
    assert ours.loc["YOLOv11m", "mAP@50"] == 50
    assert pd.isna(ours.loc["YOLOv11m", "valid JSON"])


def test_stage_table_compares_the_papers_model_and_detectors():
    found = {"sft": METRICS, "yolo11m": {"map_50": 0.5}}
    same = table_iii(found, "qwen2_5_vl_7b").set_index(["model", "figures"])
    assert same.loc[("SFT", "difference"), "mAP@50"] == pytest.approx(12.35 - 85.26)
    assert same.loc[("YOLOv11m", "difference"), "mAP@50"] == pytest.approx(50 - 86.53)
    other = table_iii(found).set_index(["model", "figures"])
    assert ("SFT", "paper") in other.index
    assert ("SFT", "difference") not in other.index
    assert ("YOLOv11m", "difference") in other.index


def test_a_smaller_detector_is_named_and_not_compared():
    table = table_iii({"yolo11m": {"map_50": 0.5}}, yolo11m="YOLOv11n").set_index(["model", "figures"])
    assert table.loc[("YOLOv11n", "ours"), "mAP@50"] == 50
    assert table.loc[("YOLOv11m", "paper"), "mAP@50"] == 86.53
    assert "difference" not in table.index.get_level_values("figures")


def test_stage_table_says_how_to_fill_what_is_empty():
    table = table_iii({"base": METRICS})
    to_fill = table[table["figures"] == "ours"].set_index("model")["to fill"]
    assert to_fill.to_dict() == {
        "Base": "",
        "SFT": "fill tiny by evaluation",
        "GRPO": "fill tiny by ablation",
        "SFT+GRPO": "fill tiny by evaluation",
        "YOLOv11m": "fill tiny by baselines",
        "YOLOv12m": "fill tiny by baselines",
        "RT-DETR": "fill tiny by baselines",
    }


@pytest.mark.parametrize("stages", [{}, {"base": {}}])
def test_missing_figures_are_empty_and_not_zero(stages):
    table = table_iii(stages)
    figures = table[table["figures"] == "ours"].drop(columns=["model", "figures", "to fill"])
    assert len(figures) == len(STAGES) + len(DETECTORS)
    assert pd.isna(figures).all(axis=None)


def test_readable_joins_before_and_after():
    text = readable(table_ii({"gemma_3_4b": {"base": METRICS}}))
    assert list(text.columns) == ["model", "figures", "mAP@50", "F1 label", "F1 quality", "to fill"]
    assert list(text.loc[1])[:4] == ["gemma_3_4b", "paper", "39.32 → 85.61", "13.88 → 84.91"]
    assert list(text.loc[0])[2:5] == ["12.35 → ?", "100.00 → ?", "0.00 → ?"]
    assert text.loc[1, "F1 quality"] == ""


def test_readable_comparisons():
    rows = [
        ("base", "sft", "map_50", 0.618, 0.58, 0.65, 0.002),
        ("base", "sft", "f1_label", -0.004, -0.02, 0.01, 0.6),
        ("base", "sft", "ap_50/crack", 0.1, 0, 0.2, 0.05),
        ("sft", "sft_grpo", "map_50", 0.029, 0.001, 0.05, 0.049),
    ]
    columns = ["first", "second", "figure", "difference", "low", "high", "p"]
    text = readable_comparisons(pd.DataFrame(rows, columns=columns), FIELDS)
    assert list(text.columns) == ["stages", "mAP@50", "F1 label", "F1 quality"]
    assert list(text.loc[0])[:3] == ["Base → SFT", "+61.8* (58.0 to 65.0)", "-0.4 (-2.0 to 1.0)"]
    assert list(text.loc[1])[:2] == ["SFT → SFT+GRPO", "+2.9* (0.1 to 5.0)"]
    assert readable_comparisons(pd.DataFrame(columns=columns), FIELDS).empty


def test_markdown_reads_back():
    lines = to_markdown(table_ii({})).splitlines()
    assert [cell.strip() for cell in lines[0].strip("|").split("|")] == [
        "model",
        "figures",
        "mAP@50",
        "F1 label",
        "to fill",
    ]
    assert "39.32 → 85.61" in lines[3]
    assert len(lines) == 2 + 4


def test_latex_is_escaped():
    found = {"a_b & 5%": {"base": METRICS, "sft_grpo": METRICS}}
    text = to_latex(table_ii(found), "Of a_b, 5 % of it.", "tab:two")
    assert r"\caption{Of a\_b, 5 \% of it.}" in text
    assert r"39.32 $\rightarrow$ 85.61" in text
    assert r"a\_b \& 5\%" in text
    assert "fill" not in text
    assert text.count("{") == text.count("}")
    assert text.count(r"\\") == 1 + 5  # a head, and a row each


def test_the_papers_figures_in_the_configuration():
    """A sample of them, and the sums of all, copied by hand."""
    paper = PaperParams(**yaml.safe_load((ROOT / "conf/base/parameters/paper.yml").read_text())["paper"])
    assert paper.table_2["qwen2_5_vl_7b"]["map_50"] == (39.13, 88.77)
    assert len(paper.table_2) == 4
    assert all(len(metrics) == 7 for metrics in paper.table_2.values())
    assert sum(m["map_50"][1] for m in paper.table_2.values()) == pytest.approx(345.81)
    assert sum(m["f1_part"][0] for m in paper.table_2.values()) == pytest.approx(37.42)
    assert paper.table_3["rtdetr"] == {"map_50": 86.51, "f1_label": 84.45, "f1_quality": 86.69}


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
