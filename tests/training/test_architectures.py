"""Both stages on tiny random models of all families, through transformers' own classes."""

import json
from functools import partial

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText
from trl.trainer.sft_trainer import DataCollatorForVisionLanguageModeling

from lng_kedro.datasets import AdapterDataset
from lng_kedro.geometry import iou
from lng_kedro.prompts import chat_prompt
from lng_kedro.report import parse_report, to_json, to_objects
from lng_kedro.training import grpo
from lng_kedro.training.data import sft_dataset
from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm.generate import generate_answers, with_photo
from lng_kedro.vlm.load import load_vlm
from tests.training.notes import Notes
from tests.training.test_grpo import grpo_params
from tests.training.test_sft import sft_params


@pytest.fixture(scope="module")
def vlm(family_params):
    return load_vlm(family_params)


@pytest.fixture(scope="module")
def adapters(family_params, samples, photos, taxonomy, tmp_path_factory):
    """Folders of the adapters of both stages, and the figures of the second."""
    folder, notes = tmp_path_factory.mktemp("adapters"), Notes()
    params = sft_params(folder / "sft_work", epochs=1, reasoning_share=0.5)
    adapter, _ = train_sft(samples, photos, taxonomy, family_params, params, Notes())
    sft = AdapterDataset(filepath=str(folder / "sft"))
    sft.save(adapter)
    params = grpo_params(folder / "grpo_work", hard_samples="resample_inject", max_completion_length=120)
    adapter, _ = train_grpo(samples, photos, taxonomy, family_params, params, notes, sft.load())
    second = AdapterDataset(filepath=str(folder / "grpo"))
    second.save(adapter)
    return sft.load(), second.load(), notes.steps[0][1]


def test_both_stages_train_the_language_models_attention_alone(adapters):
    sft, second, first_step = adapters
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (sft, second))
    assert before.keys() == after.keys()
    assert len(before) == 2 * 4 * 2  # layers x projections x (A, B)
    assert all("language_model" in name and "self_attn" in name for name in before)
    assert any(tensor.abs().sum() > 0 for name, tensor in before.items() if "lora_B" in name)
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert first_step["kl"] == pytest.approx(0, abs=1e-6), (
        "the reference is not the policy that it starts from"
    )
    assert first_step["grad_norm"] > 0


def test_plain_peft_loads_the_adapter_and_it_answers(adapters, vlm, family_params, photos, taxonomy):
    base = AutoModelForImageTextToText.from_pretrained(family_params.spec.checkpoint, dtype=torch.float32)
    plain = PeftModel.from_pretrained(base, adapters[1])
    ours = load_vlm(family_params, adapter=adapters[1])
    prompt = chat_prompt(taxonomy, vlm.frame, reasoning=True)
    text = vlm.processor.apply_chat_template(with_photo(prompt), tokenize=False, add_generation_prompt=True)
    inputs = vlm.processor(
        text=[text], images=[[photos.load("p0")]], return_tensors="pt", add_special_tokens=False
    )
    wanted = plain(**inputs).logits
    assert torch.equal(ours.model(**inputs).logits, wanted)
    assert not torch.allclose(vlm.model(**inputs).logits, wanted, atol=1e-4)
    answers = list(generate_answers(ours, prompt, [partial(photos.load, f"p{i}") for i in range(4)], 4, 24))
    single = list(generate_answers(ours, prompt, [partial(photos.load, f"p{i}") for i in range(4)], 1, 24))
    assert [a.text for a in answers] == [a.text for a in single]
    assert all(answer.n_tokens for answer in answers)


