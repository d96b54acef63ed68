"""Predictions against what is published, counted by hand, and measured on tiny models that really train."""

import json
import weakref

import pandas as pd
import pytest
import torch
import trl.trainer.sft_trainer
import trl.trainer.utils
from accelerate.utils import convert_outputs_to_fp32
from kedro.config import OmegaConfigLoader
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.profiler import ProfilerActivity, profile
from transformers import AutoModelForImageTextToText

from lng_kedro.training import footprint, memory, sft
from lng_kedro.training.footprint import measure
from lng_kedro.training.memory import (
    GIB,
    Lengths,
    check_gpu,
    check_memory,
    estimate_lengths,
    memory_table,
    predict,
)
from lng_kedro.training.params import GrpoParams, SftParams
from lng_kedro.training.run import TrainingStopped
from lng_kedro.vlm.load import KEPT_16BIT, load_vlm
from lng_kedro.vlm.spec import ModelSpec, VlmParams
from tests import checkpoints
from tests.conftest import FAMILIES, ROOT
from tests.training.notes import Notes
from tests.training.test_grpo import grpo_params
from tests.training.test_sft import sft_params

TEXT = 64
"""Tokens, where the number does not matter."""


@pytest.fixture(scope="module")
def real():
    """Parameters as they are shipped: of the models, of SFT and of GRPO."""
    settings = {"base_env": "base", "default_run_env": "base"}
    parameters = OmegaConfigLoader(conf_source=str(ROOT / "conf"), **settings)["parameters"]
    return (
        VlmParams(**parameters["vlm"]),
        SftParams(**parameters["sft_training"]),
        GrpoParams(**parameters["grpo_training"]),
    )


def changed(model: ModelSpec | SftParams | GrpoParams, **changes):
    return type(model)(**model.model_dump() | changes)


class TestCounts:
    @pytest.mark.parametrize(
        ("model", "parameters"),
        [
            ("qwen2_5_vl_7b", 8_292_166_656),
            ("qwen2_5_vl_3b", 3_754_622_976),
            ("gemma_3_4b", 4_300_079_472),
            ("llava_1_6_mistral_7b", 7_566_747_648),
        ],
    )
    def test_parameters_are_the_published(self, real, model, parameters):
        empty = footprint._empty_model(real[0].models[model])
        assert sum(p.numel() for p in empty.parameters()) == parameters

    def test_quantised_layers_by_hand(self, real):
        language = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
        empty = footprint._empty_model(real[0].models["llava_1_6_mistral_7b"])
        assert sum(footprint._quantised_layers(empty)) == language

    def test_adapter_by_hand(self, real):
        spec = real[0].models["qwen2_5_vl_3b"]
        language = 36 * [16 * 2048, 2048 * 16, 16 * 2048, 256 * 16, 16 * 2048, 256 * 16, 16 * 2048, 2048 * 16]
        vision = 32 * [16 * 1280, 3840 * 16, 16 * 1280, 1280 * 16]
        assert sorted(measure(spec, real[1], TEXT).adapter) == sorted(language)
        everything = measure(changed(spec, lora_targets="all_attention"), real[1], TEXT)
        assert sorted(everything.adapter) == sorted(language + vision)

    @pytest.mark.parametrize(
        ("model", "tokens", "pixels"),
        [
            ("qwen2_5_vl_3b", 18 * 18, 3 * 2 * 504 * 504),
            ("gemma_3_4b", 256, 3 * 896 * 896),
            # The whole in 24 x 24 patches, four tiles of these, and an end of each of their 48 lines.
            ("llava_1_6_mistral_7b", 576 + 4 * 576 + 48, 5 * 3 * 336 * 336),
        ],
    )
    def test_photos_by_hand(self, real, model, tokens, pixels):
        footprint = measure(real[0].models[model], real[1], TEXT)
        assert (footprint.photo_tokens, footprint.pixels) == (tokens, pixels)


def saved_bytes(run, model):
    """Bytes that autograd has saved after `run`, weights not counted."""
    known = {t.untyped_storage().data_ptr() for t in [*model.parameters(), *model.buffers()]}
    saved = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = weakref.ref(storage), storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    alive = sum(size for address, (ref, size) in saved.items() if ref() is not None and address not in known)
    del result
    return alive


