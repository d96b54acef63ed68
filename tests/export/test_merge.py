"""A merged folder says what base and adapter say, and needs nothing else."""

import json
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import ExifTags, Image
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from lng_kedro.datasets import MergedModelDataset
from lng_kedro.export import merge
from lng_kedro.export.merge import merge_adapter
from lng_kedro.vlm.adapter import adapter_hash, learned_from, stored_dialogue, trained_stages
from lng_kedro.vlm.generate import generate_answers, with_photo
from lng_kedro.vlm.load import Vlm, load_vlm
from lng_kedro.vlm.merged import merged_params, stored_origin
from lng_kedro.vlm.spec import VlmParams
from tests.export.conftest import LORA, make_adapter, stage_of

LIMIT = 32


def changed(params, **spec):
    """The same model with another entry."""
    entry = params.spec.model_dump() | spec
    return VlmParams(model=params.model, frame=params.frame, models={params.model: entry})


@pytest.fixture(scope="module")
def merged(family_params, family_adapter, tmp_path_factory):
    dataset = MergedModelDataset(filepath=str(tmp_path_factory.mktemp("merged") / "m"))
    dataset.save(merge_adapter(family_params, family_adapter, "# A card"))
    return dataset.load()


def answers(vlm, dialogue, photos):
    loaders = [partial(photos.load, f"p{i}") for i in range(4)]
    return [a.text for a in generate_answers(vlm, dialogue.prompt, loaders, 4, LIMIT)]


def logits(vlm, dialogue, photos):
    text = vlm.processor.apply_chat_template(
        with_photo(dialogue.prompt), tokenize=False, add_generation_prompt=True
    )
    given = {"text": [text], "images": [[photos.load("p0")]], "add_special_tokens": False}
    with torch.inference_mode():
        return vlm.model(**vlm.processor(**given, return_tensors="pt")).logits


def test_its_logits_are_those_of_base_and_adapter(family_params, family_adapter, merged, photos):
    both, one = load_vlm(family_params, family_adapter), load_vlm(merged_params(merged, "cpu"))
    dialogue = stored_dialogue(merged)
    assert dialogue == stored_dialogue(family_adapter)
    assert (one.frame, one.barred_ids) == (both.frame, both.barred_ids)
    expected = logits(both, dialogue, photos)
    bare = logits(load_vlm(family_params), dialogue, photos)
    off, change = (logits(one, dialogue, photos) - expected).abs(), (bare - expected).abs()
    # Rounding to eight bits: small beside what the adapter does, and beside the logits.
    assert off.mean() < 0.02 * change.mean()
    assert off.mean() < 0.01 * expected.std()


def test_it_answers_as_base_and_adapter(family_params, taxonomy, photos, tmp_path):
    """Numbers of few bits, whose sums are exact in 16: near ties of a random model are decided alike."""
    params = changed(family_params, checkpoint=str(tmp_path / "base"))
    shutil.copytree(family_params.spec.checkpoint, tmp_path / "base")
    base = AutoModelForImageTextToText.from_pretrained(tmp_path / "base", dtype=torch.float32)
    for weight in base.parameters():
        if weight.dim() > 1:
            weight.data = (weight.data * 1024).round().clamp(-127, 127) / 1024
    base.to(torch.bfloat16).save_pretrained(tmp_path / "base")
    adapter = make_adapter(tmp_path / "a", params, taxonomy)
    lora = load_file(adapter / "adapter_model.safetensors")
    for name, weight in lora.items():
        if "lora_A" in name:
            lora[name] = torch.eye(len(weight), weight.shape[1])
        else:
            lora[name] = (weight * 100).round().clamp(-60, 60) / 1024
    save_file(lora, adapter / "adapter_model.safetensors", metadata={"format": "pt"})
    MergedModelDataset(filepath=str(tmp_path / "m")).save(merge_adapter(params, adapter, ""))
    dialogue = stored_dialogue(adapter)
    said = answers(load_vlm(merged_params(tmp_path / "m", "cpu")), dialogue, photos)
    assert said == answers(load_vlm(params, adapter), dialogue, photos)
    bare = answers(load_vlm(params), dialogue, photos)
    assert all(one != other for one, other in zip(said, bare, strict=True))


