import re
from types import SimpleNamespace

import pytest
import torch
import yaml
from pydantic import ValidationError
from transformers import AutoConfig, AutoModelForImageTextToText, Qwen2VLImageProcessor

from lng_kedro.geometry import Frame
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import ModelSpec, VlmParams
from tests.conftest import ROOT

ENTRIES = VlmParams(
    **yaml.safe_load((ROOT / "conf/base/parameters/models.yml").read_text())["vlm"] | {"model": "gemma_3_4b"}
).models


def test_qwen_speaks_pixels_of_its_own_resize(vlm_params):
    # 512 / 28 = 18.3, so the real checkpoints resize to 18 x 28 = 504.
    images = Qwen2VLImageProcessor(patch_size=14, merge_size=2, min_pixels=3136, max_pixels=1003520)
    assert ENTRIES["qwen2_5_vl_7b"].native_frame(SimpleNamespace(image_processor=images)) == Frame(504, 504)


def test_the_tiny_models_frame_is_what_its_processor_sees(vlm_params):
    assert load_vlm(vlm_params).frame == Frame(128, 128)


@pytest.mark.parametrize(
    ("entry", "spoken"),
    [("llava_1_6_mistral_7b", (0.25, 0.5, 0.59, 1.0)), ("gemma_3_4b", (250, 500, 586, 1000))],
)
def test_other_families(entry, spoken):
    assert ENTRIES[entry].native_frame(None).encode((128, 256, 300, 512)) == spoken


@pytest.mark.parametrize("name", [n for n in ENTRIES if ENTRIES[n].architecture])
@pytest.mark.parametrize("targets", ["language_attention", "all_attention"])
def test_adapters_sit_in_attention_alone_of_the_language_model_or_of_the_tower_too(name, targets):
    """On the real layers, without weights."""
    spec = ENTRIES[name].model_copy(update={"lora_targets": targets})
    with torch.device("meta"):
        config = AutoConfig.for_model(spec.family, **spec.architecture)
        model = AutoModelForImageTextToText.from_config(config)
    linear = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear)]
    found = [n for n in linear if re.fullmatch(spec.adapted_layers, n)]
    language = [n for n in found if "language_model" in n]
    assert len(language) == 4 * spec.architecture["text_config"]["num_hidden_layers"]
    tower = len(found) - len(language)
    vision = spec.architecture["vision_config"]
    expected = 2 * vision["depth"] if "depth" in vision else 4 * vision["num_hidden_layers"]
    assert tower == (expected if targets == "all_attention" else 0)
    assert not [n for n in found if "mlp" in n or "lm_head" in n or "projector" in n or "merger" in n]


def test_each_entry_says_how_it_is_started():
    text = (ROOT / "conf/base/parameters/models.yml").read_text()
    for name in (n for n in ENTRIES if ENTRIES[n].architecture):
        for stage in ("sft_training", "grpo_training"):
            assert f"kedro run --pipelines {stage} --params model={name}\n" in text


def test_revisions_are_commits():
    assert all(re.fullmatch("[0-9a-f]{40}", e.revision) for e in ENTRIES.values() if e.architecture)


def test_processed_frame_can_be_chosen(vlm_params):
    chosen = VlmParams(**vlm_params.model_dump() | {"frame": "processed"})
    assert load_vlm(chosen).frame == Frame(512, 512)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "qwen9"}, "there is no model family 'qwen9': there are gemma3, llava_next, qwen2_5_vl"),
        ({"backend": "unsloth"}, "backend 'unsloth' and precision '4bit' need device 'cuda'"),
        ({"precision": "4bit"}, "backend 'unsloth' and precision '4bit' need device 'cuda'"),
        ({"family": "gemma3"}, "family 'gemma3' has no resized_pixels: take thousandths or fractions"),
        ({"pixels": [9, 4]}, r"pixels are \[least, most\], not \[9, 4\]"),
        ({"eos_tokens": {}}, "at least 1 item"),
        ({"device": "tpu"}, "'cuda' or 'cpu'"),
        ({"quantise": True}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_entries_are_refused(vlm_params, changes, message):
    with pytest.raises(ValidationError, match=message):
        ModelSpec(**vlm_params.spec.model_dump() | changes)


def test_unknown_model_lists_the_known(vlm_params):
    with pytest.raises(ValidationError, match="there is no model 'gemma': there are tiny"):
        VlmParams(**vlm_params.model_dump() | {"model": "gemma"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"eos_tokens": {"<|im_end|>": 7}},
            r"Model 'tiny' .*: eos_tokens says <\|im_end\|> is 7, its tokenizer says 258",
        ),
        ({"eos_tokens": {"<|endoftext|>": 256}}, "padding token <|endoftext|> ends an answer too"),
        ({"device": "cuda"}, "Model 'tiny' .*: it needs a CUDA GPU, and PyTorch sees none here"),
    ],
)
def test_an_entry_that_the_checkpoint_or_the_machine_belies(vlm_params, monkeypatch, changes, message):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    spec = vlm_params.spec.model_dump() | changes
    with pytest.raises(ValueError, match=message):
        load_vlm(VlmParams(model="tiny", frame="native", models={"tiny": spec}))
