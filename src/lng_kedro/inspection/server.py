"""Answers of an OpenAI-compatible server: vLLM on a GPU, `transformers serve` on a laptop."""

import logging
import os
from base64 import b64encode
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, wait
from contextlib import suppress
from io import BytesIO
from textwrap import shorten
from typing import Annotated, Any

from anyio import fail_after
from anyio.from_thread import start_blocking_portal
from httpx2 import Limits, ReadTimeout, Request, Response
from openai import (
    APIError,
    APIStatusError,
    APITimeoutError,
    AsyncOpenAI,
    DefaultAsyncHttpxClient,
    Timeout,
)
from PIL import Image
from pydantic import BaseModel, Field, ValidationError

from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.inspection.engine import Failure, InspectionStopped, question_hash
from lng_kedro.inspection.params import ServerParams
from lng_kedro.inspection.record import MadeBy
from lng_kedro.prompts import Message
from lng_kedro.report import THINK_CLOSE, THINK_OPEN
from lng_kedro.vlm.constraint import report_grammar, report_schema
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import Answer, object_scores, with_photo

logger = logging.getLogger(__name__)

CONNECT_S = 10.0
"""Seconds until a host that does not answer at all is given up."""

ONE_WORD = "LNG"
"""All that a server may write that is asked whether it keeps to a schema."""

NO_ENTRY = {401, 403, 429}
"""Statuses that are about a key or too many requests, not about what was asked."""


class _NoAnswer(InspectionStopped):
    """Something was sent back that is no chat completion."""


class _Message(BaseModel):
    content: str | None = None
    # Some servers take the thought out of the text, under one of two names.
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Token(BaseModel):
    token: str
    logprob: float


class _Tokens(BaseModel):
    content: list[_Token] | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Tokens | None = None


class _Usage(BaseModel):
    completion_tokens: int | None = None


class _Reply(BaseModel):
    """What is read of a chat completion."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage | None = None


class _Model(BaseModel):
    id: str
    owned_by: str = ""


class _Models(BaseModel):
    """What is read of a list of models."""

    data: list[_Model]


class _HttpClient(DefaultAsyncHttpxClient):
    """Gives a whole request up in time: httpx's own limit begins anew with every byte that comes."""

    async def send(self, request: Request, **options: Any) -> Response:
        try:
            with fail_after(request.extensions["timeout"]["read"]):
                return await super().send(request, **options)
        except TimeoutError as error:
            raise ReadTimeout("", request=request) from error


