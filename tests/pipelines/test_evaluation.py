"""Nodes of evaluation and reporting on what should not happen and does."""

import json
import logging

import pandas as pd
import pytest

from lng_kedro.pipelines.data_processing.nodes import truth_of_test
from lng_kedro.pipelines.evaluation import nodes
from lng_kedro.pipelines.evaluation.params import EvaluationParams, StageParams
from lng_kedro.pipelines.evaluation.schemas import Predictions
from lng_kedro.pipelines.reporting import nodes as reporting
from lng_kedro.pipelines.reporting.params import Given, ReportingParams
from lng_kedro.results import current_metrics, current_predictions
from lng_kedro.tables import PaperParams
from lng_kedro.vlm.adapter import adapter_hash
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.fits import WrongAdapter
from lng_kedro.vlm.generate import Answer
from lng_kedro.vlm.load import load_vlm
from tests.export.conftest import make_adapter

STAGE = StageParams(name="sft", reasoning=False)
REPORTING = ReportingParams(
    command="kedro run --env x", given={}, photos="photos", constrained=False, resamples=20, seed=0
)
PAPER = PaperParams(model="m", table_2={}, table_3={})


@pytest.fixture
def params(tmp_path):
    return EvaluationParams(
        batch_size=4,
        max_new_tokens=32,
        constrained=False,
        resamples=20,
        seed=0,
        work_dir=tmp_path / "answers",
    )


@pytest.fixture
def test_split(samples):
    return samples.assign(photo_label="crack")


def predictions_of(texts, test_split, photos, taxonomy, objects="[]", valid_json=False):
    return pd.DataFrame(
        {
            "photo_id": test_split["photo_id"],
            "text": texts,
            "objects": objects,
            "valid_json": valid_json,
            "schema_true": valid_json,
            "n_tokens": 1,
            "finished": True,
            "weights_sha256": adapter_hash(None),
            "photos_sha256": photos.hash_of_all(test_split["photo_id"]),
            "taxonomy_sha256": taxonomy.digest,
        }
    )


@pytest.mark.parametrize(
    "learned",
    [["p3", "another"], {"p3": None, "another": None}, {"corrected": "hash of p3", "another": "of none"}],
    ids=["of an earlier version", "by its id", "by its content"],
)
def test_what_has_learned_from_a_test_photo_is_not_tested(
    test_split, photos, taxonomy, vlm_params, params, tmp_path, learned
):
    (tmp_path / "learned_from.json").write_text(json.dumps(learned))
    test_split = test_split.assign(sha256="hash of " + test_split["photo_id"])
    with pytest.raises(ValueError, match="'sft' has learned from 1 of the 8 test photos, p3 for one"):
        nodes.predict(test_split, photos, taxonomy, vlm_params, params, STAGE, tmp_path)


def test_what_was_trained_otherwise_is_not_tested(test_split, photos, taxonomy, vlm_params, params, tmp_path):
    adapter = make_adapter(tmp_path / "a", vlm_params, taxonomy)
    (adapter / "learned_from.json").unlink()
    otherwise = vlm_params.model_copy(update={"frame": "processed"})
    with pytest.raises(WrongAdapter, match=r"boxes in a frame 128 wide .* makes them in a frame 512 wide"):
        nodes.predict(test_split, photos, taxonomy, otherwise, params, STAGE, adapter)


def test_predictions_of_an_untuned_model(test_split, photos, taxonomy, vlm_params, params):
    found = nodes.predict(test_split, photos, taxonomy, vlm_params, params, STAGE)
    Predictions.validate(found)
    assert found["photo_id"].tolist() == test_split["photo_id"].tolist()
    assert set(found["weights_sha256"]) == {adapter_hash(None)}
    document, tracked, results = nodes.score(found, test_split, photos, taxonomy, params, STAGE)
    assert tracked["sft/map_50"] == {"value": document["metrics"]["map_50"], "step": 0}
    assert len(results) == sum(len(json.loads(objects)) for objects in found["objects"])


def test_another_question_is_not_answered_from_the_disk(test_split, photos, taxonomy, vlm_params, params):
    nodes.predict(test_split, photos, taxonomy, vlm_params, params, STAGE)
    nodes.predict(test_split, photos, taxonomy, vlm_params, params, STAGE)
    assert len(list((params.work_dir / "sft").iterdir())) == 1
    form = StageParams(name="sft", reasoning=True)
    longer = params.model_copy(update={"max_new_tokens": 33})
    for split, settings, stage in (
        (test_split, params, form),
        (test_split, longer, STAGE),
        (test_split[:7], params, STAGE),
    ):
        nodes.predict(split, photos, taxonomy, vlm_params, settings, stage)
    assert len(list((params.work_dir / "sft").iterdir())) == 4


