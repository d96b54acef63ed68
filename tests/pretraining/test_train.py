import math
from itertools import islice

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import DefaultFlowCallback

from lng_kedro.pretraining.losses import BoxLoss, SceneHead, scene_targets
from lng_kedro.pretraining.muon import Muon
from lng_kedro.pretraining.samples import PHRASES, generic_samples
from lng_kedro.pretraining.scenes import Scene, SceneObject, draw_scene
from lng_kedro.pretraining.train import (
    PretrainingParams,
    _embed_patches_by_matrix,
    _whiten_patches,
    collate,
    pretrain,
)
from lng_kedro.vlm.tiny import build_model, build_processor, number_ids

RECIPE = {
    "seed": 0,
    "image_size": 128,
    "vision": (1, 32, 1),
    "text": (2, 32, 1),
    "form_share": 0.5,
    "reasoning_share": 0.5,
    "vision_steps": 1,
    "steps": 4,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "muon_learning_rate": 1e-2,
    "warmup_steps": 1,
    "scene_weight": 0.5,
    "logging_steps": 1,
    "save_steps": 2,
    "work_dir": "unused",
}


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


def scene(*objects):
    return Scene(Image.new("RGB", (128, 128)), objects, "red", "even")


def test_scene_targets_of_an_object():
    """By hand: 16-pixel patches, 32-pixel cells; patches come cell by cell."""
    one = SceneObject((60.0, 8.0, 80.0, 32.0), "red", "disc", "plain", "bare")
    targets = scene_targets([scene(), scene(one)])
    assert targets["scene_photo"].tolist() == [1]
    # Centre (70, 20): column 70 // 32 = 2, row 20 // 32 = 0.
    assert targets["scene_cell"].tolist() == [2]
    assert targets["scene_box"].tolist() == [pytest.approx([60 / 128, 8 / 128, 80 / 128, 32 / 128])]
    assert targets["scene_names"].tolist() == [[0, 0, 0, 0, 0]]
    # Covered by more than 0.4: of patch column 4 (64 to 80) row 0 a half and row 1 the whole; of column 3
    # (48 to 64) a quarter. Cell (0, 2) holds columns 4 and 5 of rows 0 and 1: patches 8 to 11.
    assert targets["scene_owner"][0].tolist() == [-1] * 64
    owned = torch.nonzero(targets["scene_owner"][1] == 0).flatten().tolist()
    assert owned == [8, 10]
    # Patch 8 has its centre at (72, 8): 12 from the left side, 0 from the top, 8 and 24 from the others.
    assert targets["scene_sides"][64 + 8].tolist() == pytest.approx([12 / 64, 0, 8 / 64, 24 / 64])


def test_readings_are_learnt_from_what_they_read():
    """A head that says the truth with certainty has no loss but the distances', which are zero too."""
    one = SceneObject((32.0, 0.0, 64.0, 32.0), "red", "disc", "plain", "bare")
    targets = scene_targets([scene(one)])
    head = SceneHead(4, 4)
    readings = torch.full((64, sum(head.patch.sizes)), -50.0)
    owned = targets["scene_owner"][0] >= 0
    starts = torch.tensor([0, *head.patch.sizes]).cumsum(0).tolist()
    readings[owned, 0] = 50.0
    readings[:, 1:5] = targets["scene_sides"]
    for start in starts[2:-1]:  # the first name of every kind
        readings[:, start] = 50.0
    head.patch.forward = lambda _: readings.split(head.patch.sizes, dim=1)
    head.object.forward = lambda f: tuple(
        torch.eye(size)[:1].repeat(len(f), 1) * 100 for size in head.object.sizes
    )
    assert head.vision_loss(torch.randn(64, 4), targets).item() == pytest.approx(0, abs=1e-6)
    readings[owned, 0] = -50.0
    assert head.vision_loss(torch.randn(64, 4), targets).item() > 1


def test_scene_head_bears_scenes_without_objects():
    targets = scene_targets([scene(), scene()])
    head = SceneHead(8, 6)
    assert torch.isfinite(head.vision_loss(torch.randn(128, 8), targets))
    assert torch.isfinite(head.text_loss(torch.randn(32, 6), targets))


def test_muon_moves_a_matrix_by_an_orthogonal_step():
    """Singular values of the step lie near one, times rate x 0.2 x sqrt(longer side)."""
    torch.manual_seed(0)
    tall, square, bias = (torch.nn.Parameter(torch.zeros(*s)) for s in ((24, 16), (16, 16), (5,)))
    for weight in (tall, square, bias):
        weight.grad = torch.randn_like(weight)
    Muon([tall, square], [bias], muon_lr=0.1, lr=0.01, weight_decay=0.0).step()
    for weight, longer in ((tall, 24), (square, 16)):
        values = torch.linalg.svdvals(weight.detach()) / (0.1 * 0.2 * longer**0.5)
        assert values.min() > 0.3 and values.max() < 1.3
    # The first step of AdamW is the rate, whatever the gradient.
    torch.testing.assert_close(bias.detach().abs(), torch.full((5,), 0.01), rtol=1e-4, atol=0)


def test_muon_takes_query_key_and_value_for_three_matrices():
    torch.manual_seed(0)
    fused = torch.nn.Parameter(torch.zeros(48, 16))
    gradient = torch.randn(48, 16)
    fused.grad = gradient.clone()
    parts = [torch.nn.Parameter(torch.zeros(16, 16)) for _ in range(3)]
    for part, g in zip(parts, gradient.chunk(3), strict=True):
        part.grad = g.clone()
    Muon([fused], [], muon_lr=0.1, lr=0.01).step()
    Muon(parts, [], muon_lr=0.1, lr=0.01).step()
    torch.testing.assert_close(fused.detach(), torch.cat([p.detach() for p in parts]))


def test_patches_of_generic_scenes_come_out_white(processor):
    model = build_model(processor, (1, 32, 1), (1, 32, 1), seed=0)
    embed = model.model.visual.patch_embed
    _whiten_patches(embed, processor, PretrainingParams(**RECIPE))
    rng = np.random.default_rng(5)
    scenes = [draw_scene(rng, 128).image for _ in range(300)]
    patches = processor.image_processor(scenes, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        spread = torch.cov(embed(patches).T)
    assert spread.diag().min() > 0.5 and spread.diag().max() < 1.5
    assert (spread - torch.diag(spread.diag())).abs().max() < 0.25


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
    model, _, history = pretrain(taxonomy, PretrainingParams(**RECIPE | {"work_dir": tmp_path}))
    assert model.dtype == torch.bfloat16
    assert not [name for name in model.state_dict() if "scene_head" in name]
    assert len(history) == 4


def test_a_run_that_was_cut_off_ends_with_the_same_weights(taxonomy, tmp_path, monkeypatch):
    whole, *_ = pretrain(taxonomy, PretrainingParams(**RECIPE | {"work_dir": tmp_path / "whole"}))

    def cut(self, args, state, control, **_):
        if state.global_step == 3:
            raise KeyboardInterrupt

    params = PretrainingParams(**RECIPE | {"work_dir": tmp_path / "cut"})
    with monkeypatch.context() as patched:
        patched.setattr(DefaultFlowCallback, "on_step_begin", cut, raising=False)
        with pytest.raises(KeyboardInterrupt):
            pretrain(taxonomy, params)
    resumed, *_ = pretrain(taxonomy, params)
    for name, weight in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], weight, rtol=0, atol=0, msg=name)