def most_bytes(run):
    """Most bytes that PyTorch's allocator hands out at once in `run`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return pd.Series(changes).cumsum().max()


@pytest.fixture(scope="module")
def uneven(samples):
    """One to four findings: a batch is padded."""
    truths = [json.dumps(json.loads(t) * (1 + i % 4)) for i, t in enumerate(samples["ground_truth"])]
    return samples.assign(ground_truth=truths)


@pytest.fixture
def trainer(uneven, photos, taxonomy, tmp_path, monkeypatch):
    """Makes SFT's trainer, and a batch of it."""

    def make(models, **changes):
        caught = []
        monkeypatch.setattr(sft, "fit", lambda trainer, *_: caught.append(trainer))
        params = sft_params(tmp_path / "work", **changes)
        sft.train_sft(uneven, photos, taxonomy, models, params, Notes())
        made = caught[0]
        # What it does when it starts:
        made.current_gradient_accumulation_steps = 1
        made.create_optimizer()
        made.accelerator.prepare_model(made.model)  # mixed precision
        if params.gradient_checkpointing:
            made.model.gradient_checkpointing_enable()
        return params, made, made.data_collator([made.train_dataset[i] for i in range(4)])

    return make


@pytest.fixture
def deep_params(vlm_params, taxonomy, tmp_path, monkeypatch):
    """LLaVA with more layers than are measured."""
    monkeypatch.setitem(checkpoints.TEXT, "num_hidden_layers", 6)
    monkeypatch.setitem(checkpoints.VISION, "num_hidden_layers", 5)
    folder = checkpoints.make_checkpoint("llava_next", tmp_path / "deep", taxonomy)
    frame, pixels, eos_tokens = FAMILIES["llava_next"]
    own = {"family": "llava_next", "checkpoint": str(folder), "frame": frame, "pixels": pixels}
    return one_model(vlm_params, **own, eos_tokens=eos_tokens)


def one_model(models, **changes):
    return models.model_copy(update={"models": {models.model: changed(models.spec, **changes)}})


