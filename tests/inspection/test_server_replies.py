"""What only vLLM has, and what goes wrong, against a stand-in that answers in vLLM's documented form.

vLLM itself needs a GPU and cannot run here; tests/inspection/test_server.py asks a real server.
"""

from threading import Barrier, Event, Lock, Thread, Timer

import pytest
import xgrammar
from pydantic import ValidationError

from lng_kedro.geometry import Frame
from lng_kedro.inspection.engine import Failure, InspectionStopped
from lng_kedro.inspection.params import ServerParams
from lng_kedro.inspection.server import ServerEngine
from lng_kedro.vlm.constraint import report_grammar, report_schema
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import Answer
from tests.inspection.stand_in import completion, obedient, photo_of, refusal, stand_in

PHOTOS = [b"photo %d" % i for i in range(6)]


@pytest.fixture
def dialogue(taxonomy):
    return Dialogue(taxonomy=taxonomy, frame=Frame(504, 504), reasoning=True)


def params(url, **changed):
    given = {
        "kind": "server",
        "url": url,
        "model": "inspector",
        "schema_as": "none",
        "logprobs": True,
        "parallel": 1,
        "timeout_s": 30,
        "retries": 2,
        "api_key_variable": None,
    }
    return ServerParams.model_validate(given | changed)


def named(body):
    """Answers with the photo's own name."""
    photo = photo_of(body)
    return completion(photo.decode() if photo in PHOTOS else "[]")


def texts(answers):
    return [answer.text for answer in answers]


def test_what_is_asked_of_vllm(dialogue):
    """The photo before the text, greedily, without the checkpoint's penalty, as the grammar says."""
    with stand_in(lambda body: obedient(body) or named(body)) as server:
        engine = ServerEngine(params(server.url, schema_as="grammar"), dialogue, 300)
        assert texts(engine.answers(PHOTOS[:1])) == ["photo 0"]
        body = server.asked[-1].body
    blocks = body["messages"][-1]["content"]
    assert [block["type"] for block in blocks] == ["image_url", "text"]
    assert photo_of(body) == PHOTOS[0]
    assert blocks[1]["text"] == dialogue.prompt[-1]["content"]
    assert body["messages"][0] == {
        "role": "system",
        "content": [{"type": "text", "text": dialogue.prompt[0]["content"]}],
    }
    assert body["structured_outputs"] == {"grammar": report_grammar(dialogue, lead=True)}
    said = {"model": "inspector", "max_tokens": 300, "temperature": 0, "logprobs": True}
    assert body.items() >= (said | {"repetition_penalty": 1.0, "frequency_penalty": 0}).items()


@pytest.mark.parametrize("reasoning", [False, True])
def test_the_grammar_is_one_to_xgrammar_which_vllm_uses(dialogue, reasoning):
    asked = dialogue.model_copy(update={"reasoning": reasoning})
    with stand_in(lambda body: obedient(body) or named(body)) as server:
        list(ServerEngine(params(server.url, schema_as="grammar"), asked, 300).answers(PHOTOS[:1]))
        grammars = {request.body["structured_outputs"]["grammar"] for request in server.asked}
    assert len(grammars) == 2  # the check's and the report's
    for grammar in grammars:
        xgrammar.Grammar.from_ebnf(grammar)
    with pytest.raises(RuntimeError):
        xgrammar.Grammar.from_ebnf(f"{grammar} (")


def test_a_json_schema_is_asked_for(dialogue):
    bare = dialogue.model_copy(update={"reasoning": False})
    with stand_in(lambda body: obedient(body) or named(body)) as server:
        engine = ServerEngine(params(server.url, schema_as="json_schema"), bare, 300)
        assert texts(engine.answers(PHOTOS[:1])) == ["photo 0"]
        form = server.asked[-1].body["response_format"]
    assert form["type"] == "json_schema"
    assert form["json_schema"]["schema"] == report_schema(bare)
    assert engine.made_by.constrained


