"""What can be set in export."""

from typing import Literal

from pydantic import Field, PositiveInt

from lng_kedro.params import Params


class ExportParams(Params):
    """See conf/base/parameters/export.yml and inspection.yml for what each value means."""

    device: Literal["auto", "cpu", "cuda"]
    batch_size: PositiveInt
    constrained: bool
    max_new_tokens: PositiveInt
    look_ahead: PositiveInt
    jpeg_quality: int = Field(ge=1, le=95)
    max_pixels: PositiveInt
    max_bytes: PositiveInt