class TestMeasured:
    """On a CPU, whose attention kernel keeps what is predicted for a GPU's."""

    @pytest.mark.parametrize("checkpointing", [False, True])
    @pytest.mark.parametrize("precision", ["32bit", "16bit"])
    def test_a_step_of_sft(self, trainer, family_params, precision, checkpointing):
        mixed = precision == "16bit"
        models = one_model(family_params, precision=precision)
        params, made, batch = trainer(models, gradient_checkpointing=checkpointing, bf16=mixed)
        model, length = made.model, batch["input_ids"].shape[1]
        (photo_tokens,) = set((batch["input_ids"] == model.config.image_token_id).sum(dim=1).tolist())
        footprint = measure(models.spec, params, length - photo_tokens)
        assert footprint.photo_tokens == photo_tokens, "not what the real processor says"
        loss, backward = memory.moments(models.spec, params, Lengths(length - photo_tokens - 7, 7))

        made.training_step(model, dict(batch))
        trained = [p for p in model.parameters() if p.requires_grad]
        frozen = {p.data_ptr(): p for p in model.parameters() if not p.requires_grad}
        made.optimizer.step()
        states = [t for state in made.optimizer.state.values() for name, t in state.items() if name != "step"]
        measured = [sum(t.nbytes for t in tensors) for tensors in (frozen.values(), trained, states)]
        assert [loss.weights, loss.adapter, loss.optimizer] == measured
        assert loss.gradients == sum(p.grad.nbytes for p in trained)

        given = 4 * 4 * footprint.pixels
        peak = most_bytes(lambda: made.training_step(model, dict(batch)))
        predicted = max(m.activations + m.logits for m in (loss, backward)) - given
        # Qwen's with both is predicted 11 % too low; the others are within 5 %.
        assert predicted == pytest.approx(peak, rel=0.12 if mixed and checkpointing else 0.05)

    @pytest.mark.parametrize("targets", ["language_attention", "all_linear"])
    def test_what_autograd_keeps(self, trainer, family_params, targets):
        self.check_kept(trainer, one_model(family_params, lora_targets=targets))
        self.check_kept(trainer, one_model(family_params, lora_targets=targets, precision="16bit"), bf16=True)

    def test_what_autograd_keeps_of_many_layers(self, trainer, deep_params):
        self.check_kept(trainer, deep_params)
        self.check_kept(trainer, one_model(deep_params, lora_targets="all_attention"))

    def check_kept(self, trainer, models, bf16=False):
        params, made, batch = trainer(models, bf16=bf16)
        text = batch["input_ids"].shape[1] - measure(models.spec, params, TEXT).photo_tokens
        footprint = measure(models.spec, params, text)
        inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
        backbone = made.model.get_base_model().model
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            saved = saved_bytes(lambda: backbone(**inputs, use_cache=False), made.model)
        kept = batch["input_ids"].numel() * footprint.token.kept + 4 * footprint.photo.kept
        # More: the output is kept too. Less: what puts the photo into the text is not counted.
        assert kept == pytest.approx(saved, rel=0.06)

    def test_answers(self, family_params, tmp_path):
        params, prompt, answer = grpo_params(tmp_path), 200, 8
        spec = family_params.spec
        vlm = load_vlm(family_params, new_adapter=params.lora, trainable=True)
        footprint = measure(spec, params, TEXT)
        photo_tokens = footprint.photo_tokens
        reading, *_ = memory.moments(
            spec, changed(params, max_completion_length=answer), Lengths(prompt - photo_tokens, 0)
        )
        ids, lengths, answers = torch.randint(300, 1000, (4, prompt)), [], []
        vlm.model.get_output_embeddings().register_forward_hook(
            lambda _, __, logits: lengths.append(logits.shape[1])
        )

        def generate():
            limits = {"max_new_tokens": answer, "min_new_tokens": answer, "return_dict_in_generate": True}
            with torch.no_grad():
                answers.append(vlm.model.generate(ids, attention_mask=torch.ones_like(ids), **limits))

        peak = most_bytes(generate)
        given = 4 * (4 * footprint.pixels + photo_tokens * footprint.width)
        assert reading.activations - given + reading.cache == pytest.approx(peak, rel=0.05)
        assert set(lengths) == {1}, "logits of more than the last token"
        layers = answers[0].past_key_values.layers
        kept = sum(layer.keys.nbytes + layer.values.nbytes for layer in layers)
        predicted = 4 * 4 * (prompt + answer - 1) * footprint.cache
        # A layer with a sliding window forgets; that is not predicted.
        assert kept < predicted if spec.family == "gemma3" else kept == predicted

    def test_four_bits(self, family_params):
        from transformers import BitsAndBytesConfig

        spec = changed(family_params.spec, precision="4bit", device="cuda")
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            llm_int8_skip_modules=KEPT_16BIT,
        )
        loaded = AutoModelForImageTextToText.from_pretrained(
            spec.checkpoint, quantization_config=config, dtype=torch.bfloat16, device_map={"": "cpu"}
        )
        measured = loaded.get_memory_footprint(return_buffers=False)
        for module in loaded.modules():
            if state := getattr(getattr(module, "weight", None), "quant_state", None):
                measured += state.absmax.nbytes + state.state2.absmax.nbytes
        params = sft_params("unused")
        predicted = memory.moments(spec, params, Lengths(TEXT, 0))[0].weights
        # Layers so small do not fill the last block of their scales.
        assert predicted == pytest.approx(measured, rel=0.01)

    def test_optimizer_in_eight_bits(self):
        import bitsandbytes

        for shape in ((16, 255), (16, 2056)):
            weight = torch.nn.Parameter(torch.zeros(shape))
            weight.grad = torch.ones(shape)
            optimizer = bitsandbytes.optim.AdamW8bit([weight])
            optimizer.step()
            states = {k: v for k, v in optimizer.state[weight].items() if k.startswith(("state", "absmax"))}
            measured = sum(tensor.nbytes for tensor in states.values())
            assert memory._adam(weight.numel(), 4, "adamw_8bit") == measured

    def test_logits_of_sft(self):
        assert trl.trainer.sft_trainer._CHUNKED_LM_HEAD_CHUNK_SIZE == memory.CHUNK

    def test_logits_of_grpo(self, monkeypatch):
        """TRL's kernel runs on GPUs only; this one makes the same tensors, and the rest is TRL's."""

        class Kernel(torch.autograd.Function):
            @staticmethod
            def forward(ctx, logits):
                ctx.save_for_backward(logits)
                return logits.new_empty(logits.shape[:-1])

            @staticmethod
            def backward(ctx, gradient):
                return torch.empty_like(*ctx.saved_tensors)

        monkeypatch.setattr(trl.trainer.utils, "_supports_trl_loss_kernel", lambda *_: True)
        monkeypatch.setattr(
            trl.trainer.utils, "_fused_logprob_entropy", lambda logits, *_, **__: (Kernel.apply(logits),) * 2
        )
        batch, answer, vocabulary = 2, 100, 50_000
        with FakeTensorMode():
            states = torch.empty(batch, answer + 1, 8, dtype=torch.bfloat16, requires_grad=True)
            head = torch.empty(vocabulary, 8, dtype=torch.bfloat16)
            with footprint._live_bytes([states, head]) as live:
                logits = convert_outputs_to_fp32(torch.nn.functional.linear)(states, head)
                scores, _ = trl.trainer.utils.selective_log_softmax_and_entropy(
                    logits[:, :-1, :][:, -answer:, :],
                    torch.zeros(batch, answer, dtype=torch.long),
                    entropy_requires_grad=False,
                )
                del logits
                scores.sum().backward()
        assert live.most == pytest.approx(2 * 4 * batch * (answer + 1) * vocabulary, rel=0.02)


