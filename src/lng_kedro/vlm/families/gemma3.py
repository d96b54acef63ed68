"""Gemma-3: sees every photo as one square of fixed size."""

from typing import Any

from lng_kedro.vlm.families.family import Family


def _prepare(model: Any, processor: Any, least: int, most: int) -> None:  # noqa: ARG001
    size = processor.image_processor.size
    if not least <= size["height"] * size["width"] <= most:
        raise ValueError(
            f"it sees every photo with {size['width']} x {size['height']} pixels, which are not between "
            f"{least} and {most}"
        )


FAMILY = Family(
    prepare=_prepare,
    barred_tokens=("<image_soft_token>", "<start_of_image>", "<end_of_image>"),
    vision_attention=r".*vision_tower.*\.self_attn\.(q|k|v|out)_proj",
)
