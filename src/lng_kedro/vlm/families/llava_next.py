"""LLaVA-1.6: was taught boxes as fractions of the photo with two decimals."""

from typing import Any

from lng_kedro.geometry import Frame
from lng_kedro.vlm.families.family import Family


def _native_frame(processor: Any, size: int) -> Frame:  # noqa: ARG001
    return Frame(1, 1, decimals=2)


FAMILY = Family(native_frame=_native_frame, barred_tokens=("<image>",))