def test_each_weight_is_added_in_32_bits_and_rounded_once(family_params, family_adapter, merged):
    base = AutoModelForImageTextToText.from_pretrained(family_params.spec.checkpoint, dtype=torch.float32)
    found = AutoModelForImageTextToText.from_pretrained(merged).state_dict()
    lora = load_file(family_adapter / "adapter_model.safetensors")
    expected = dict(base.state_dict())
    adapted = {name.partition(".lora_")[0] for name in lora}
    assert adapted
    for name in adapted:
        weight = name.removeprefix("base_model.model.") + ".weight"
        added = lora[f"{name}.lora_B.weight"] @ lora[f"{name}.lora_A.weight"] * (LORA.alpha / LORA.rank)
        assert added.abs().max() > 0
        expected[weight] = expected[weight] + added
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert torch.equal(found[name], weight.to(torch.bfloat16)), name


def test_plain_transformers_needs_this_folder_only(family_params, merged, photos):
    model = AutoModelForImageTextToText.from_pretrained(merged)
    processor = AutoProcessor.from_pretrained(merged)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    settings = model.generation_config
    assert settings.eos_token_id == list(family_params.spec.eos_tokens.values())
    assert settings.pad_token_id == processor.tokenizer.pad_token_id
    assert not {"config.py", "modeling.py"} & {file.name for file in merged.iterdir()}
    assert {file.suffix for file in merged.iterdir()} <= {".json", ".jinja", ".safetensors", ".md", ".model"}
    ours = load_vlm(family_params)
    messages = json.loads((merged / "prompt.json").read_text())
    assert set(settings.suppress_tokens) == set(ours.barred_ids)
    prepared = []
    for each in (processor, ours.processor):
        text = each.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        given = {"images": [[photos.load("p0")]], "add_special_tokens": False, "return_tensors": "pt"}
        prepared.append(each(text=[text], **given))
    assert prepared[0].keys() == prepared[1].keys()
    for name, value in prepared[0].items():
        assert torch.equal(value, prepared[1][name]), name


def test_what_lies_beside_the_weights(family_params, family_adapter, merged):
    assert (merged / "README.md").read_text() == "# A card"
    assert learned_from(merged) == {"p0": "hash", "p1": None}
    assert trained_stages(merged) == [stage_of(family_params)]
    origin = stored_origin(merged)
    assert origin.adapter_sha256 == adapter_hash(family_adapter)
    assert origin.vlm == family_params
    loaded = merged_params(merged, "cuda").spec
    assert (loaded.checkpoint, loaded.precision, loaded.device) == (str(merged), "16bit", "cuda")


def test_the_code_on_the_card_runs(merged, photos, capsys, monkeypatch, tmp_path):
    shutil.copytree(merged, tmp_path, dirs_exist_ok=True)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # it is to be turned clockwise
    lying = photos.load("p3").transpose(Image.Transpose.ROTATE_90)
    lying.save(tmp_path / "photo.jpg", "PNG", exif=exif)
    monkeypatch.chdir(tmp_path)
    code = Path(merge.__file__).with_name("use.py.txt").read_text()
    exec(code.replace("max_new_tokens=768", f"max_new_tokens={LIMIT}"), {})
    said = capsys.readouterr().out
    ours = load_vlm(merged_params(merged, "cpu"))
    model = AutoModelForImageTextToText.from_pretrained(merged)
    half = Vlm(model, ours.processor, ours.frame, ours.barred_ids, ours.backend)
    (answer,) = generate_answers(half, stored_dialogue(merged).prompt, [partial(photos.load, "p3")], 1, LIMIT)
    assert answer.text
    special = ours.processor.tokenizer.all_special_tokens
    assert not any(token in answer.text for token in special)
    assert said == answer.text + "\n"


