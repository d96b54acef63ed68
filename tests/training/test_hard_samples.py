import json

import pytest
import torch

from lng_kedro.training import grpo
from tests.training.test_grpo import grpo_params

PHOTOS, CANDIDATES = 2, 4


@pytest.fixture
def trainer(samples, photos, taxonomy, vlm_params, tmp_path, monkeypatch):
    """Next to no randomness: the candidates of a group are the same."""
    caught = []
    monkeypatch.setattr(grpo, "fit", lambda trainer, *_: caught.append(trainer))
    params = grpo_params(
        tmp_path,
        hard_samples="inject",
        temperature=1e-4,
        max_completion_length=120,
        beta=0.0,
        batch_size=PHOTOS * CANDIDATES,
        num_generations=CANDIDATES,
    )
    grpo.train_grpo(samples, photos, taxonomy, vlm_params, params, lambda values, step: None, None)
    return caught[0]


def rows(trainer, first, second):
    return [dict(trainer.train_dataset[i]) for i in [first] * CANDIDATES + [second] * CANDIDATES]


def texts(trainer, output):
    ids = output["completion_ids"].tolist()
    return trainer.processing_class.batch_decode(ids, skip_special_tokens=True)


def test_the_truth_is_the_last_candidate_and_teaches_where_the_others_are_worse(trainer):
    batch = rows(trainer, 0, 1)
    own = texts(trainer, trainer._generate_and_score_completions(batch))[0]
    # What the model says about the first photo is declared its truth.
    report = own.partition("<answer>")[2].partition("</answer>")[0]
    assert isinstance(json.loads(report), list)
    for row in batch[:CANDIDATES]:
        row |= {"ground_truth": report, "answer": own}

    output = trainer._generate_and_score_completions(batch)

    found = texts(trainer, output)
    assert found[:CANDIDATES] == [own] * CANDIDATES
    assert found[-1] == batch[-1]["answer"]
    assert batch[-1]["answer"] not in found[:-1]
    # Three equal candidates and a better one: (1/4, 1/4, 1/4, -3/4) of the difference, by its deviation 1/2.
    assert output["advantages"].tolist() == pytest.approx([0] * 4 + [-0.5] * 3 + [1.5], abs=2e-3)
    truth = sum(trainer.reward_weights.tolist())
    own_reward = trainer._metrics["train"]["own_reward"][-1]
    reward = trainer._metrics["train"]["reward"][-1]
    # Of eight candidates the four of the first photo and the truth of the second are perfect.
    assert truth / 2 < own_reward < reward < truth
    assert 8 * reward - 2 * truth == pytest.approx(6 * own_reward, rel=1e-5)


def test_the_truth_ends_as_the_models_answers_end(trainer):
    """Else the model would learn to go on, or to stop by another token than at inference."""
    output = trainer._generate_and_score_completions(rows(trainer, 0, 1))
    lengths = output["completion_mask"].sum(dim=1)
    last = [ids[length - 1].item() for ids, length in zip(output["completion_ids"], lengths, strict=True)]
    assert set(last) == {trainer.eos_token_ids[0]}
    injected = output["completion_ids"][-1][: lengths[-1]]
    assert torch.isin(injected, torch.tensor(trainer.eos_token_ids)).sum() == 1
