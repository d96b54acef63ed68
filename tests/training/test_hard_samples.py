import json

import pytest

from lng_kedro.training import grpo
from lng_kedro.training.hard_samples import SPREADS, HardSampleTrainer
from tests.training.notes import Notes
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
                "hard_samples": "resample_inject",
                "temperature": 1e-4,
                "max_completion_length": 120,
                "beta": 0.0,
                "batch_size": 2 * CANDIDATES,
                "num_generations": CANDIDATES,
            }
            | changes,
        )
        grpo.train_grpo(samples, photos, taxonomy, vlm_params, params, Notes(), None)
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


def test_a_true_answer_that_does_not_fit_is_refused_before_training(make_trainer):
    with pytest.raises(ValueError, match="max_completion_length is 8, but the true answer of a photo has"):
        make_trainer(max_completion_length=8)


def test_with_one_candidate_of_its_own_the_policy_learns_from_the_truth_alone(
    samples, photos, taxonomy, vlm_params, tmp_path
):
    """As in the demo: there is nothing that its own candidate could be compared with."""
    notes = Notes()
    params = grpo_params(
        tmp_path, hard_samples="resample_inject", num_generations=2, beta=0.0, max_completion_length=120
    )
    adapter, history = grpo.train_grpo(samples, photos, taxonomy, vlm_params, params, notes, None)
    assert all("shortfall" in values for step, values in notes.steps if "loss" in values)
    assert history["reward"].notna().all()
    # They start at nought, and stay there without a gradient.
    assert any(
        weight.abs().sum() > 0 for name, weight in adapter.model.named_parameters() if "lora_B" in name
    )


@pytest.fixture
def drawn(monkeypatch):
    """How many candidates each call of the generation is asked for."""
    counts = []
    draw = HardSampleTrainer._generate_single_turn

    def counted(self, prompt_ids, *rest):
        counts.append(len(prompt_ids))
        return draw(self, prompt_ids, *rest)

    monkeypatch.setattr(HardSampleTrainer, "_generate_single_turn", counted)
    return counts


def photos_of(trainer):
    return [row["photo_id"] for row in trainer._inputs[::CANDIDATES]]


def test_groups_with_spread_are_drawn_once(make_trainer, drawn):
    trainer = make_trainer(hard_samples="resample", temperature=1.5)
    trainer._generate_and_score_completions(rows(trainer))
    assert drawn == [8]
    assert photos_of(trainer) == ["p0", "p1"]
    assert trainer._metrics["train"]["redrawn"] == trainer._metrics["train"]["zero_spread"] == [0]
    spreads = trainer.state.stateful_callbacks[SPREADS]
    assert spreads.keys() == {"p0", "p1"}
    assert all(spread > 0 for spread in spreads.values())


def test_groups_without_spread_are_drawn_once_more_and_no_oftener(make_trainer, drawn):
    """No other photo is known yet: the same ones are tried again."""
    trainer = make_trainer(hard_samples="resample")
    before = trainer.state.num_input_tokens_seen
    output = trainer._generate_and_score_completions(rows(trainer))
    assert drawn == [8, 8]
    assert photos_of(trainer) == ["p0", "p1"]
    assert trainer._metrics["train"]["redrawn"] == trainer._metrics["train"]["zero_spread"] == [1]
    assert output["advantages"].tolist() == [0] * 8
    # What was thrown away was generated too.
    tokens = 8 * output["prompt_ids"].shape[1] + output["completion_mask"].sum().item()
    assert trainer.state.num_input_tokens_seen - before == 2 * tokens


@pytest.mark.parametrize("remedy", ["resample", "resample_inject"])
def test_a_mastered_photo_makes_room_for_one_whose_candidates_differed(make_trainer, drawn, remedy, photos):
    trainer = make_trainer(hard_samples=remedy)
    batch = rows(trainer)
    # What the model says about each photo is declared its truth.
    said = texts(trainer, trainer._generate_and_score_completions(list(batch)))
    for row, own in zip(batch, [said[0]] * CANDIDATES + [said[CANDIDATES]] * CANDIDATES, strict=True):
        row["answer"] = own
        row["ground_truth"] = own.partition("<answer>")[2].partition("</answer>")[0]
        if remedy == "resample_inject":
            trainer._truths[own] = trainer._tokens(row["prompt"], own)
    drawn.clear()
    trainer.state.stateful_callbacks[SPREADS] = {"p5": 0.4, "p3": 0.0, "p0": 9.0}
    output = trainer._generate_and_score_completions(batch)
    own = CANDIDATES - (remedy == "resample_inject")
    # One photo is known that is not in the step and had some spread; the other group stays.
    assert drawn == [2 * own, own]
    assert photos_of(trainer) == ["p5", "p1"]
    assert trainer._metrics["train"]["redrawn"][-1] == 0.5
    # Its pixels, and its truth, go with it.
    pixels = output["pixel_values"].reshape(8, -1)
    assert (pixels[0] == pixels[3]).all()
    assert not (pixels[0] == pixels[4]).all()
    wanted = trainer.processing_class.image_processor([[photos.load("p5")]], return_tensors="pt")
    assert (wanted["pixel_values"].flatten() == pixels[0]).all()
    if remedy == "resample_inject":
        assert texts(trainer, output)[CANDIDATES - 1] == trainer.train_dataset[5]["answer"]


def test_a_group_that_fails_is_not_drawn_again_where_the_truth_teaches(make_trainer, drawn):
    trainer = make_trainer(hard_samples="resample_inject")
    trainer.state.stateful_callbacks[SPREADS] = {"p5": 0.4}
    trainer._generate_and_score_completions(rows(trainer))
    assert drawn == [2 * (CANDIDATES - 1)]
    assert photos_of(trainer) == ["p0", "p1"]
    assert trainer._metrics["train"]["redrawn"] == trainer._metrics["train"]["zero_spread"] == [0]


def test_the_likelier_the_more_candidates_differed_and_by_seed_and_step(make_trainer):
    trainer = make_trainer(hard_samples="resample")
    trainer._inputs = rows(trainer)
    trainer.state.stateful_callbacks[SPREADS] = {"p2": 0.1, "p3": 0.9}

    def chosen(step):
        trainer.state.global_step = step
        trainer._inputs = rows(trainer)
        trainer._replace_photos([0], [None] * 8)
        return photos_of(trainer)[0]

    found = [chosen(step) for step in range(200)]
    assert found == [chosen(step) for step in range(200)]
    assert 160 < found.count("p3") < 195, "of 200; 180 by its weight"
