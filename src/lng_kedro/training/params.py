"""What can be set in the two training stages."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from lng_kedro.params import Params
from lng_kedro.rewards import SCORES
from lng_kedro.vlm.spec import LoraParams


class TrainingParams(Params):
    """Common to both stages; the first block is Table I of the paper."""

    optimizer: str
    learning_rate: float = Field(gt=0)
    lr_scheduler: str
    bf16: bool
    warmup_ratio: float = Field(ge=0, lt=1)
    epochs: float = Field(gt=0)
    lora: LoraParams
    batch_size: int = Field(gt=0)
    gradient_accumulation: int = Field(gt=0)

    seed: int
    max_grad_norm: float = Field(gt=0)
    gradient_checkpointing: bool
    logging_steps: int = Field(gt=0)
    save_steps: int = Field(gt=0)
    work_dir: Path

    def arguments(self, device: str) -> dict[str, Any]:
        """Keyword arguments for transformers' `TrainingArguments` and TRL's configurations."""
        return {
            "output_dir": str(self.work_dir),
            "optim": self.optimizer,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": self.lr_scheduler,
            "bf16": self.bf16,
            "warmup_steps": self.warmup_ratio,  # below 1 it is a share of all steps
            "num_train_epochs": self.epochs,
            "per_device_train_batch_size": self.batch_size,
            "gradient_accumulation_steps": self.gradient_accumulation,
            "seed": self.seed,
            "max_grad_norm": self.max_grad_norm,
            "gradient_checkpointing": self.gradient_checkpointing,
            "logging_steps": self.logging_steps,
            "logging_first_step": True,  # a run shorter than an interval has a history too
            "save_steps": self.save_steps,
            "save_total_limit": 1,
            "use_cpu": device == "cpu",
            "dataloader_pin_memory": device != "cpu",
            # MLflow is told by a callback that knows the stage; two stages share one run.
            "report_to": "none",
        }


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
    scale_rewards: Literal["group", "batch", "none"]
    mask_truncated_completions: bool
    hard_samples: Literal["none", "inject"]
    reward_weights: dict[str, float]

    @property
    def photos_per_step(self) -> int:
        """Groups of candidates that are generated together."""
        return self.batch_size * self.gradient_accumulation // self.num_generations

    @model_validator(mode="after")
    def _seven_rewards(self) -> Self:
        if self.reward_weights.keys() != SCORES.keys():
            raise ValueError(f"reward_weights needs exactly these keys: {', '.join(SCORES)}")
        return self

    @model_validator(mode="after")
    def _whole_groups(self) -> Self:
        completions = self.batch_size * self.gradient_accumulation
        if completions % self.num_generations:
            valid = [n for n in range(2, completions + 1) if completions % n == 0]
            nearest = sorted(valid, key=lambda n: abs(n - self.num_generations))[:2]
            raise ValueError(
                f"batch_size x gradient_accumulation = {completions} completions a step do not divide into "
                f"groups of num_generations={self.num_generations}; the nearest that do: "
                + ", ".join(map(str, nearest))
            )
        return self
