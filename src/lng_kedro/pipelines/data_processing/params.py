"""What can be set in data_processing."""

from typing import Literal

from pydantic import Field

from lng_kedro.compute import ComputeParams
from lng_kedro.params import Params


class PerLabel(Params):
    """Photos of each label in each split."""

    sft: int = Field(ge=0)
    grpo: int = Field(ge=0)
    test: int = Field(ge=0)


class DataProcessingParams(Params):
    """See conf/base/parameters/data_processing.yml for what each value means."""

    seed: int
    per_label: PerLabel
    good_share: float = Field(ge=0, le=1)
    negative_share: float = Field(ge=0)
    boxless: Literal["whole_image", "skip"]
    optional_fields: tuple[str, ...]
    max_rejected_share: float = Field(ge=0, le=1)
    jpeg_quality: int = Field(ge=1, le=95)
    max_pixels: int = Field(gt=0)
    compute: ComputeParams