class TestOneFamily:
    """What does not depend on the family."""

    @pytest.fixture(scope="class")
    def adapter(self, vlm_params, taxonomy, tmp_path_factory):
        return make_adapter(tmp_path_factory.mktemp("adapter") / "a", vlm_params, taxonomy)

    def test_an_adapter_of_4_bits_is_merged_into_16(self, vlm_params, adapter, tmp_path):
        few = changed(vlm_params, precision="4bit", device="cuda", backend="auto")
        for name, params in (("few", few), ("many", vlm_params)):
            MergedModelDataset(filepath=str(tmp_path / name)).save(merge_adapter(params, adapter, ""))
        for name in ("model.safetensors", "config.json"):
            assert (tmp_path / "few" / name).read_bytes() == (tmp_path / "many" / name).read_bytes(), name

    def test_the_vision_tower_is_merged_too(self, vlm_params, taxonomy, photos, tmp_path):
        params = changed(vlm_params, lora_targets="all_linear")
        adapter = make_adapter(tmp_path / "a", params, taxonomy, strength=0.02)
        dataset = MergedModelDataset(filepath=str(tmp_path / "m"))
        dataset.save(merge_adapter(params, adapter, ""))
        one, both = load_vlm(merged_params(dataset.load(), "cpu")), load_vlm(params, adapter)
        dialogue = stored_dialogue(adapter)
        expected = logits(both, dialogue, photos)
        assert (logits(one, dialogue, photos) - expected).abs().mean() < 0.01 * expected.std()

    def test_weights_in_several_files(self, vlm_params, adapter, tmp_path, monkeypatch):
        monkeypatch.setattr(merge, "SHARD", "2MB")
        dataset = MergedModelDataset(filepath=str(tmp_path / "m"))
        dataset.save(merge_adapter(vlm_params, adapter, ""))
        assert len(list(dataset.load().glob("*.safetensors"))) > 2
        assert load_vlm(merged_params(dataset.load(), "cpu")).frame == stored_dialogue(adapter).frame

    def test_numbers_of_boxes_that_have_changed_since(self, vlm_params, adapter):
        with pytest.raises(ValueError, match=r"boxes in a frame 128 wide .* makes them in a frame 512 wide"):
            merge_adapter(vlm_params.model_copy(update={"frame": "processed"}), adapter, "")

    def test_an_adapter_that_does_not_say_how_it_is_asked(self, vlm_params, tmp_path):
        with pytest.raises(ValueError, match=r"dialogue.json is missing"):
            merge_adapter(vlm_params, tmp_path, "")

    def test_another_base(self, vlm_params, taxonomy, tmp_path):
        stages = [stage_of(vlm_params, checkpoint="Qwen/Qwen2.5-VL-3B-Instruct", revision="1")]
        adapter = make_adapter(tmp_path / "a", vlm_params, taxonomy, stages=stages)
        other = changed(vlm_params, checkpoint="Qwen/Qwen2.5-VL-7B-Instruct", revision="2")
        with pytest.raises(ValueError, match=r"trained on Qwen/Qwen2.5-VL-3B-Instruct 1, and 'tiny' is Qwen"):
            merge_adapter(other, adapter, "")

    def test_weights_that_are_no_numbers(self, vlm_params, taxonomy, tmp_path):
        adapter = make_adapter(tmp_path / "a", vlm_params, taxonomy)
        weights = load_file(adapter / "adapter_model.safetensors")
        next(iter(weights.values()))[0, 0] = float("nan")
        save_file(weights, adapter / "adapter_model.safetensors")
        with pytest.raises(ValueError, match="NaNs detected"):
            merge_adapter(vlm_params, adapter, "")

    def test_a_pickle_is_not_opened(self, vlm_params, adapter, tmp_path):
        shutil.copytree(vlm_params.spec.checkpoint, tmp_path / "base")
        weights = load_file(tmp_path / "base/model.safetensors")
        torch.save(weights, tmp_path / "base/pytorch_model.bin")
        (tmp_path / "base/model.safetensors").unlink()
        with pytest.raises(OSError, match=r"no file named model\.safetensors"):
            merge_adapter(changed(vlm_params, checkpoint=str(tmp_path / "base")), adapter, "")

    def test_a_folder_that_is_no_merged_model(self, tmp_path):
        with pytest.raises(ValueError, match=r"made_from.json does not say what the merged model is"):
            merged_params(tmp_path, "cpu")

    def test_half_a_folder_is_none(self, tmp_path):
        class Broken:
            def save_pretrained(self, folder):
                Path(folder).mkdir()
                Path(folder, "config.json").write_text("{}")
                raise OSError("disk full")

        dataset = MergedModelDataset(filepath=str(tmp_path / "m"))
        with pytest.raises(Exception, match="disk full"):
            dataset.save(Broken())
        assert not dataset.exists()
        assert list(tmp_path.iterdir()) == []


def test_an_adapter_of_another_size(family_params, vlm_params, family_adapter):
    if family_params.spec.family == "qwen2_5_vl":
        with pytest.raises(ValueError, match="belongs to another model"):
            merge_adapter(vlm_params, family_adapter, "")
