import copy
import json
from pathlib import Path

import pytest

from lng_kedro.geometry import PROCESSED, Frame
from lng_kedro.imaging import PhotoFolder
from lng_kedro.prompts import user_prompt
from lng_kedro.training.data import grpo_dataset, sft_dataset
from lng_kedro.vlm.load import load_vlm


@pytest.fixture(scope="module")
def vlm(vlm_params):
    return load_vlm(vlm_params)


def test_completions_speak_the_models_frame(samples, photos, taxonomy):
    dataset = sft_dataset(samples, photos, taxonomy, Frame(128, 128), reasoning_share=0.0, seed=0)
    # 512 -> 128 divides by four: [40, 60, 160, 260] becomes [10, 15, 40, 65].
    assert json.loads(dataset[1]["completion"][0]["content"])[0]["bbox"] == [10, 15, 40, 65]
    assert "in a frame 128 wide and 128 high" in dataset[1]["prompt"][0]["content"]
    assert [message["role"] for message in dataset[1]["prompt"]] == ["user"]


def test_processed_frame_leaves_the_numbers(samples, photos, taxonomy):
    dataset = grpo_dataset(samples, photos, taxonomy, PROCESSED)
    boxes = [json.loads(row["ground_truth"])[0]["bbox"] for row in dataset]
    assert [40, 60, 160, 260] in boxes
    assert [message["role"] for message in dataset[1]["prompt"]] == ["system", "user"]
    row = dataset[0]
    label = json.loads(row["ground_truth"])[0]["label"]
    assert row["answer"] == f"<think>1: {label}</think><answer>{row['ground_truth']}</answer>"


def test_every_grpo_row_is_its_photos(samples, photos, taxonomy):
    dataset = grpo_dataset(samples, photos, taxonomy, PROCESSED)
    for row, sample in zip(dataset, samples.itertuples(), strict=True):
        assert row["photo_id"] == sample.photo_id == Path(row["images"][0].filename).stem
        assert json.loads(row["ground_truth"])[0]["label"] == json.loads(sample.ground_truth)[0]["label"]


def test_photos_are_read_when_they_are_needed(samples, photos, taxonomy):
    dataset = grpo_dataset(samples, photos, taxonomy, PROCESSED)
    (photo,), (again,) = dataset[[0, 0]]["images"]
    assert again is photo, "a photo was opened for each of its candidates"
    assert copy.deepcopy([photo])[0] is photo
    assert photo.fp is not None, "it is decoded and its file closed"
    assert photo.getpixel((0, 0)) == photos.load(Path(photo.filename).stem).getpixel((0, 0))


@pytest.mark.parametrize("length", [0, 30, None])
def test_a_file_that_is_no_photo_is_named(samples, photos, taxonomy, tmp_path, length):
    for photo_id in samples["photo_id"]:
        content = b"not a photo" if length is None else photos.path(photo_id).read_bytes()[:length]
        (tmp_path / f"{photo_id}.jpg").write_bytes(content)
    dataset = grpo_dataset(samples, PhotoFolder(tmp_path), taxonomy, PROCESSED)
    with pytest.raises(OSError, match=r"p\d\.jpg is no whole photo .* run data_processing again"):
        dataset[0]


def test_reasoning_share_mixes_both_forms(samples, photos, taxonomy):
    every = sft_dataset(samples, photos, taxonomy, PROCESSED, reasoning_share=1.0, seed=0)
    assert all("<think>" in row["completion"][0]["content"] and len(row["prompt"]) == 2 for row in every)
    none = sft_dataset(samples, photos, taxonomy, PROCESSED, reasoning_share=0.0, seed=0)
    assert not any("<think>" in row["completion"][0]["content"] for row in none)
    some = [
        [len(row["prompt"]) for row in sft_dataset(samples, photos, taxonomy, PROCESSED, 0.5, seed)]
        for seed in (1, 1, 2)
    ]
    assert some[0] == some[1] != some[2]


def test_loss_counts_the_completion_only(samples, photos, taxonomy, vlm):
    from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

    dataset = sft_dataset(samples, photos, taxonomy, vlm.frame, reasoning_share=0.0, seed=0)
    collator = DataCollatorForVisionLanguageModeling(vlm.processor, completion_only_loss=True)
    batch = collator([dataset[0], dataset[7]])
    tokenizer = vlm.processor.tokenizer
    for row, labels, ids in zip((dataset[0], dataset[7]), batch["labels"], batch["input_ids"], strict=True):
        counted = labels[labels != -100]
        assert tokenizer.decode(counted) == row["completion"][0]["content"] + "<|im_end|>\n"
        masked = tokenizer.decode(ids[labels == -100])
        assert masked.replace("<|endoftext|>", "").endswith("<|im_start|>assistant\n")
        assert masked.count("<|image_pad|>") == 16
        assert user_prompt(taxonomy, vlm.frame) in masked