def test_scores_are_the_means_of_label_and_box_tokens(dialogue):
    tokens = [
        ("<think>", -9.0),
        ('1</think><answer>[{"label":"', -9.0),
        ("crack", -0.5),
        ('","bbox":[', -9.0),
        ("1", -1.0),
        (",2,3,", -2.0),
        ("4", -0.1),
        ("]}]</answer>", -9.0),
        ("<|im_end|>", -9.0),
    ]
    text = "".join(token for token, _ in tokens[:-1])
    with stand_in(lambda body: completion(text, tokens)) as server:
        (answer,) = ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS[:1])
    assert answer == Answer(text, 9, True, answer.scores)
    assert answer.scores == (pytest.approx((-0.5 - 1.0 - 2.0 - 0.1) / 4),)


def test_tokens_without_their_text_give_no_scores(dialogue):
    """As vLLM's ``--return-tokens-as-token-ids`` writes them."""
    text = '<think>1</think><answer>[{"label":"crack","bbox":[1,2,3,4]}]</answer>'
    with stand_in(lambda body: completion(text, [("token_id:7", -1.0)] * 3)) as server:
        (answer,) = ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS[:1])
    assert (answer.text, answer.scores) == (text, ())


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_a_thought_that_a_server_took_out_is_put_back(dialogue, name):
    with stand_in(lambda body: completion("<answer>[]</answer>", **{name: "0"})) as server:
        assert texts(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS[:1])) == [
            "<think>0</think><answer>[]</answer>"
        ]


@pytest.mark.parametrize(
    ("field", "changed", "advice"),
    [
        ("structured_outputs", {"schema_as": "grammar"}, "--params inspection.engine.schema_as=none"),
        ("logprobs", {}, "--params inspection.engine.logprobs=false"),
    ],
)
def test_a_refused_field_is_named_with_what_to_change(dialogue, field, changed, advice):
    def reply(body):
        return refusal(400, f"no {field} here") if field in body else completion("[]")

    with stand_in(reply) as server, pytest.raises(InspectionStopped, match="said 400, no ") as stopped:
        list(ServerEngine(params(server.url, **changed), dialogue, 300).answers(PHOTOS))
    assert str(stopped.value).endswith(advice)


@pytest.mark.parametrize("form", ["grammar", "json_schema"])
def test_a_schema_that_is_dropped_without_a_word_is_found(dialogue, form):
    bare = dialogue.model_copy(update={"reasoning": False})
    with stand_in(named) as server, pytest.raises(InspectionStopped, match="does not keep to it"):
        list(ServerEngine(params(server.url, schema_as=form), bare, 300).answers(PHOTOS))


def test_a_thought_is_no_json(dialogue):
    with pytest.raises(ValueError, match="take grammar"):
        ServerEngine(params("http://127.0.0.1:1/v1", schema_as="json_schema"), dialogue, 300)


def test_a_photo_that_is_refused_fails_alone(dialogue):
    """And so does one that breaks the server, after all tries."""

    def reply(body):
        bad = {b"photo 1": (400, "cannot identify image"), b"photo 3": (500, "image tokens do not match")}
        return refusal(*bad[photo_of(body)]) if photo_of(body) in bad else named(body)

    with stand_in(reply) as server:
        answers = list(ServerEngine(params(server.url, parallel=2), dialogue, 300).answers(PHOTOS))
        tries = [photo_of(request.body) for request in server.asked]
    assert answers[1] == Failure(f"{server.url} said 400, cannot identify image")
    assert answers[3] == Failure(f"{server.url} said 500, image tokens do not match")
    assert texts(answers[::2]) == ["photo 0", "photo 2", "photo 4"]
    assert answers[5].text == "photo 5"
    assert (tries.count(b"photo 1"), tries.count(b"photo 3")) == (1, 3)