class ServerEngine:
    """An `Engine` on a server that may be anywhere; needs neither torch nor a GPU here.

    Before the first photo it asks about a grey one: whether the server knows the model, takes every field of
    a request, and keeps to the schema. A server may drop a field without a word.
    """

    def __init__(
        self,
        params: ServerParams,
        dialogue: Dialogue,
        max_new_tokens: int,
        adapter_sha256: str | None = None,
    ) -> None:
        """Asks nothing of the server yet.

        Args:
            params: which server, and how it is asked.
            dialogue: how its model is spoken with.
            max_new_tokens: where an answer is cut off.
            adapter_sha256: `adapter_hash` of the adapter that it serves, where that is known here.

        Raises:
            ValueError: the parameters do not fit the dialogue, or the key is missing.
        """
        self.dialogue = dialogue
        self.made_by = MadeBy(
            model=params.model,
            adapter_sha256=adapter_sha256,
            taxonomy_sha256=dialogue.taxonomy.digest,
            engine=params.url,
            constrained=params.schema_as != "none",
            prompt_sha256=question_hash(dialogue, max_new_tokens),
            scores=params.logprobs,
        )
        self._params = params
        self._max_new_tokens = max_new_tokens
        self._optional = {
            "schema_as": _schema_fields(params.schema_as, dialogue),
            "logprobs": {"logprobs": True} if params.logprobs else {},
        }
        self._key = _api_key(params)
        self._vllm: dict[str, Any] = {}
        self._checked = False
        if not params.is_loopback and params.url.startswith("http:"):
            logger.warning("Photos and reports go to %s unencrypted, and so does a key.", params.url)

    def answers(self, photos: Iterable[bytes]) -> Iterator[Answer | Failure]:
        """One answer a photo, in order; see `Engine`."""
        # An event loop in a thread: what is in flight is cut off at once, whatever exception ends this.
        with start_blocking_portal() as portal:
            client = self._client()
            asked: deque[Future[Answer | Failure]] = deque()
            try:
                for photo in photos:
                    if not self._checked:
                        _result(portal.start_task_soon(self._check, client))
                        self._checked = True
                    asked.append(portal.start_task_soon(self._answer, client, photo))
                    if len(asked) == self._params.parallel:
                        yield _result(asked.popleft())
                while asked:
                    yield _result(asked.popleft())
            finally:
                portal.call(client.close)

    def _client(self) -> AsyncOpenAI:
        client = AsyncOpenAI(
            base_url=self._params.url,
            api_key=self._key,
            timeout=Timeout(self._params.timeout_s, connect=min(CONNECT_S, self._params.timeout_s)),
            max_retries=self._params.retries,
            http_client=_HttpClient(
                # No proxy stands between this machine and itself.
                trust_env=not self._params.is_loopback,
                # A server may close a connection as the next question goes out on it: each has its own.
                limits=Limits(max_keepalive_connections=0),
            ),
        )
        client.organization = client.project = None  # of an account that the environment may name
        return client

    async def _check(self, client: AsyncOpenAI) -> None:
        try:
            await self._ask_about_nothing(client)
            known = await self._known_models(client)
            if known.get(self._params.model) == "vllm":
                # Else the checkpoint's own, and a report has to repeat itself.
                self._vllm = {"repetition_penalty": 1.0}
            if known and self._params.model not in known:
                listed = ", ".join(known)
                logger.warning("%s answers as %s, and lists %s", self._params.url, self._params.model, listed)
            await self._see_schema_kept(client)
        except APIError as error:
            raise InspectionStopped(self._gone(error)) from error

    async def _ask_about_nothing(self, client: AsyncOpenAI) -> None:
        """Passes where what goes wrong is not the server's fault, nor the parameters'."""
        try:
            await self._ask(client, _GREY, 1, self._fields)
        except APIStatusError as error:
            if error.status_code in NO_ENTRY:
                raise
            raise InspectionStopped(await self._cause(client, error)) from error

    async def _see_schema_kept(self, client: AsyncOpenAI) -> None:
        fields = _one_word_fields(self._params.schema_as)
        if fields:
            answer = await self._ask(client, _GREY, self._max_new_tokens, fields)
            if answer.text.strip().strip('"') != ONE_WORD:
                raise InspectionStopped(
                    f"{self._params.url} takes a schema as {', '.join(fields)}, and does not keep to it: "
                    "take another form (inspection.engine.schema_as), or none"
                )

    async def _answer(self, client: AsyncOpenAI, photo: bytes) -> Answer | Failure:
        """Its answer, or why this photo alone has none: the server does answer about a grey one."""
        try:
            try:
                return await self._ask(client, photo, self._max_new_tokens, self._fields)
            except (APIError, _NoAnswer) as error:
                if isinstance(error, APITimeoutError) or getattr(error, "status_code", None) in NO_ENTRY:
                    raise
                await self._ask_about_nothing(client)
                return Failure(self._failed(error))
        except APIError as error:
            raise InspectionStopped(self._gone(error)) from error

    @property
    def _fields(self) -> dict[str, Any]:
        return self._optional["schema_as"] | self._optional["logprobs"] | self._vllm

    async def _ask(self, client: AsyncOpenAI, photo: bytes, limit: int, fields: dict[str, Any]) -> Answer:
        for _ in range(self._params.retries + 1):
            reply = await client.chat.completions.with_raw_response.create(
                model=self._params.model,
                messages=photo_messages(self.dialogue, photo),  # type: ignore[arg-type]
                max_tokens=limit,
                temperature=0,
                # `transformers serve` makes a penalty on repetition of it; the checkpoint's is not wanted.
                frequency_penalty=0,
                extra_body=fields,
            )
            with suppress(ValidationError):
                return read_answer(reply.content)
        raise _NoAnswer(
            f"{self._params.url} answers, but not as an OpenAI-compatible server: '{_brief(reply.text)}'"
        )

    async def _known_models(self, client: AsyncOpenAI) -> dict[str, str]:
        """Names and owners of the models that the server lists; none where it lists none.

        `transformers serve` lists what is in a cache, not the folder that it serves.
        """
        try:
            listed = await client.with_options(max_retries=1).models.with_raw_response.list()
            models = _Models.model_validate_json(listed.content).data
            return {model.id: model.owned_by for model in models}
        except (APIError, ValidationError):
            return {}

    async def _cause(self, client: AsyncOpenAI, error: APIStatusError) -> str:
        """What to change so that a question is not refused any more."""
        for name, off in (("schema_as", "none"), ("logprobs", "false")):
            dropped = self._optional[name]
            kept = {key: value for key, value in self._fields.items() if key not in dropped}
            try:
                if dropped:
                    await self._ask(client, _GREY, 1, kept)
                    return (
                        f"{self._said(error)}. It refuses {', '.join(dropped)}: "
                        f"--params inspection.engine.{name}={off}"
                    )
            except APIStatusError:
                continue
        known = ", ".join(await self._known_models(client)) or "no models"
        return (
            f"{self._said(error)}. Asked for was the model '{self._params.model}' (inspection.engine.model); "
            f"it lists {known}"
        )

    def _said(self, error: APIStatusError) -> str:
        body = error.body if isinstance(error.body, dict) else {}
        message = body.get("message") or body.get("detail") or error.response.text
        return f"{self._params.url} said {error.status_code}, {_brief(message)}"

    def _failed(self, error: APIError | _NoAnswer) -> str:
        """Why one photo has no answer."""
        if isinstance(error, APIStatusError):
            return self._said(error)
        if isinstance(error, _NoAnswer):
            return str(error)
        found = _brief(error.__cause__ or error)
        return f"{self._params.url} broke off {self._tries} ({found}), and answers about another photo"

    @property
    def _tries(self) -> str:
        return f"after {self._params.retries + 1} tries"

    def _gone(self, error: APIError) -> str:
        """Why nothing is asked any more, and what helps."""
        times = self._tries
        if isinstance(error, APITimeoutError):
            why = (
                f"{self._params.url} gave no answer within {self._params.timeout_s:g} s, {times}: raise "
                "inspection.engine.timeout_s, or lower inspection.engine.parallel"
            )
        elif not isinstance(error, APIStatusError):
            found = _brief(error.__cause__ or error)
            why = f"Nothing answers at {self._params.url} {times} ({found}): start it"
        elif error.status_code != 429 and error.status_code in NO_ENTRY:
            why = f"{self._said(error)}: inspection.engine.api_key_variable names the variable with its key"
        elif error.status_code == 429:
            why = f"{self._said(error)} {times}: lower inspection.engine.parallel"
        else:
            why = f"{self._said(error)} {times}"
        return f"{why}. The same command goes on from here."