class TestPredictions:
    def test_activations_grow_with_the_batch(self, real):
        models, sft_stage, _ = real
        spec, lengths = models.models["qwen2_5_vl_3b"], Lengths(400, 600)
        one, two, four = (
            memory.moments(changed(spec, per_device_batch=n), sft_stage, lengths) for n in (1, 2, 4)
        )
        for single, double, fourfold in zip(one, two, four, strict=True):
            step = double.activations - single.activations
            assert step == pytest.approx(single.activations)
            assert fourfold.activations - double.activations == pytest.approx(2 * step)
            assert (single.weights, single.adapter, single.optimizer) == (
                double.weights,
                double.adapter,
                double.optimizer,
            )

    def test_checkpointing_keeps_the_inputs_of_layers(self, real):
        """36 of them of 2,048 numbers in bfloat16, and little else; without it some 30 times as much."""
        models, stage, _ = real
        spec = models.models["qwen2_5_vl_3b"]
        less = measure(spec, stage, 1000).token
        more = measure(spec, changed(stage, gradient_checkpointing=False), 1000).token
        assert 1 < less.kept / (36 * 2048 * 2) < 1.1
        assert more.kept > 20 * less.kept

    def test_a_trained_vision_tower_is_kept_too(self, real):
        models, _, stage = real
        spec, lengths = models.models["gemma_3_4b"], Lengths(400, 0)
        frozen, trained = (
            memory.moments(changed(spec, lora_targets=targets), stage, lengths)[-1]
            for targets in ("language_attention", "all_attention")
        )
        # 27 inputs of layers of 4,096 patches of 1,152 numbers, of the one photo of a group.
        assert trained.activations - frozen.activations > 27 * 4096 * 1152 * 2

    def test_parts_of_four_bits_and_of_the_reference(self, real):
        models, sft_stage, grpo_stage = real
        spec = models.models["qwen2_5_vl_3b"]
        full, small = (
            predict(changed(spec, precision=precision), grpo_stage, Lengths(400, 0))
            for precision in ("16bit", "4bit")
        )
        adapter = 7_372_800
        assert full.weights == 2 * 3_754_622_976
        assert small.weights == pytest.approx(0.515869 * 2_774_532_096 + 2 * 980_090_880)
        assert (full.adapter, small.adapter) == (8 * adapter, 8 * adapter)
        assert predict(spec, changed(grpo_stage, beta=0.0), Lengths(400, 0)).adapter == 4 * adapter
        assert predict(spec, sft_stage, Lengths(400, 0)).adapter == 4 * adapter

    def test_lengths(self, real, samples, uneven, taxonomy):
        models, sft_stage, grpo_stage = real
        shorter, longer = (estimate_lengths(models, sft_stage, taxonomy, s) for s in (samples, uneven))
        assert longer.prompt == shorter.prompt
        assert longer.completion > 3 * shorter.completion
        assert estimate_lengths(models, sft_stage, taxonomy).completion == 0
        assert estimate_lengths(models, grpo_stage, taxonomy).prompt > longer.prompt, "its system prompt"
        # Two decimals are longer than three digits.
        other = models.model_copy(update={"model": "llava_1_6_mistral_7b"})
        longest = estimate_lengths(other, sft_stage, taxonomy, uneven)
        assert longest.completion > longer.completion