def test_a_server_that_breaks_for_all_photos_stops_the_inspection(dialogue):
    broken = Event()

    def reply(body):
        return refusal(500, "out of memory") if broken.is_set() else named(body)

    with stand_in(reply) as server:
        answers = ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS)
        assert next(answers).text == "photo 0"
        broken.set()
        with pytest.raises(InspectionStopped, match="said 500, out of memory"):
            list(answers)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_passing_trouble_is_tried_again(dialogue, status):
    left = [1, 1]

    def reply(body):
        return (
            refusal(status, "busy") if photo_of(body) == b"photo 1" and left and left.pop() else named(body)
        )

    with stand_in(reply) as server:
        answers = ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS)
        assert texts(answers) == [photo.decode() for photo in PHOTOS]
    assert not left


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "api_key_variable"), (429, "lower inspection.engine.parallel"), (404, "inspection.engine.model")],
)
def test_a_server_that_wants_no_photo_says_what_to_change(dialogue, status, advice):
    with (
        stand_in(lambda body: refusal(status, "no")) as server,
        pytest.raises(InspectionStopped, match=advice),
    ):
        list(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS))


def test_an_unknown_model_is_told_with_those_that_are_there(dialogue):
    with (
        stand_in(
            lambda body: refusal(404, "The model does not exist."), models=("base", "adapter")
        ) as server,
        pytest.raises(InspectionStopped, match=r"'inspector'.*it lists base, adapter"),
    ):
        list(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS))


def test_a_model_that_answers_unlisted_is_warned_about(dialogue, caplog):
    with stand_in(named, models=("other",)) as server:
        assert len(list(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS))) == 6
    assert "and lists other" in caplog.text


def test_what_is_no_such_server_is_told(dialogue):
    with (
        stand_in(lambda body: (200, b"<html>Log in</html>")) as server,
        pytest.raises(InspectionStopped, match="not as an OpenAI-compatible server: '<html>Log in</html>'"),
    ):
        list(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS))


def changed_choice(**changed):
    """A completion whose only choice says something else."""
    reply = completion("[]")
    return reply | {"choices": [reply["choices"][0] | changed]}


NO_ANSWERS = {
    "half": b'{"choices":[{"mess',
    "empty": b"",
    "a list": b"[]",
    "null": b"null",
    "not UTF-8": b'{"choices":"\xff"}',
    "an error": {"error": {"message": "CUDA out of memory"}},
    "no choice": completion("[]") | {"choices": []},
    "no list of choices": completion("[]") | {"choices": None},
    "no message": changed_choice(message=None),
    "content in blocks": completion([{"type": "text", "text": "[]"}]),
    "a thought in blocks": completion("[]", reasoning=["x"]),
    "a token without its chance": completion("[]", [("[]", None)]),
}


@pytest.mark.parametrize("sent", NO_ANSWERS.values(), ids=NO_ANSWERS)
def test_a_reply_that_is_none_is_asked_for_again_and_fails_alone(dialogue, sent):
    with stand_in(lambda body: sent if photo_of(body) == PHOTOS[1] else named(body)) as server:
        answers = list(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS[:3]))
        asked = [photo_of(request.body) for request in server.asked]
    assert texts(answers[::2]) == ["photo 0", "photo 2"]
    assert answers[1].detail.startswith(f"{server.url} answers, but not as an OpenAI-compatible server: '")
    assert asked.count(PHOTOS[1]) == 3


def test_a_reply_that_is_none_once_is_no_failure(dialogue):
    left = [b"null"]

    def reply(body):
        return left.pop() if left and photo_of(body) == PHOTOS[1] else named(body)

    with stand_in(reply) as server:
        answers = ServerEngine(params(server.url, retries=1), dialogue, 300).answers(PHOTOS[:3])
        assert texts(answers) == ["photo 0", "photo 1", "photo 2"]


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 1}, {"completion_tokens": None}])
def test_a_reply_need_not_count_its_tokens(dialogue, usage):
    with stand_in(lambda body: completion("[]") | {"usage": usage}) as server:
        answers = list(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS[:1]))
    assert answers == [Answer("[]", 0, True, ())]


