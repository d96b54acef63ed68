"""The real tiny model as an engine."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from lng_kedro.inspection import in_process
from lng_kedro.inspection.engine import InspectionStopped
from lng_kedro.inspection.in_process import InProcessEngine
from lng_kedro.inspection.params import InProcessParams
from lng_kedro.vlm.adapter import Adapter, adapter_hash
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import answer_batch
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import LoraParams
from tests.export.conftest import stage_of

LIMIT = 64


def engine(vlm_params, adapter, taxonomy, batch_size=4, constrained=False) -> InProcessEngine:
    params = InProcessParams(kind="in_process", batch_size=batch_size)
    return InProcessEngine(vlm_params, adapter, taxonomy, params, LIMIT, constrained)


@pytest.fixture(scope="module")
def jpegs(photos) -> list[bytes]:
    return [photos.path(f"p{i}").read_bytes() for i in range(5)]


@pytest.fixture(scope="module")
def adapter(vlm_params, taxonomy, tmp_path_factory) -> Path:
    """Of another taxonomy and the other form of the question than params have."""
    vlm = load_vlm(vlm_params, new_adapter=LoraParams(rank=2, alpha=4, dropout=0.0))
    torch.manual_seed(0)
    for name, weight in vlm.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    fewer = taxonomy.model_copy(update={"labels": taxonomy.labels[:3]})
    folder = tmp_path_factory.mktemp("adapters") / "one"
    Adapter(vlm.model, Dialogue(taxonomy=fewer, frame=vlm.frame, reasoning=True), {}).save_pretrained(
        str(folder)
    )
    return folder


def test_a_bare_model_is_asked_as_the_parameters_say(vlm_params, taxonomy, jpegs, photos) -> None:
    bare = engine(vlm_params, None, taxonomy, batch_size=2)
    assert bare.dialogue == Dialogue(taxonomy=taxonomy, frame=load_vlm(vlm_params).frame, reasoning=False)
    assert (bare.made_by.adapter_sha256, bare.made_by.model, bare.made_by.engine) == (
        None,
        "tiny",
        "in_process",
    )
    found = [answer.text for answer in bare.answers(iter(jpegs))]
    opened = [photos.load(f"p{i}") for i in range(5)]
    wanted = [
        answer.text for answer in answer_batch(load_vlm(vlm_params), bare.dialogue.prompt, opened, LIMIT)
    ]
    assert found == wanted
    assert len(set(found)) > 1


def test_an_adapter_says_how_it_is_asked(vlm_params, taxonomy, jpegs, adapter) -> None:
    one = engine(vlm_params, adapter, taxonomy)
    assert one.dialogue.reasoning
    assert one.dialogue.taxonomy.label_names == taxonomy.label_names[:3]
    assert one.made_by.adapter_sha256 == adapter_hash(adapter)
    assert one.made_by.taxonomy_sha256 == one.dialogue.taxonomy.digest != taxonomy.digest
    bare = [answer.text for answer in engine(vlm_params, None, taxonomy).answers(jpegs)]
    assert [answer.text for answer in one.answers(jpegs)] != bare


def test_a_model_that_has_nothing_to_do_is_not_loaded(
    vlm_params, taxonomy, adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_process, "load_vlm", lambda *args, **options: pytest.fail("it was loaded"))
    assert list(engine(vlm_params, adapter, taxonomy).answers(iter([]))) == []


def test_who_made_a_report_is_told_apart(vlm_params, taxonomy, adapter) -> None:
    makers = {
        engine(vlm_params, a, taxonomy, constrained=c).made_by for a in (adapter, None) for c in (True, False)
    }
    other = vlm_params.model_copy(update={"frame": "processed"})
    makers.add(engine(other, adapter, taxonomy).made_by)
    assert len(makers) == 5
    assert engine(vlm_params, adapter, taxonomy, batch_size=1).made_by in makers


def test_a_batch_that_does_not_fit_is_halved_and_stays_so(
    vlm_params, taxonomy, jpegs, adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = [answer.text for answer in engine(vlm_params, adapter, taxonomy).answers(jpegs)]
    sizes = []

    def small(vlm, prompt, photos: list[Image.Image], *args, **options):
        sizes.append(len(photos))
        if len(photos) > 1:
            raise torch.OutOfMemoryError("full")
        return answer_batch(vlm, prompt, photos, *args, **options)

    monkeypatch.setattr(in_process, "answer_batch", small)
    assert [answer.text for answer in engine(vlm_params, adapter, taxonomy).answers(jpegs)] == wanted
    assert sizes == [4, 2, 1, 1, 2, 1, 1, 1]


def test_one_photo_that_does_not_fit_stops_it(
    vlm_params, taxonomy, jpegs, adapter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args, **options):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(in_process, "answer_batch", full)
    with pytest.raises(InspectionStopped, match="memory does not hold one photo's answer"):
        list(engine(vlm_params, adapter, taxonomy).answers(jpegs))


class TestAForeignAdapter:
    def spoilt(self, adapter: Path, folder: Path, change) -> Path:
        """A copy of the adapter with other weights."""
        from safetensors.torch import load_file, save_file

        folder.mkdir()
        for file in adapter.iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        weights = load_file(adapter / "adapter_model.safetensors")
        save_file(change(weights), folder / "adapter_model.safetensors")
        return folder

    def refusal(self, vlm_params, taxonomy, folder: Path, jpegs: list[bytes]) -> str:
        with pytest.raises(InspectionStopped) as caught:
            list(engine(vlm_params, folder, taxonomy).answers(jpegs))
        return str(caught.value)

    def test_of_other_sizes(self, vlm_params, taxonomy, adapter, jpegs, tmp_path) -> None:
        folder = self.spoilt(
            adapter, tmp_path / "a", lambda ws: {n: torch.cat([w, w], 1) for n, w in ws.items()}
        )
        said = self.refusal(vlm_params, taxonomy, folder, jpegs)
        config = json.loads((adapter / "adapter_config.json").read_text())
        assert f"the adapter in {folder} belongs to another model: it was trained on" in said
        assert config["base_model_name_or_path"] in said

    def test_of_another_revision(self, vlm_params, taxonomy, adapter, jpegs, tmp_path) -> None:
        folder = self.spoilt(adapter, tmp_path / "a", lambda weights: weights)
        spec = vlm_params.spec.model_copy(update={"checkpoint": "Qwen/Qwen2.5-VL-3B-Instruct"})
        params = vlm_params.model_copy(update={"models": {"tiny": spec}})
        stage = stage_of(params, revision="1").model_dump()
        (folder / "trained.json").write_text(json.dumps([stage]))
        said = self.refusal(params, taxonomy, folder, jpegs)
        assert "was trained on Qwen/Qwen2.5-VL-3B-Instruct 1, and 'tiny' is Qwen" in said

    def test_of_more_layers(self, vlm_params, taxonomy, adapter, jpegs, tmp_path) -> None:
        def deeper(weights):
            return weights | {name.replace("layers.0", "layers.99"): w.clone() for name, w in weights.items()}

        folder = self.spoilt(adapter, tmp_path / "a", deeper)
        assert "layers.99" in self.refusal(vlm_params, taxonomy, folder, jpegs)

    @pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
    def test_that_is_broken(self, vlm_params, taxonomy, adapter, jpegs, tmp_path, name: str) -> None:
        folder = self.spoilt(adapter, tmp_path / "a", lambda weights: weights)
        (folder / name).write_bytes(b"{}")
        assert f"the adapter in {folder} cannot be read" in self.refusal(vlm_params, taxonomy, folder, jpegs)