def test_constrained_answers_are_told_from_free_ones(
    test_split, photos, taxonomy, vlm_params, params, caplog
):
    bound = params.model_copy(update={"constrained": True})
    free, made = (nodes.predict(test_split, photos, taxonomy, vlm_params, p, STAGE) for p in (params, bound))
    assert len(list((params.work_dir / "sft").iterdir())) == 2
    assert made["schema_true"].all() and made["finished"].all() and not free["finished"].all()
    split = test_split, photos, taxonomy
    document, _, _ = nodes.score(made, *split, bound, STAGE)
    assert document["metrics"]["schema_true"] == 1
    old = Predictions.validate(free.drop(columns="constrained"))
    for predictions, settings, kind in (
        (made, params, "constrained"),
        (free, bound, "unconstrained"),
        (old, bound, "unconstrained"),
    ):
        with pytest.raises(ValueError, match=f"'sft' are of {kind} answers: run its evaluation again"):
            nodes.score(predictions, *split, settings, STAGE)
    free_document, _, _ = nodes.score(old, *split, params, STAGE)
    detector = {"about": document["about"] | {"constrained": None}}
    stored = {
        "tiny/base": lambda: free_document,
        "tiny/sft": lambda: document,
        "detectors/yolo11m": lambda: detector,
    }
    predictions = {"predictions_sft": lambda: made, "predictions_base": lambda: free}
    for constrained, stage, other in ((True, "sft", "base"), (False, "base", "sft")):
        caplog.clear()
        found = current_metrics(stored, *split, constrained)
        assert {name: list(of_model) for name, of_model in found.items()} == {
            "detectors": ["yolo11m"],
            "tiny": [stage],
        }
        assert list(current_predictions(predictions, ["base", "sft"], *split, constrained)) == [stage]
        kind = "unconstrained" if constrained else "constrained"
        assert f"the metrics of tiny/{other} are of {kind} answers" in caplog.text
        assert f"the predictions of {other} are of {kind} answers" in caplog.text


def test_too_little_room_for_a_report_is_said(test_split, photos, taxonomy, vlm_params, params):
    short = params.model_copy(update={"constrained": True, "max_new_tokens": 21})
    with pytest.raises(ValueError, match="max_new_tokens is 21, and an answer with one finding may take 22"):
        nodes.predict(test_split, photos, taxonomy, vlm_params, short, STAGE)