def test_a_list_of_models_that_is_none_is_none(dialogue):
    with stand_in(named, models=(None,)) as server:
        assert texts(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS[:1])) == ["photo 0"]


def test_a_photo_that_ends_the_servers_worker_fails_alone(dialogue):
    with stand_in(lambda body: None if photo_of(body) == PHOTOS[1] else named(body)) as server:
        answers = list(ServerEngine(params(server.url, retries=1), dialogue, 300).answers(PHOTOS[:3]))
        asked = [photo_of(request.body) for request in server.asked]
    assert texts(answers[::2]) == ["photo 0", "photo 2"]
    assert answers[1].detail.startswith(f"{server.url} broke off after 2 tries")
    assert asked.count(PHOTOS[1]) == 2


def test_a_server_that_breaks_off_about_all_photos_stops_the_inspection(dialogue):
    broken = Event()
    with stand_in(lambda body: None if broken.is_set() else named(body)) as server:
        answers = ServerEngine(params(server.url, retries=1), dialogue, 300).answers(PHOTOS)
        assert next(answers).text == "photo 0"
        broken.set()
        with pytest.raises(InspectionStopped, match=r"Nothing answers at .* after 2 tries"):
            list(answers)


def test_no_question_goes_out_on_a_connection_that_may_just_be_closing(dialogue):
    with stand_in(lambda body: obedient(body) or named(body)) as server:
        list(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS))
        ports = [request.port for request in server.asked]
    assert len(ports) > len(PHOTOS)
    assert len(set(ports)) == len(ports)


def test_answers_keep_their_order_and_so_many_are_asked_at_once(dialogue):
    """The first of three waits for the two behind it; no fourth photo is taken before it is answered."""
    taken, together = [], Barrier(3, timeout=60)
    first, lock, now, most = Event(), Lock(), [], []

    def reply(body):
        photo = photo_of(body)
        if photo not in PHOTOS:
            return completion("[]")
        with lock:
            now.append(photo)
            most.append(len(now))
        if photo in PHOTOS[:3]:
            together.wait()
        if photo == PHOTOS[0]:
            first.wait(60)
        with lock:
            now.remove(photo)
        if photo == PHOTOS[2]:
            first.set()
        return named(body)

    def photos():
        for photo in PHOTOS:
            taken.append(photo)
            yield photo

    with stand_in(reply) as server:
        answers = ServerEngine(params(server.url, parallel=3), dialogue, 300).answers(photos())
        assert next(answers).text == "photo 0"
        assert taken == PHOTOS[:3]
        assert texts(answers) == ["photo 1", "photo 2", "photo 3", "photo 4", "photo 5"]
    assert max(most) == 3


def test_a_server_that_hangs_is_given_up(dialogue):
    release = Event()

    def reply(body):
        if photo_of(body) in PHOTOS:
            release.wait(30)
        return named(body)

    with stand_in(reply) as server:
        engine = ServerEngine(params(server.url, timeout_s=2, retries=1), dialogue, 300)
        with pytest.raises(InspectionStopped, match=r"within 2 s, after 2 tries: raise inspection"):
            list(engine.answers(PHOTOS))
        release.set()
        assert len([r for r in server.asked if photo_of(r.body) == PHOTOS[0]]) == 2


def test_a_reply_that_drips_is_given_up(dialogue):
    """Each byte comes in time, the whole does not."""
    release = Event()

    def reply(body):
        return dripping(release) if photo_of(body) in PHOTOS else named(body)

    def dripping(release):
        while not release.wait(0.2):
            yield b" "

    with stand_in(reply) as server:
        engine = ServerEngine(params(server.url, timeout_s=2, retries=0), dialogue, 300)
        late = Timer(60, release.set)
        late.start()
        with pytest.raises(InspectionStopped, match="within 2 s, after 1 tries"):
            list(engine.answers(PHOTOS))
        late.cancel()
        release.set()


