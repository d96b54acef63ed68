"""What answers, and how it is asked."""

from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, field_validator

from lng_kedro.params import Params, only_own


class InProcessParams(Params):
    """A model in this process.

    Attributes:
        kind: which engine this is.
        batch_size: photos a batch.
    """

    kind: Literal["in_process"]
    batch_size: PositiveInt


class ServerParams(Params):
    """An OpenAI-compatible server.

    Attributes:
        kind: which engine this is.
        url: under which ``/chat/completions`` is found; most servers' ends with ``/v1``.
        model: name under which the server knows the model, with vLLM that of a LoRA module.
        schema_as: in which form the report schema is in a request: ``grammar`` (vLLM; bare reports and those
            behind a thought), ``json_schema`` (most servers; bare reports only) or ``none`` (`transformers
            serve`).
        logprobs: ask for the tokens' log-probabilities, from which findings have their scores.
        parallel: requests at once.
        timeout_s: seconds until a request is given up, from sending it to its last byte.
        retries: how often a request is sent again: after a time-out, a lost connection, 429 or 5xx from half
            a second to eight seconds later; after a reply that is none at once.
        api_key_variable: name of the environment variable that holds the server's key; None for no key.
    """

    kind: Literal["server"]
    url: str
    model: str = Field(min_length=1)
    schema_as: Literal["grammar", "json_schema", "none"]
    logprobs: bool
    parallel: PositiveInt
    timeout_s: PositiveFloat
    retries: NonNegativeInt
    api_key_variable: str | None

    @field_validator("url")
    @classmethod
    def _is_url(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"'{url}' is no URL such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            # It would stand in logs and reports.
            raise ValueError(
                "a URL holds no key here, and nothing behind ? or #: name the variable with the key in "
                "api_key_variable"
            )
        return url.rstrip("/")

    @property
    def is_loopback(self) -> bool:
        """Whether the server is on this machine."""
        host = urlsplit(self.url).hostname or ""
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"


ENGINES: dict[str, type[Params]] = {"in_process": InProcessParams, "server": ServerParams}
"""What can answer, and what can be set there."""

EngineParams = Annotated[
    InProcessParams | ServerParams, Field(discriminator="kind"), BeforeValidator(only_own("kind", ENGINES))
]
"""What answers; see conf/base/parameters/inspection.yml."""


class PhotoParams(Params):
    """How photos are read; see conf/base/parameters/inspection.yml for what each value means."""

    look_ahead: PositiveInt
    jpeg_quality: int = Field(ge=1, le=95)
    max_pixels: PositiveInt
    max_bytes: PositiveInt


class InspectionParams(PhotoParams):
    """See conf/base/parameters/inspection.yml for what each value means."""

    engine: EngineParams
    constrained: bool
    max_new_tokens: PositiveInt
    page_mib: PositiveFloat
