"""What can be set in the two training stages."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lng_kedro.params import Params
from lng_kedro.processes import world_size
from lng_kedro.rewards import SCORES
from lng_kedro.vlm.spec import LoraParams, ModelSpec


class Table1(Params):
    """Table I of the paper."""

    optimizer: str
    learning_rate: float = Field(gt=0)
    lr_scheduler: str
    bf16: bool
    warmup_ratio: float = Field(ge=0, lt=1)
    epochs: float = Field(gt=0)
    lora: LoraParams
    batch_size: int = Field(gt=0)
    gradient_accumulation: int = Field(gt=0)


class TrainingParams(Table1):
    """Common to both stages."""

    seed: int
    weight_decay: float = Field(ge=0)
    max_grad_norm: float = Field(gt=0)
    gradient_checkpointing: bool
    logging_steps: int = Field(gt=0)
    save_steps: int = Field(gt=0)
    work_dir: Path

    @property
    def samples_per_step(self) -> int:
        """Samples (in GRPO: completions) between two updates, whatever number of processes has them."""
        return self.batch_size * self.gradient_accumulation

    def fingerprint(self) -> str:
        """All that the trained weights depend on."""
        return self.model_dump_json(exclude={"work_dir", "logging_steps", "save_steps"})

    def micro_batches(self, spec: ModelSpec) -> tuple[int, int]:
        """Samples that a process trains on at once, and how many such batches it takes to a step.

        Raises:
            ValueError: a step does not divide so; names the nearest numbers that do.
        """
        each = spec.per_device_batch or min(self.batch_size, max(self.samples_per_step // world_size(), 1))
        if self.samples_per_step % (each * world_size()):
            valid = [
                n
                for n in range(1, self.samples_per_step + 1)
                if self.samples_per_step % (n * world_size()) == 0
            ]
            raise ValueError(
                f"batch_size x gradient_accumulation = {self.samples_per_step} samples a step do not divide "
                f"into {world_size()} process(es) with per_device_batch={each}; "
                + (f"the nearest that do: {_nearest(valid, each)}" if valid else "take fewer processes")
            )
        return each, self.samples_per_step // (each * world_size())

    def arguments(self, spec: ModelSpec, folder: Path) -> dict[str, Any]:
        """Keyword arguments for transformers' `TrainingArguments` and TRL's configurations."""
        each, accumulation = self.micro_batches(spec)
        return {
            "output_dir": str(folder),
            "optim": self.optimizer,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": self.lr_scheduler,
            "bf16": self.bf16,
            "warmup_steps": self.warmup_ratio,  # below 1 it is a share of all steps
            "num_train_epochs": self.epochs,
            "per_device_train_batch_size": each,
            "gradient_accumulation_steps": accumulation,
            "seed": self.seed,
            "weight_decay": self.weight_decay,
            "max_grad_norm": self.max_grad_norm,
            "gradient_checkpointing": self.gradient_checkpointing,
            "logging_steps": self.logging_steps,
            "logging_first_step": True,  # a run shorter than an interval has a history too
            "logging_nan_inf_filter": False,  # it would hide a loss that is no number
            "save_steps": self.save_steps,
            # The last one may be cut off while it is written.
            "save_total_limit": 2,
            "use_cpu": spec.device == "cpu",
            "dataloader_pin_memory": spec.device != "cpu",
            # An adapted vision tower may have layers whose output is not used: the last of LLaVA's.
            "ddp_find_unused_parameters": spec.lora_targets != "language_attention",
            # MLflow is told by a callback that knows the stage; two stages share one run.
            "report_to": [],
        }

    @model_validator(mode="after")
    def _saved_where_logged(self) -> Self:
        if self.save_steps % self.logging_steps:
            raise ValueError(
                f"save_steps={self.save_steps} is no multiple of logging_steps={self.logging_steps}: "
                "a curve would have a gap where a run was cut off"
            )
        return self


class SftParams(TrainingParams):
    """The first stage."""

    reasoning_share: float = Field(ge=0, le=1)


class GrpoParams(TrainingParams):
    """The second stage."""

    num_generations: int = Field(ge=2)
    max_completion_length: int = Field(gt=0)
    temperature: float = Field(gt=0)
    beta: float = Field(ge=0)
    loss_type: str
    epsilon: float = Field(gt=0)
    scale_rewards: Literal["group", "batch", "none"]
    mask_truncated_completions: bool
    hard_samples: Literal["none", "resample", "resample_inject"]
    reward_weights: dict[str, float]

    @property
    def photos_per_step(self) -> int:
        """Groups of candidates between two updates."""
        return self.samples_per_step // self.num_generations

    def micro_batches(self, spec: ModelSpec) -> tuple[int, int]:
        """As in SFT; a remedy for hard samples wants the groups whole on each process."""
        if self.hard_samples != "none" and self.photos_per_step % world_size():
            raise ValueError(
                f"hard_samples={self.hard_samples} wants whole groups on each of {world_size()} "
                f"processes, and a step has {self.photos_per_step}: take more gradient_accumulation, or none"
            )
        return super().micro_batches(spec)

    @model_validator(mode="after")
    def _seven_rewards(self) -> Self:
        if self.reward_weights.keys() != SCORES.keys():
            raise ValueError(f"reward_weights needs exactly these keys: {', '.join(SCORES)}")
        return self

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        if self.samples_per_step % self.num_generations:
            valid = [n for n in range(2, self.samples_per_step + 1) if self.samples_per_step % n == 0]
            raise ValueError(
                f"batch_size x gradient_accumulation = {self.samples_per_step} completions a step do not "
                f"divide into groups of num_generations={self.num_generations}; the nearest that do: "
                + _nearest(valid, self.num_generations)
            )
        return self


def _nearest(valid: list[int], wanted: int) -> str:
    return ", ".join(map(str, sorted(valid, key=lambda n: abs(n - wanted))[:2]))
