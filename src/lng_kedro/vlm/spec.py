"""Which model, where, and how: the entries of conf/base/parameters/models.yml."""

from typing import Literal, Self

from pydantic import Field, model_validator

from lng_kedro.params import Params
from lng_kedro.vlm.families import FAMILIES


class ModelSpec(Params):
    """One checkpoint and how it is loaded."""

    family: str
    checkpoint: str
    revision: str
    device: Literal["cuda", "cpu"]
    backend: Literal["unsloth", "transformers"]
    dtype: Literal["bfloat16", "float32"]
    lora_targets: str

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.family not in FAMILIES:
            raise ValueError(f"no model family '{self.family}'; there are {', '.join(FAMILIES)}")
        if self.backend == "unsloth" and self.device != "cuda":
            raise ValueError("backend 'unsloth' needs device 'cuda'")
        return self


class LoraParams(Params):
    """The adapter (paper, Table I)."""

    rank: int = Field(gt=0)
    alpha: int = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)


class VlmParams(Params):
    """All models, and the one in use."""

    model: str
    frame: Literal["native", "processed"]
    models: dict[str, ModelSpec]

    @model_validator(mode="after")
    def _listed(self) -> Self:
        if self.model not in self.models:
            raise ValueError(f"there is no model '{self.model}'; choose one of {', '.join(self.models)}")
        return self

    @property
    def spec(self) -> ModelSpec:
        """The model in use."""
        return self.models[self.model]
