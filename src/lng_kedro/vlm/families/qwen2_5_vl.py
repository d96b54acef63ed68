"""Qwen2.5-VL: sees the photo in its own shape, and speaks pixels of what it sees."""

from typing import Any

from lng_kedro.vlm.families.family import Family


def _prepare(model: Any, processor: Any, least: int, most: int) -> None:  # noqa: ARG001
    processor.image_processor.size = {"shortest_edge": least, "longest_edge": most}


def _resized(processor: Any, size: int) -> tuple[int, int]:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    images = processor.image_processor
    height, width = smart_resize(
        size,
        size,
        factor=images.patch_size * images.merge_size,
        min_pixels=images.size["shortest_edge"],
        max_pixels=images.size["longest_edge"],
    )
    return width, height


FAMILY = Family(
    prepare=_prepare,
    barred_tokens=("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>"),
    vision_attention=r".*visual\.blocks\.\d+\.attn\.(qkv|proj)",
    resized=_resized,
)
