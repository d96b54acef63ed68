"""Stored predictions and metrics are used only for the test split that they are of."""

import json
import logging

import pytest

from lng_kedro.results import current_metrics, current_predictions, match_photos, metrics_document

STAGES = ("base", "sft", "sft_grpo")


@pytest.fixture
def predictions(samples, photos, taxonomy):
    """Perfect ones."""
    return samples[["photo_id"]].assign(
        objects=samples["ground_truth"],
        valid_json=[True] * 7 + [False],
        schema_true=True,
        photos_sha256=photos.hash_of_all(samples["photo_id"]),
        taxonomy_sha256=taxonomy.digest,
    )


def test_predictions_are_matched_by_photo_whatever_their_order(predictions, samples, photos, taxonomy):
    shuffled = predictions.sample(frac=1, random_state=0)
    figures = match_photos(shuffled, samples, photos, taxonomy, "sft").figures()
    assert (figures["f1_50"], figures["valid_json"], figures["schema_true"]) == (1, 7 / 8, 1)


def test_the_order_of_the_split_does_not_matter(predictions, samples, photos, taxonomy):
    assert match_photos(predictions, samples[::-1], photos, taxonomy, "sft").figures()["f1_50"] == 1


@pytest.mark.parametrize("kept", [slice(0, 7), slice(0, 0)])
def test_predictions_of_other_photos_are_refused(predictions, samples, photos, taxonomy, kept):
    with pytest.raises(ValueError, match="'sft' are of other test photos: run its evaluation again"):
        match_photos(predictions[kept], samples, photos, taxonomy, "sft")
    with pytest.raises(ValueError, match="other test photos"):
        match_photos(predictions, samples[kept], photos, taxonomy, "sft")


def test_predictions_of_photos_that_look_otherwise_are_refused(
    predictions, samples, photos, taxonomy, tmp_path
):
    other = type(photos)(tmp_path)
    for photo_id in samples["photo_id"]:
        other.path(photo_id).write_bytes(photos.path(photo_id).read_bytes() + b"\0" * (photo_id == "p3"))
    with pytest.raises(ValueError, match="other test photos"):
        match_photos(predictions, samples, other, taxonomy, "sft")


def test_predictions_of_another_schema_are_refused(predictions, samples, photos, taxonomy):
    more = taxonomy.with_data_values({"material": ["steel"]})
    with pytest.raises(ValueError, match="another report schema"):
        match_photos(predictions, samples, photos, more, "sft")


def test_an_empty_split_has_figures(predictions, samples, photos, taxonomy):
    nothing = predictions[:0].assign(photos_sha256=[], taxonomy_sha256=[])
    scores = match_photos(nothing, samples[:0], photos, taxonomy, "sft")
    document = metrics_document(scores, nothing, samples[:0], photos, {})
    assert document["about"]["photos"] == 0
    assert document["metrics"]["map_50"] == 1
    json.dumps(document, allow_nan=False)


def test_the_document(predictions, samples, photos, taxonomy):
    scores = match_photos(predictions, samples, photos, taxonomy, "sft")
    intervals = {"map_50": (0.9, 1.0), "ap_50/crack": (float("nan"), float("nan"))}
    document = metrics_document(scores, predictions, samples, photos, intervals)
    assert document["about"]["objects"] == 8
    assert document["intervals"] == {"map_50": [0.9, 1.0]}
    assert document["labels"]["welding"]["n_true"] == 1
    assert document["confusion"]["label"]["matrix"][0][0] == 1
    json.dumps(document, allow_nan=False)


def test_metrics_of_another_split_are_left_out(predictions, samples, photos, taxonomy, caplog):
    scores = match_photos(predictions, samples, photos, taxonomy, "sft")
    document = metrics_document(scores, predictions, samples, photos, {})
    stored = {"gemma/sft": lambda: document, "detectors/yolo11m": lambda: document}
    assert current_metrics(stored, samples, photos, taxonomy) == {
        "gemma": {"sft": document},
        "detectors": {"yolo11m": document},
    }
    relabelled = samples.assign(ground_truth=["[]", *samples["ground_truth"][1:]])
    with caplog.at_level(logging.WARNING):
        assert current_metrics(stored, relabelled, photos, taxonomy) == {}
    assert "gemma/sft" in caplog.text


def test_stages_come_in_their_order_and_others_are_left_out(predictions, samples, photos, taxonomy, caplog):
    stored = {"predictions_sft_grpo": lambda: predictions, "predictions_base": lambda: predictions}
    found = current_predictions(stored, STAGES, samples, photos, taxonomy)
    assert list(found) == ["base", "sft_grpo"]
    stored["predictions_sft"] = lambda: predictions.assign(photos_sha256="another")
    with caplog.at_level(logging.WARNING):
        found = current_predictions(stored, STAGES, samples, photos, taxonomy)
    assert list(found) == ["base", "sft_grpo"]
    assert "predictions of sft are of other test photos" in caplog.text


def test_what_an_earlier_version_stored_is_left_out(predictions, samples, photos, taxonomy, caplog):
    with caplog.at_level(logging.WARNING):
        assert current_metrics({"gemma/sft": lambda: {"map_50": 0.5}}, samples, photos, taxonomy) == {}
        old = {"predictions_sft": lambda: predictions.drop(columns="photos_sha256")}
        assert current_predictions(old, STAGES, samples, photos, taxonomy) == {}
    assert "gemma/sft" in caplog.text
    assert "predictions of sft are of an earlier version" in caplog.text


def test_relabelled_photos_need_no_new_predictions(predictions, samples, photos, taxonomy):
    relabelled = samples.assign(ground_truth="[]")
    assert match_photos(predictions, relabelled, photos, taxonomy, "sft").figures()["f1_50"] == 0
