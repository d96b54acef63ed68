"""What can be set for the detectors."""

from hashlib import sha256
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from lng_kedro.params import Params

AUTO = "auto"
"""ultralytics chooses the optimizer and its learning rate, by the number of steps and classes."""


class BaselinesParams(Params):
    """Common to all detectors; see conf/base/parameters/baselines.yml for what each value means."""

    seed: int
    image_size: int = Field(gt=0, multiple_of=32)
    held_out_share: float = Field(gt=0, lt=1)
    patience: int = Field(gt=0)
    close_mosaic: int = Field(ge=0)
    warmup_epochs: float = Field(ge=0)
    nominal_batch: int = Field(gt=0)
    bf16: bool
    device: Literal["cpu", "cuda"]
    workers: int = Field(ge=0)
    min_score: float = Field(gt=0, lt=1)
    nms_iou: float = Field(gt=0, le=1)
    max_detections: int = Field(gt=0)
    predict_batch: int = Field(gt=0)
    work_dir: Path

    @property
    def one_device(self) -> str:
        """The device by ultralytics' name: of several GPUs the first."""
        return "0" if self.device == "cuda" else self.device

    def fingerprint(self) -> str:
        """All that the trained weights depend on."""
        return self.model_dump_json(exclude={"work_dir", "workers", "min_score", "predict_batch"})

    @model_validator(mode="after")
    def _bf16_on_a_gpu(self) -> Self:
        if self.bf16 and self.device == "cpu":
            raise ValueError("ultralytics has bf16 on GPUs only: with device: cpu take bf16: false")
        return self


class DetectorParams(Params):
    """One detector."""

    name: str = Field(pattern="^[A-Za-z0-9_ .-]+$")
    weights: str
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    optimizer: str
    learning_rate: float | None

    def fingerprint(self) -> str:
        """All that the trained weights depend on; of a file its content."""
        file = Path(self.weights)
        content = sha256(file.read_bytes()).hexdigest() if file.is_file() else ""
        return self.model_dump_json(exclude={"name"}) + content

    @model_validator(mode="after")
    def _one_who_chooses(self) -> Self:
        if (self.optimizer == AUTO) == (self.learning_rate is not None):
            raise ValueError(f"give learning_rate with an optimizer by name, and none with '{AUTO}'")
        return self


class TargetParams(Params):
    """What a detector's classes are: the values of the label or of a metadata field."""

    field: str
