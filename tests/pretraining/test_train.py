import math
from itertools import islice

import pytest
import torch

from lng_kedro.pretraining.losses import BoxLoss, SceneHead, scene_targets
from lng_kedro.pretraining.samples import PHRASES, generic_samples
from lng_kedro.pretraining.scenes import SceneObject
from lng_kedro.pretraining.train import (
    PretrainingParams,
    _embed_patches_by_matrix,
    collate,
    pretrain,
)
from lng_kedro.vlm.tiny import build_model, build_processor, number_ids


@pytest.fixture(scope="module")
def processor(taxonomy):
    return build_processor(taxonomy, 128, PHRASES)


def test_a_near_miss_costs_less_than_a_far_one(processor):
    loss = BoxLoss(processor.tokenizer)
    numbers = number_ids(processor.tokenizer)
    labels = torch.tensor([[-100, numbers[60]]])

    def cost(said):
        logits = torch.zeros(1, 2, len(processor.tokenizer))
        logits[0, 0, numbers[said]] = 8.0
        return loss(logits, labels).item()

    assert cost(60) < cost(62) < cost(66)
    assert cost(66) == pytest.approx(cost(110), abs=0.02), "beyond three sigmas all are equally wrong"


def test_words_cost_their_cross_entropy(processor):
    loss = BoxLoss(processor.tokenizer)
    vocabulary = len(processor.tokenizer)
    crack = processor.tokenizer.convert_tokens_to_ids("crack")
    logits = torch.zeros(1, 3, vocabulary)
    labels = torch.tensor([[-100, crack, crack]])
    # Uniform logits: the entropy of the vocabulary.
    assert loss(logits, labels).item() == pytest.approx(math.log(vocabulary), abs=1e-5)


def test_the_count_in_a_thought_is_no_coordinate(processor):
    loss = BoxLoss(processor.tokenizer)
    ids = processor.tokenizer.convert_tokens_to_ids
    labels = torch.tensor([[-100, ids("<think>"), ids("2")]])
    logits = torch.full((1, 3, len(processor.tokenizer)), -50.0)
    logits[0, 0, ids("<think>")] = 50.0
    logits[0, 1, ids("2")] = 50.0
    # Sure of the right token: nothing to pay, which a soft target would still ask for.
    assert loss(logits, labels).item() == pytest.approx(0.0, abs=1e-5)


def test_scene_targets_point_at_the_cell_of_the_centre(taxonomy):
    scene = next(generic_samples(taxonomy, 128, 5, 0.0, 0.0)).scene
    # Centre (70, 20): column 70 // 32 = 2, row 20 // 32 = 0.
    one = SceneObject((60.0, 10.0, 80.0, 30.0), "red", "disc", "plain")
    targets = scene_targets([type(scene)(scene.image, (one,), scene.background, scene.pattern)])
    assert targets["scene_cell"].tolist() == [2]
    assert targets["scene_box"].tolist() == [pytest.approx([60 / 128, 10 / 128, 80 / 128, 30 / 128])]


def test_scene_head_bears_scenes_without_objects(taxonomy):
    empty = next(s.scene for s in generic_samples(taxonomy, 128, 0, 0.0, 0.0) if not s.scene.objects)
    loss = SceneHead(8).loss(torch.randn(16, 8), scene_targets([empty]))
    assert torch.isfinite(loss)


def test_patches_by_matrix_are_the_same(processor):
    embed = build_model(processor, (1, 32, 1), (1, 32, 1), seed=0).model.visual.patch_embed
    patches = torch.randn(64, 3 * 2 * 16 * 16)
    wanted = embed(patches)
    _embed_patches_by_matrix(embed)
    torch.testing.assert_close(embed(patches), wanted, rtol=1e-4, atol=1e-5)


def test_loss_counts_the_answer_only(processor, taxonomy):
    samples = list(islice(generic_samples(taxonomy, 128, 0, 0.5, 0.5), 8))
    batch = collate(samples, processor)
    for sample, labels in zip(samples, batch["labels"], strict=True):
        counted = processor.tokenizer.decode(labels[labels != -100])
        assert counted == sample.messages[-1]["content"] + "<|im_end|>\n"


def test_recipe_runs_and_leaves_a_plain_model(taxonomy, tmp_path):
    params = PretrainingParams(
        seed=0,
        image_size=128,
        vision=(1, 32, 1),
        text=(2, 32, 1),
        form_share=0.5,
        reasoning_share=0.5,
        steps=2,
        batch_size=4,
        learning_rate=1e-3,
        warmup_steps=1,
        scene_weight=0.5,
        work_dir=tmp_path,
    )
    model, _, _ = pretrain(taxonomy, params)
    assert model.dtype == torch.bfloat16
    assert not [name for name in model.state_dict() if "scene_head" in name]
