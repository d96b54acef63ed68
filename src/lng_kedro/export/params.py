"""What can be set in export."""

from typing import Literal

from pydantic import Field

from lng_kedro.params import Params


class ExportParams(Params):
    """See conf/base/parameters/export.yml for what each value means."""

    batch_size: int = Field(gt=0)
    max_new_tokens: int = Field(gt=0)
    constrained: bool
    device: Literal["auto", "cpu", "cuda"]
