"""What can be set in evaluation."""

from pathlib import Path

from pydantic import Field

from lng_kedro.params import Params


class EvaluationParams(Params):
    """See conf/base/parameters/evaluation.yml for what each value means."""

    batch_size: int = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    constrained: bool
    resamples: int = Field(gt=0)
    seed: int
    work_dir: Path


class StageParams(Params):
    """How one stage is asked."""

    name: str
    reasoning: bool