def _result(future: Future[Any]) -> Any:
    """Waits for it a second at a time: a Ctrl-C as a wait begins is only seen when the wait ends."""
    while not wait([future], timeout=1).done:
        pass
    return future.result()


def photo_messages(dialogue: Dialogue, photo: bytes) -> list[Message]:
    """The dialogue's question about a processed photo (JPEG), as chat completions take it."""
    url = f"data:image/jpeg;base64,{b64encode(photo).decode()}"
    messages = with_photo(dialogue.prompt)
    messages[-1]["content"][0] = {"type": "image_url", "image_url": {"url": url}}
    return messages


def read_answer(reply: bytes) -> Answer:
    """The answer in a server's reply, JSON of a chat completion.

    Scores are those of `generate_answers` where the reply holds the tokens' log-probabilities; else there are
    none. The number of tokens is 0 where the reply does not say it.

    Raises:
        pydantic.ValidationError: it is none.
    """
    read = _Reply.model_validate_json(reply)
    choice = read.choices[0]
    finished = choice.finish_reason == "stop"
    content = choice.message.content or ""
    thought = choice.message.reasoning or choice.message.reasoning_content
    if thought:
        closing = THINK_CLOSE if content or finished else ""
        content = f"{THINK_OPEN}{thought}{closing}{content}"
    tokens = (choice.logprobs and choice.logprobs.content) or []
    pieces = [token.token for token in tokens]
    scores: tuple[float, ...] = ()
    if "".join(pieces).startswith(content):  # else they do not tell where in the text they stand
        scores = object_scores(content, pieces, [token.logprob for token in tokens])
    n_tokens = read.usage and read.usage.completion_tokens
    return Answer(content, n_tokens or 0, finished, scores)


def _schema_fields(schema_as: str, dialogue: Dialogue) -> dict[str, Any]:
    """Fields of a request that hold the report schema."""
    if schema_as == "json_schema" and dialogue.reasoning:
        raise ValueError(
            "inspection.engine.schema_as is json_schema, and the adapter answers with a thought before the "
            "report, which is no JSON: take grammar (vLLM), or none"
        )
    if schema_as == "grammar":
        # Whether the model's template writes a space before answers is not known here; one does no harm.
        return _grammar_field(report_grammar(dialogue, lead=True))
    return _json_field(report_schema(dialogue)) if schema_as == "json_schema" else {}


def _one_word_fields(schema_as: str) -> dict[str, Any]:
    """The same fields, with a schema of one word."""
    if schema_as == "grammar":
        return _grammar_field(f'root ::= "{ONE_WORD}"')
    return _json_field({"type": "string", "enum": [ONE_WORD]}) if schema_as == "json_schema" else {}


def _grammar_field(grammar: str) -> dict[str, Any]:
    return {"structured_outputs": {"grammar": grammar}}


def _json_field(schema: dict[str, Any]) -> dict[str, Any]:
    named = {"name": "report", "schema": schema, "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": named}}


def _api_key(params: ServerParams) -> str:
    if params.api_key_variable is None:
        return "none"  # the client refuses an empty one; a server without keys reads none
    key = os.environ.get(params.api_key_variable)
    if not key:
        raise ValueError(
            f"inspection.engine.api_key_variable: the environment holds no {params.api_key_variable}"
        )
    if not (key.isascii() and key.isprintable()):  # no header can hold it
        raise ValueError(
            f"inspection.engine.api_key_variable: {params.api_key_variable} holds a line break, or letters "
            "that no key has"
        )
    return key


def _brief(said: object) -> str:
    return shorten(str(said), 300)


def _grey_photo() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (PROCESSED_SIZE, PROCESSED_SIZE), "grey").save(buffer, "JPEG")
    return buffer.getvalue()


_GREY = _grey_photo()