def test_who_stops_does_not_wait_for_what_was_asked(dialogue):
    release, asked = Event(), Event()

    def reply(body):
        if photo_of(body) == PHOTOS[2]:
            asked.set()
            release.wait(60)
        return named(body)

    with stand_in(reply) as server:
        answers = ServerEngine(params(server.url, parallel=3, timeout_s=60), dialogue, 300).answers(PHOTOS)
        assert next(answers).text == "photo 0"
        assert asked.wait(60)
        stopping = Thread(target=answers.close, daemon=True)
        stopping.start()
        stopping.join(40)
        assert not stopping.is_alive()
        release.set()


def test_without_photos_no_server_is_needed(dialogue):
    assert list(ServerEngine(params("http://127.0.0.1:1/v1"), dialogue, 300).answers([])) == []


def test_the_key_comes_from_the_variable_that_is_named(dialogue, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "of another account")
    monkeypatch.setenv("OPENAI_ORG_ID", "another account")
    monkeypatch.setenv("FACTORY_KEY", "secret")
    with stand_in(named) as server:
        for variable in (None, "FACTORY_KEY"):
            engine = ServerEngine(params(server.url, api_key_variable=variable), dialogue, 300)
            assert len(list(engine.answers(PHOTOS[:1]))) == 1
        without, with_key = (r.headers for r in server.asked if photo_of(r.body) == PHOTOS[0])
    assert without["Authorization"] == "Bearer none"
    assert with_key["Authorization"] == "Bearer secret"
    assert "another account" not in " ".join([*without.values(), *with_key.values()])
    with pytest.raises(ValueError, match="the environment holds no NO_KEY"):
        ServerEngine(params(server.url, api_key_variable="NO_KEY"), dialogue, 300)


@pytest.mark.parametrize("key", ["s\u00e9cret", "secret\n"])
def test_what_is_no_key_is_refused(dialogue, monkeypatch, key):
    monkeypatch.setenv("FACTORY_KEY", key)
    with pytest.raises(ValueError, match="FACTORY_KEY holds a line break, or letters"):
        ServerEngine(params("http://127.0.0.1:1/v1", api_key_variable="FACTORY_KEY"), dialogue, 300)


def test_no_proxy_is_asked_for_this_machine(dialogue, monkeypatch):
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with stand_in(named) as server:
        assert texts(ServerEngine(params(server.url), dialogue, 300).answers(PHOTOS[:1])) == ["photo 0"]


@pytest.mark.parametrize(
    ("url", "warned"),
    [
        ("http://10.0.0.7:8000/v1", True),
        ("https://gpu.factory.example/v1", False),
        ("http://localhost:8000/v1", False),
        ("http://[::1]:8000/v1", False),
    ],
)
def test_photos_that_leave_this_machine_unencrypted_are_warned_about(dialogue, caplog, url, warned):
    ServerEngine(params(url), dialogue, 300)
    assert ("unencrypted" in caplog.text) is warned


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "ftp://host/v1",
        "http://",
        "http://key@host/v1",
        "http://host/v1?key=k",
        "http://h/v1#k",
    ],
)
def test_what_is_no_url_is_refused(url):
    with pytest.raises(ValidationError, match=r"no URL such as|holds no key"):
        params(url)


def test_reports_name_the_server(dialogue):
    engine = ServerEngine(params("http://127.0.0.1:8000/v1/"), dialogue, 300, adapter_sha256="ab")
    assert (engine.made_by.engine, engine.made_by.model) == ("http://127.0.0.1:8000/v1", "inspector")
    assert engine.made_by.adapter_sha256 == "ab"
    assert not engine.made_by.constrained
    assert engine.made_by != ServerEngine(params("http://127.0.0.1:8000/v1/"), dialogue, 299).made_by


def test_reports_without_scores_are_others(dialogue):
    makers = [
        ServerEngine(params("http://127.0.0.1:8000/v1", logprobs=on), dialogue, 300).made_by
        for on in (True, False)
    ]
    assert makers[0] != makers[1]
    assert makers[0].scores
