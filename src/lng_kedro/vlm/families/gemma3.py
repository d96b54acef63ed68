"""Gemma-3: documents no frame of its own; thousandths are what its makers' models use for boxes."""

from typing import Any

from lng_kedro.geometry import Frame
from lng_kedro.vlm.families.family import Family


def _native_frame(processor: Any, size: int) -> Frame:  # noqa: ARG001
    return Frame(1000, 1000)


FAMILY = Family(
    native_frame=_native_frame,
    barred_tokens=("<image_soft_token>", "<start_of_image>", "<end_of_image>"),
    end_tokens=("<end_of_turn>",),
)
