"""The base of all parameters."""

from pydantic import BaseModel, ConfigDict


class Params(BaseModel):
    """Parameters are immutable, and a key that does not exist is an error before any node runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")
