"""Qwen2.5-VL: speaks pixels of the photo as its own processor resized it."""

from typing import Any

from lng_kedro.geometry import Frame
from lng_kedro.vlm.families.family import Family


def _native_frame(processor: Any, size: int) -> Frame:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    images = processor.image_processor
    limits = images.size
    height, width = smart_resize(
        size,
        size,
        factor=images.patch_size * images.merge_size,
        min_pixels=limits["shortest_edge"],
        max_pixels=limits["longest_edge"],
    )
    return Frame(width, height)


FAMILY = Family(
    native_frame=_native_frame,
    barred_tokens=("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"),
)
