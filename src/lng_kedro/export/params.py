"""What can be set in export."""

from typing import Literal

from pydantic import PositiveInt

from lng_kedro.inspection.params import PhotoParams


class ExportParams(PhotoParams):
    """See conf/base/parameters/export.yml and inspection.yml for what each value means."""

    device: Literal["auto", "cpu", "cuda"]
    batch_size: PositiveInt
    constrained: bool
    max_new_tokens: PositiveInt