def test_loss_counts_the_answer_token_by_token(vlm, samples, photos, taxonomy):
    dataset = sft_dataset(samples, photos, taxonomy, vlm.frame, reasoning_share=0.0, seed=0)
    rows = [dataset[0], dataset[7]]
    rows[1]["completion"][0]["content"] += " and a longer text, so that the first is padded"
    tokenizer = vlm.processor.tokenizer
    texts = [row["completion"][0]["content"] for row in rows]
    answers = [tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    batch = DataCollatorForVisionLanguageModeling(vlm.processor, completion_only_loss=True)(rows)
    ends = vlm.model.generation_config.eos_token_id
    for answer, ids, labels in zip(
        answers, batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True
    ):
        counted = [i for i, label in enumerate(labels) if label != -100]
        start, stop = counted[0], counted[-1] + 1
        assert counted == list(range(start, stop)), "a gap in the answer"
        assert labels[start:stop] == ids[start:stop]
        said = ids[start:stop]
        # LLaVA's template sets a blank before the answer; what follows the end is the template's.
        first = next(i for i, token in enumerate(said) if tokenizer.decode([token]).strip())
        assert said[first : first + len(answer)] == answer
        assert said[first + len(answer)] in ends
        assert not tokenizer.decode(said[first + len(answer) + 1 :], skip_special_tokens=True).strip()
        masked = ids[:start]
        assert not set(vlm.barred_ids) & set(said), "a photo's token is counted"
        assert set(vlm.barred_ids) & set(masked)
        assert set(ids[stop:]) <= {tokenizer.pad_token_id}


@pytest.fixture
def grpo_trainer(family_params, samples, photos, taxonomy, tmp_path, monkeypatch):
    """The trainer, and four rows about the first photo."""

    def make(**changes):
        caught = []
        monkeypatch.setattr(grpo, "fit", lambda trainer, *_: caught.append(trainer))
        params = grpo_params(tmp_path, beta=0.0, **changes)
        grpo.train_grpo(samples, photos, taxonomy, family_params, params, Notes(), None)
        return caught[0], [dict(caught[0].train_dataset[i]) for i in (0, 0, 0, 0)]

    return make


def test_all_stages_see_the_same_prompt(vlm, grpo_trainer, samples, photos, taxonomy):
    """To the token, with one beginning of the text where the family has one; and the same probabilities."""
    trainer, rows = grpo_trainer()
    output = trainer._generate_and_score_completions(rows)
    prompt = chat_prompt(taxonomy, vlm.frame, reasoning=True)
    text = vlm.processor.apply_chat_template(with_photo(prompt), tokenize=False, add_generation_prompt=True)
    inputs = vlm.processor(
        text=[text], images=[[photos.load("p0")]], return_tensors="pt", add_special_tokens=False
    )
    ids = inputs["input_ids"][0].tolist()
    assert output["prompt_ids"][0].tolist() == ids
    dataset = sft_dataset(samples, photos, taxonomy, vlm.frame, reasoning_share=1.0, seed=0)
    sft = DataCollatorForVisionLanguageModeling(vlm.processor, completion_only_loss=True)([dataset[0]])
    assert sft["input_ids"][0].tolist()[: len(ids)] == ids
    begin = vlm.processor.tokenizer.bos_token_id
    assert begin is None or (ids.count(begin) == 1 and ids[0] == begin)

    # What GRPO trains on against a plain forward pass over the same tokens.
    said = output["completion_ids"][0][output["completion_mask"][0].bool()]
    for name in ("input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids"):
        if name in inputs:
            more = {"input_ids": said, "attention_mask": torch.ones_like(said)}.get(
                name, torch.zeros_like(said)
            )
            inputs[name] = torch.cat([inputs[name], more[None]], dim=1)
    with torch.no_grad():
        logits = vlm.model(**inputs).logits[0, len(ids) - 1 : -1]
        wanted = logits.log_softmax(-1).gather(1, said[:, None])[:, 0]
        photo = {k: output[k] for k in output if k.startswith(("pixel", "image", "mm_", "token_type"))}
        found, _, _ = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1),
            torch.cat([output["prompt_mask"], output["completion_mask"]], dim=1),
            output["completion_ids"].shape[1],
            num_images=output["num_images"],
            **photo,
        )
    torch.testing.assert_close(found[0, : len(said)], wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("masked", [False, True])
def test_an_answer_that_is_cut_off_counts_or_not_as_it_is_asked(grpo_trainer, masked):
    trainer, rows = grpo_trainer(max_completion_length=3, mask_truncated_completions=masked)
    # Else it may end by itself.
    trainer.generation_config.suppress_tokens = [
        *trainer.generation_config.suppress_tokens,
        *trainer.eos_token_ids,
    ]
    output = trainer._generate_and_score_completions(rows)
    assert output["completion_mask"].sum().item() == (0 if masked else 4 * 3)
    assert trainer._metrics["train"]["completions/clipped_ratio"] == [1]


def test_an_answer_that_ends_is_not_called_cut_off(grpo_trainer):
    """Whichever of the family's ends it is: Gemma's turn does not end with the tokenizer's."""
    trainer, rows = grpo_trainer(max_completion_length=3)
    (end, *_) = trainer.model.generation_config.eos_token_id

    def say(_, __, output):
        output.logits[..., end] += 1000
        return output

    trainer.model.get_base_model().register_forward_hook(say)
    output = trainer._generate_and_score_completions(rows)
    assert output["completion_ids"].tolist() == [[end]] * 4
    assert trainer._metrics["train"]["completions/clipped_ratio"] == [0]


def test_an_answer_ends_at_the_familys_end_and_holds_no_photo(vlm, photos, taxonomy):
    """Their logits are made the highest by far."""
    prompt = chat_prompt(taxonomy, vlm.frame)
    head = vlm.model.get_output_embeddings()
    end = vlm.model.generation_config.eos_token_id[0]

    def raised(_, __, logits):
        logits[..., list(vlm.barred_ids)] += 1000
        logits[..., end] += 500
        return logits

    handle = head.register_forward_hook(raised)
    try:
        (answer,) = generate_answers(vlm, prompt, [partial(photos.load, "p0")], 1, 8)
    finally:
        handle.remove()
    assert (answer.text, answer.n_tokens, answer.finished) == ("", 1, True)


def test_boxes_survive_the_way_through_the_models_numbers(vlm, samples, taxonomy):
    for truth in samples["ground_truth"]:
        objects = json.loads(truth)
        report = parse_report(to_json(objects, taxonomy, vlm.frame), taxonomy, vlm.frame)
        assert report.schema_true
        (found,) = to_objects(report.findings, vlm.frame)
        assert found["label"] == objects[0]["label"]
        assert iou(found["bbox"], objects[0]["bbox"]) > 0.93