def test_a_broken_photo_is_named_and_what_was_answered_is_kept(
    test_split, photos, taxonomy, vlm_params, params, tmp_path
):
    broken = type(photos)(tmp_path)
    for photo_id in test_split["photo_id"]:
        whole = photos.path(photo_id).read_bytes()
        broken.path(photo_id).write_bytes(whole[: len(whole) // 2] if photo_id == "p6" else whole)
    with pytest.raises(OSError, match=r"p6.jpg is no whole photo .* run data_processing again"):
        nodes.predict(test_split, broken, taxonomy, vlm_params, params, STAGE)
    (file,) = (params.work_dir / "sft").iterdir()
    assert len(file.read_text().splitlines()) == 4


def test_an_empty_split_has_predictions_metrics_and_tables(test_split, photos, taxonomy, vlm_params, params):
    nothing = test_split[:0]
    found = nodes.predict(nothing, photos, taxonomy, vlm_params, params, STAGE)
    Predictions.validate(found)
    document, _, results = nodes.score(found, nothing, photos, taxonomy, params, STAGE)
    assert (document["about"]["photos"], document["intervals"], results) == (0, {}, [])
    stored = {"tiny/sft": lambda: document}
    split = nothing, photos, taxonomy
    second, third = reporting.tables(stored, *split, vlm_params, REPORTING, PAPER)
    predictions = {"predictions_sft": lambda: found, "predictions_base": lambda: found}
    compared = reporting.comparisons(predictions, *split, REPORTING)
    assert compared.empty
    html = reporting.page(stored, predictions, {}, *split, second, third, compared, vlm_params, REPORTING)
    assert "0 test photos" in html
    reporting.plots(stored, *split, vlm_params, REPORTING)


@pytest.mark.parametrize(
    "text", ["", "no report at all", "[{", '{"label": "crack"}', "[1, 2]", "\\ud800 [[[["]
)
def test_a_stage_without_any_report_has_figures(test_split, photos, taxonomy, vlm_params, params, text):
    found = predictions_of(text, test_split, photos, taxonomy)
    Predictions.validate(found)
    document, _, _ = nodes.score(found, test_split, photos, taxonomy, params, STAGE)
    metrics = document["metrics"]
    assert (metrics["map_50"], metrics["f1_label"], metrics["valid_json"]) == (0, 0, 0)
    assert document["labels"]["crack"]["precision_50"] is None
    split = test_split, photos, taxonomy
    stored = {"tiny/sft": lambda: document}
    predictions = {"predictions_sft": lambda: found, "predictions_base": lambda: found}
    tables = reporting.tables(stored, *split, vlm_params, REPORTING, PAPER)
    compared = reporting.comparisons(predictions, *split, REPORTING)
    page = reporting.page(stored, predictions, {}, *split, *tables, compared, vlm_params, REPORTING)
    assert "report" in page


def test_nothing_evaluated_yet_has_tables_that_say_how(test_split, photos, taxonomy, vlm_params):
    split = test_split, photos, taxonomy
    second, third = reporting.tables({}, *split, vlm_params, REPORTING, PAPER)
    assert second.empty
    assert (third["to fill"] != "").all()
    assert all(reporting.texts(second, third, vlm_params))
    compared = reporting.comparisons({}, *split, REPORTING)
    assert compared.empty
    reporting.plots({}, *split, vlm_params, REPORTING)
    assert "crack" in reporting.page({}, {}, {}, *split, second, third, compared, vlm_params, REPORTING)


def test_comparisons_pair_all_stages(test_split, photos, taxonomy):
    right = predictions_of("", test_split, photos, taxonomy, test_split["ground_truth"], valid_json=True)
    wrong = predictions_of("", test_split, photos, taxonomy)
    stored = {"predictions_sft_grpo": lambda: right, "predictions_base": lambda: wrong}
    found = reporting.comparisons(stored, test_split, photos, taxonomy, REPORTING).set_index("figure")
    assert set(zip(found["first"], found["second"], strict=True)) == {("base", "sft_grpo")}
    assert found.loc["map_50", "difference"] == pytest.approx(1)
    assert found.loc["map_50", "p"] == pytest.approx(2 / 21)


def test_a_command_names_model_and_data():
    assert (
        REPORTING.command_of("gemma", "ablation")
        == "kedro run --env x --pipelines ablation --params model=gemma"
    )
    given = REPORTING.model_copy(update={"given": Given(data_dir="/mnt/a b")})
    assert given.command_of("gemma", None) == "kedro run --env x --params 'model=gemma,data_dir=/mnt/a b'"


def test_scores_go_with_their_objects(taxonomy, vlm_params):
    """What follows an element that is no object, and a score that is no number, rank last."""
    dialogue = Dialogue(taxonomy=taxonomy, frame=load_vlm(vlm_params).frame, reasoning=False)
    found = '{"label":"crack","bbox":[1,2,30,40]}'
    for text, scores, expected in (
        (f"[{found},{found}]", (-0.5, -0.1), [-0.5, -0.1]),
        (f"[{found},5,{found}]", (-0.5,), [-0.5, nodes.LAST, nodes.LAST]),
        (f"[{found}]", (float("nan"),), [nodes.LAST]),
        ("[5]", (), [nodes.LAST]),
    ):
        answer = Answer(text, 3, True, scores)
        objects = json.loads(nodes._prediction(answer, dialogue)["objects"])
        assert [o["score"] for o in objects] == expected


def test_results_and_truth_have_the_same_order(test_split, photos, taxonomy, params):
    objects = test_split["ground_truth"].map(lambda text: json.dumps([json.loads(text)[0] | {"score": -1.0}]))
    right = predictions_of("", test_split, photos, taxonomy, objects, valid_json=True)
    turned = right[::-1].reset_index(drop=True)
    _, _, results = nodes.score(turned, test_split, photos, taxonomy, params, STAGE)
    truth = truth_of_test(test_split, taxonomy)["annotations"]
    assert [row["bbox"] for row in results] == [row["bbox"] for row in truth]
    assert [row["image_id"] for row in results] == [row["image_id"] for row in truth]


def test_earlier_predictions_beside_newer_metrics_are_told(
    test_split, photos, taxonomy, vlm_params, params, caplog
):
    old = predictions_of("", test_split, photos, taxonomy)
    document, _, _ = nodes.score(old, test_split, photos, taxonomy, params, STAGE)
    new = old.assign(objects=test_split["ground_truth"])
    split = test_split, photos, taxonomy
    stored = {"tiny/sft": lambda: document}
    tables = reporting.tables(stored, *split, vlm_params, REPORTING, PAPER)
    compared = reporting.comparisons({}, *split, REPORTING)
    with caplog.at_level(logging.WARNING):
        for predictions, told in ((old, False), (new, True)):
            reporting.page(
                stored,
                {"predictions_sft": lambda p=predictions: p},
                {},
                *split,
                *tables,
                compared,
                vlm_params,
                REPORTING,
            )
            assert ("metrics of sft are of earlier predictions" in caplog.text) == told
