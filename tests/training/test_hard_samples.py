import json

import pytest

from lng_kedro.training import grpo
from tests.training.test_grpo import grpo_params

CANDIDATES = 4
TRUTHS = slice(CANDIDATES - 1, None, CANDIDATES)


@pytest.fixture
def make_trainer(samples, photos, taxonomy, vlm_params, tmp_path, monkeypatch):
    """Next to no randomness: the policy's candidates of a group are the same."""

    def make(**changes):
        caught = []
        monkeypatch.setattr(grpo, "fit", lambda trainer, *_: caught.append(trainer))
        params = grpo_params(
            tmp_path,
            **{
                "hard_samples": "inject",
                "temperature": 1e-4,
                "max_completion_length": 120,
                "beta": 0.0,
                "batch_size": 2 * CANDIDATES,
                "num_generations": CANDIDATES,
            }
            | changes,
        )
        grpo.train_grpo(samples, photos, taxonomy, vlm_params, params, lambda values, step: None, None)
        return caught[0]

    return make


def rows(trainer):
    return [dict(trainer.train_dataset[i]) for i in [0] * CANDIDATES + [1] * CANDIDATES]


def texts(trainer, output):
    ids = output["completion_ids"].tolist()
    return trainer.processing_class.batch_decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(
    # The first photo's candidates are as good as its truth; the second's, equal too, are worse by d.
    # Deviation of the second group, (-d, -d, -d, 0), is d/2; of the batch, with four more 0, d sqrt(15/56).
    ("scale", "expected"),
    [("group", 2.0), ("batch", (56 / 15) ** 0.5)],
)
def test_the_truth_teaches_where_the_others_fall_short_of_it(make_trainer, scale, expected):
    trainer = make_trainer(scale_rewards=scale)
    batch = rows(trainer)
    own = texts(trainer, trainer._generate_and_score_completions(batch))[0]
    # What the model says about the first photo is declared its truth.
    report = own.partition("<answer>")[2].partition("</answer>")[0]
    assert isinstance(json.loads(report), list)
    trainer._truths[own] = trainer._tokens(batch[0]["prompt"], own)
    for row in batch[:CANDIDATES]:
        row |= {"ground_truth": report, "answer": own}

    output = trainer._generate_and_score_completions(batch)

    found = texts(trainer, output)
    assert found[:CANDIDATES] == [own] * CANDIDATES
    assert found[-1] == batch[-1]["answer"]
    assert batch[-1]["answer"] not in found[:-1]
    assert output["advantages"].tolist() == pytest.approx([0] * 7 + [expected], abs=2e-3)
    logged = trainer._metrics["train"]
    perfect = trainer.reward_weights.sum().item()
    d = 2 * logged["shortfall"][-1]
    assert d > 0.5
    # Of the policy's own six candidates three are perfect: no truth is among what is logged.
    assert logged["reward"][-1] == pytest.approx(perfect - d / 2, abs=1e-4)


def test_the_policys_own_candidates_are_compared_with_each_other_alone(make_trainer):
    trainer = make_trainer(temperature=1.5, scale_rewards="none")
    output = trainer._generate_and_score_completions(rows(trainer))
    own = output["advantages"].view(-1, CANDIDATES)[:, :-1]
    assert own.abs().max() > 0.01
    assert own.sum(dim=1).tolist() == pytest.approx([0, 0], abs=1e-5)
    # Not scaled, the truth's advantages are the shortfalls themselves.
    truths = output["advantages"][TRUTHS]
    assert truths.mean().item() == pytest.approx(trainer._metrics["train"]["shortfall"][-1])
    assert (truths > 0).all()


def test_the_truth_is_what_sft_teaches_up_to_the_end_of_the_turn(make_trainer):
    """Else the model would learn to go on, or to stop by another token than at inference."""
    trainer = make_trainer()
    row = trainer.train_dataset[0]
    output = trainer._generate_and_score_completions(rows(trainer))
    injected = output["completion_ids"][CANDIDATES - 1][output["completion_mask"][CANDIDATES - 1].bool()]
    ids = trainer.processing_class.tokenizer(f"{row['answer']}<|im_end|>")["input_ids"]
    assert injected.tolist() == ids


@pytest.mark.parametrize(
    ("closing", "said"),
    [
        ("<|im_end|>\n", " []<|im_end|>"),  # a token that ends the turn, but is not the tokenizer's end
        ("</s>\n", " []</s>\n<|endoftext|>"),  # text, as in some copies of LLaVA's template
    ],
)
def test_an_answer_ends_with_the_turn_or_with_the_tokenizers_end(make_trainer, closing, said):
    trainer = make_trainer()
    tokenizer = trainer.processing_class.tokenizer
    tokenizer.eos_token = "<|endoftext|>"
    trainer.processing_class.chat_template = (
        "{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content[0].text }}"
        + closing
        + "{% else %}{{ m.content[-1].text }}{% endif %}{% endfor %}"
    )
    prompt = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}]
    assert tokenizer.decode(trainer._tokens(prompt, "[]")) == said


def test_a_true_answer_that_does_not_fit_is_refused_before_training(make_trainer):
    with pytest.raises(ValueError, match="max_completion_length is 8, but the true answer of a photo has"):
        make_trainer(max_completion_length=8)


def test_with_one_candidate_of_its_own_the_policy_learns_from_the_truth_alone(
    samples, photos, taxonomy, vlm_params, tmp_path
):
    """As in the demo: there is nothing that its own candidate could be compared with."""
    told = []
    params = grpo_params(
        tmp_path, hard_samples="inject", num_generations=2, beta=0.0, max_completion_length=120
    )
    model, history = grpo.train_grpo(
        samples, photos, taxonomy, vlm_params, params, lambda values, step: told.append(values), None
    )
    assert any("shortfall" in values for values in told)
    assert history["reward"].notna().all()
    # They start at nought, and stay there without a gradient.
    assert any(weight.abs().sum() > 0 for name, weight in model.named_parameters() if "lora_B" in name)
