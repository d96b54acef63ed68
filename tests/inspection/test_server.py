"""Against a real server: `transformers serve` of the tiny model."""

from functools import partial
from threading import Thread

import openai
import pytest
import torch

from lng_kedro.export.merge import merge_adapter
from lng_kedro.inspection.engine import Failure, InspectionStopped
from lng_kedro.inspection.params import ServerParams
from lng_kedro.inspection.server import ServerEngine, photo_messages
from lng_kedro.vlm.adapter import Adapter, adapter_hash, stored_dialogue
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import generate_answers, with_photo
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.merged import known_adapter_hash, merged_params
from lng_kedro.vlm.spec import LoraParams
from tests.inspection.serve import Served

NAMES = [f"p{i}" for i in range(8)]
LIMIT = 112


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("server"))
    served.start()
    yield served
    served.kill()


@pytest.fixture(autouse=True)
def log_of_the_server(server):
    """Shown where a test fails."""
    yield
    print(server.log())


@pytest.fixture(scope="module")
def vlm(vlm_params):
    return load_vlm(vlm_params)


@pytest.fixture(scope="module")
def jpegs(photos):
    return [photos.path(name).read_bytes() for name in NAMES]


def own_answers(vlm, dialogue, photos, limit=LIMIT):
    return list(generate_answers(vlm, dialogue.prompt, [partial(photos.load, n) for n in NAMES], 4, limit))


def engine(server, model, dialogue, limit=LIMIT, adapter_sha256=None, **changed):
    given = {
        "kind": "server",
        "url": server.url,
        "model": model,
        "schema_as": "none",
        "logprobs": True,
        "parallel": 3,
        "timeout_s": 120,
        "retries": 2,
        "api_key_variable": None,
    }
    return ServerEngine(ServerParams.model_validate(given | changed), dialogue, limit, adapter_sha256)


@pytest.fixture(scope="module", params=[False, True], ids=["bare", "reasoning"])
def dialogue(request, taxonomy, vlm):
    return Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=request.param)


@pytest.fixture(scope="module")
def bare(taxonomy, vlm):
    return Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=False)


@pytest.fixture(scope="module")
def folder(vlm_params):
    return vlm_params.spec.checkpoint


def without_scores(answers):
    return [(a.text, a.n_tokens, a.finished) for a in answers]


@pytest.mark.parametrize("limit", [LIMIT, 24, 2])
def test_it_answers_as_the_model_in_process(server, vlm, dialogue, photos, jpegs, folder, limit):
    """Answers that are cut off too, within a thought or without one."""
    own = own_answers(vlm, dialogue, photos, limit)
    given = list(engine(server, folder, dialogue, limit).answers(jpegs))
    assert without_scores(given) == without_scores(own)
    assert any(not a.finished for a in own) is (limit < LIMIT)
    assert limit < LIMIT or len({a.text for a in own}) > 1
    assert {a.scores for a in given} == {()}  # it knows no log-probabilities


def test_it_sees_the_same_prompt(server, vlm, dialogue, photos, jpegs, folder):
    text = vlm.processor.apply_chat_template(
        with_photo(dialogue.prompt), tokenize=False, add_generation_prompt=True
    )
    own = vlm.processor(
        text=[text], images=[[photos.load("p0")]], return_tensors="pt", add_special_tokens=False
    )
    with openai.OpenAI(base_url=server.url, api_key="none") as client:
        reply = client.chat.completions.create(
            model=folder, messages=photo_messages(dialogue, jpegs[0]), max_tokens=1
        )
    assert reply.usage.prompt_tokens == own["input_ids"].shape[1]


def test_a_merged_model_is_served(server, vlm, vlm_params, dialogue, photos, jpegs, tmp_path):
    """It answers as in process, asked as its folder says, and its reports name the adapter in it."""
    adapted = load_vlm(vlm_params, new_adapter=LoraParams(rank=4, alpha=4, dropout=0))
    random = torch.Generator().manual_seed(0)
    for name, weight in adapted.model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.05, generator=random)
    adapter, folder = tmp_path / "adapter", tmp_path / "merged"
    Adapter(adapted.model, dialogue, {}).save_pretrained(str(adapter))
    merge_adapter(vlm_params, adapter, card="").save_pretrained(str(folder))
    asking = engine(server, str(folder), stored_dialogue(folder), adapter_sha256=known_adapter_hash(folder))
    given = list(asking.answers(jpegs))
    own = own_answers(load_vlm(merged_params(folder, "cpu")), dialogue, photos)
    assert without_scores(given) == without_scores(own)
    assert {a.text for a in own} != {a.text for a in own_answers(vlm, dialogue, photos)}
    assert asking.made_by.adapter_sha256 == adapter_hash(adapter)


@pytest.mark.parametrize(
    ("schema_as", "message"),
    [
        ("grammar", r"422, Unexpected fields.*structured_outputs.*schema_as=none"),
        ("json_schema", "does not keep to it"),
    ],
)
def test_it_keeps_to_no_schema_and_that_is_told(server, bare, jpegs, folder, schema_as, message):
    with pytest.raises(InspectionStopped, match=message):
        list(engine(server, folder, bare, schema_as=schema_as).answers(jpegs))


def test_a_model_that_is_not_there_is_told(server, bare, jpegs):
    with pytest.raises(InspectionStopped, match=r"'nowhere/model' \(inspection.engine.model\)"):
        list(engine(server, "nowhere/model", bare, retries=1).answers(jpegs))


def test_what_is_no_photo_fails_alone(server, bare, jpegs, folder):
    answers = list(engine(server, folder, bare, retries=1).answers([jpegs[0], b"no photo", jpegs[1]]))
    assert [isinstance(answer, Failure) for answer in answers] == [False, True, False]


def test_a_server_that_was_killed_and_started_again_answers_the_rest(
    server, vlm, bare, photos, jpegs, folder
):
    """With requests in flight; every photo is answered once and in order."""
    answers = engine(server, folder, bare, retries=20).answers(jpegs)
    given = [next(answers), next(answers)]
    server.kill()
    starting = Thread(target=server.start)
    starting.start()
    given += answers
    starting.join()
    assert without_scores(given) == without_scores(own_answers(vlm, bare, photos))


def test_a_server_that_is_gone_stops_the_inspection(server, bare, jpegs, folder):
    answers = engine(server, folder, bare, retries=1).answers(jpegs)
    next(answers)
    server.kill()
    try:
        with pytest.raises(InspectionStopped, match=f"Nothing answers at {server.url} after 2 tries"):
            list(answers)
    finally:
        server.start()