class TestAdvice:
    def check(self, models, stage, samples, taxonomy, gib):
        with pytest.raises(ValueError, match="is predicted to take") as caught:
            check_memory(models, stage, samples, taxonomy, gib * GIB)
        return str(caught.value)

    def test_what_fits_passes(self, real, samples, taxonomy):
        models, *stages = real
        for stage in stages:
            check_memory(models, stage, samples, taxonomy, 24 * GIB)

    def test_single_changes_that_fit(self, real, samples, taxonomy):
        models, _, stage = real
        models = models.model_copy(update={"model": "gemma_3_4b"})
        peak = predict(models.spec, stage, estimate_lengths(models, stage, taxonomy, samples))
        said = self.check(models, stage, samples, taxonomy, peak.total / GIB - 0.2)
        assert said.startswith(
            f"Model 'gemma_3_4b' in grpo_training is predicted to take {peak.total / GIB:.1f} GiB of "
            f"{peak.total / GIB - 0.2:.1f} GiB GPU memory (loss: weights 8.0, adapter 0.1, gradients 0.0, "
        )
        entry = "vlm.models.gemma_3_4b"
        advice = said.partition("It fits with ")[2].split("; or ")
        names = [text.partition(" (")[0] for text in advice]
        assert names == [
            f"`--params {entry}.per_device_batch=1`",
            f"`--params {entry}.precision=4bit`",
            "`--params grpo_training.max_completion_length=384`",
        ]
        lengths = estimate_lengths(models, stage, taxonomy, samples)
        for text, (spec, params) in zip(
            advice,
            [
                (changed(models.spec, per_device_batch=1), stage),
                (changed(models.spec, precision="4bit"), stage),
                (models.spec, changed(stage, max_completion_length=384)),
            ],
            strict=True,
        ):
            total = predict(spec, params, lengths).total
            assert total <= peak.total - 0.2 * GIB
            assert f"({total / GIB:.1f} GiB)" in text

    def test_changes_that_fit_together_only(self, real, samples, taxonomy):
        models, stage, _ = real
        models = models.model_copy(update={"model": "qwen2_5_vl_3b"})
        stage = changed(stage, gradient_checkpointing=False)
        lengths = estimate_lengths(models, stage, taxonomy, samples)
        both = predict(
            changed(models.spec, precision="4bit"), changed(stage, gradient_checkpointing=True), lengths
        ).total
        said = self.check(models, stage, samples, taxonomy, both / GIB + 0.01)
        assert said.endswith(
            "It fits with `--params vlm.models.qwen2_5_vl_3b.precision=4bit,"
            f"sft_training.gradient_checkpointing=true` ({both / GIB:.1f} GiB)"
        )

    def test_nothing_fits(self, real, samples, taxonomy):
        models, stage, _ = real
        models = models.model_copy(update={"model": "gemma_3_4b"})
        said = self.check(models, stage, samples, taxonomy, 1)
        assert said.endswith("Nothing that can be set makes it fit: take a smaller model or a larger GPU")

    def test_table(self, real, taxonomy):
        models, *stages = real
        chosen = {name: models.models[name] for name in ("gemma_3_4b", "tiny_qwen2_5_vl")}
        few = VlmParams(model="gemma_3_4b", frame="native", models=chosen)
        table = memory_table(few, stages, taxonomy, 12 * GIB, completion=768)
        assert table["model"].tolist() == ["gemma_3_4b", "gemma_3_4b"], (
            "the tiny one's architecture is not known"
        )
        assert table["stage"].tolist() == ["sft_training", "grpo_training"]
        parts = ["weights", "adapter", "gradients", "optimizer", "activations", "logits", "cache", "reserve"]
        pd.testing.assert_series_equal(table[parts].sum(axis=1), table["total"], check_names=False)
        assert table["fits"].tolist() == [True, False]
        assert table["advice"].iloc[0] == ""
        assert "gemma_3_4b.per_device_batch=1" in table["advice"].iloc[1]

    def test_bad_input(self, real, samples, taxonomy):
        models, stage, _ = real
        llava = changed(models.models["llava_1_6_mistral_7b"], pixels=[1, 2])
        with pytest.raises(ValueError, match="has no tile shape of 1 to 2 pixels"):
            predict(llava, stage, Lengths(1, 1))
        with pytest.raises(ValueError, match="do not divide"):
            predict(changed(models.spec, per_device_batch=3), stage, Lengths(1, 1))


def test_a_stage_that_does_not_fit_ends_before_it_starts(real, samples, taxonomy, monkeypatch):
    """In another process: Unsloth must come before transformers and before the GPU is opened."""
    models, stage, _ = real
    models = models.model_copy(update={"model": "qwen2_5_vl_3b"})
    monkeypatch.setattr(memory, "predict", None)  # not here
    monkeypatch.setattr(memory, "_check_here", on_6_gib)
    with pytest.raises(TrainingStopped, match="It fits with"):
        check_gpu(models, stage, samples, taxonomy)


def on_6_gib(models, stage, samples, taxonomy):
    check_memory(models, stage, samples, taxonomy, 6 * GIB)
