"""Which model, where, and how: the entries of conf/base/parameters/models.yml."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from lng_kedro.geometry import PROCESSED, PROCESSED_SIZE, Frame
from lng_kedro.params import Params, hint
from lng_kedro.vlm.families import FAMILIES, Family

LANGUAGE_ATTENTION = r".*language_model.*\.self_attn\.(q|k|v|o)_proj"
"""Attention layers of the language model, in all families; their plain names also hit some vision towers."""


class License(Params):
    """Under which terms a checkpoint, and what is made of it, may be used.

    Attributes:
        id: as Hugging Face knows it; ``other`` needs name and link.
        terms: in words.
        name: where Hugging Face does not know it.
        link: to its text.
    """

    id: str
    terms: str
    name: str | None = None
    link: str | None = None


class ModelSpec(Params):
    """One checkpoint and how it is loaded.

    Attributes:
        family: a module of `lng_kedro.vlm.families`.
        checkpoint: name on the Hugging Face hub, or a folder.
        revision: commit of the hub's repository.
        frame: the numbers in which the family speaks of boxes.
        lora_targets: which layers are adapted.
        pixels: least and most pixels with which a photo is seen.
        eos_tokens: tokens that end an answer, with their ids; the first ends the assistant's turn.
        per_device_batch: samples that a process trains on at once; None for the stage's `batch_size`, or
            what of it falls to the process. The stage's `batch_size` x `gradient_accumulation` samples a step
            stay what they are.
        precision: of the frozen weights; 4bit is QLoRA (NF4).
        backend: auto takes Unsloth where a GPU and the package are.
        device: where it runs.
        architecture: what the checkpoint's config.json says of its size, for predictions without it.
        license: of the checkpoint, for the model card; None where nobody has said it.
    """

    family: str
    checkpoint: str
    revision: str
    frame: Literal["resized_pixels", "thousandths", "fractions"]
    lora_targets: Literal["language_attention", "all_attention", "all_linear"]
    pixels: tuple[PositiveInt, PositiveInt]
    eos_tokens: dict[str, int] = Field(min_length=1)
    per_device_batch: PositiveInt | None
    precision: Literal["16bit", "4bit", "32bit"]
    backend: Literal["auto", "unsloth", "transformers"]
    device: Literal["cuda", "cpu"]
    architecture: dict[str, Any] | None = None
    license: License | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.family not in FAMILIES:
            raise ValueError(f"there is no model family '{self.family}': {hint(self.family, FAMILIES)}")
        if self.frame == "resized_pixels" and not self.traits.resized:
            raise ValueError(f"family '{self.family}' has no resized_pixels: take thousandths or fractions")
        if self.device == "cpu" and (self.backend == "unsloth" or self.precision == "4bit"):
            raise ValueError("backend 'unsloth' and precision '4bit' need device 'cuda'")
        if self.pixels[0] > self.pixels[1]:
            raise ValueError(f"pixels are [least, most], not {list(self.pixels)}")
        return self

    @property
    def traits(self) -> Family:
        """What is particular to its family."""
        return FAMILIES[self.family]

    def native_frame(self, processor: Any) -> Frame:
        """The frame in which the family speaks of boxes in a processed photo."""
        if self.frame == "thousandths":
            return Frame(1000, 1000)
        if self.frame == "fractions":
            return Frame(1, 1, decimals=2)
        assert self.traits.resized  # noqa: S101  checked above
        return Frame(*self.traits.resized(processor, PROCESSED_SIZE))

    @property
    def adapted_layers(self) -> str:
        """PEFT's `target_modules`."""
        return {
            "language_attention": LANGUAGE_ATTENTION,
            "all_attention": f"({LANGUAGE_ATTENTION})|({self.traits.vision_attention})",
            "all_linear": "all-linear",
        }[self.lora_targets]


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
            raise ValueError(f"there is no model '{self.model}': {hint(self.model, self.models)}")
        return self

    @property
    def spec(self) -> ModelSpec:
        """The model in use."""
        return self.models[self.model]

    def alone(self) -> "VlmParams":
        """The model in use without the others."""
        return self.model_copy(update={"models": {self.model: self.spec}})

    def fingerprint(self) -> str:
        """All that trained weights depend on."""
        how = {"per_device_batch", "backend", "device", "architecture", "license"}
        # Of a folder also whether its weights were made anew.
        weights = sorted(Path(self.spec.checkpoint).glob("*.safetensors"))
        files = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in weights]
        return f"{self.frame}{self.spec.model_dump_json(exclude=how)}{files or ''}"

    def spoken_frame(self, processor: Any) -> Frame:
        """The frame in which the model in use is spoken with."""
        return PROCESSED if self.frame == "processed" else self.spec.native_frame(processor)
