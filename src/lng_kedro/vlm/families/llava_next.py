"""LLaVA-1.6: sees the photo small, and in tiles, as many as fit the shape nearest to it."""

from typing import Any

from lng_kedro.vlm.families.family import Family


def _prepare(model: Any, processor: Any, least: int, most: int) -> None:
    known = processor.image_processor.image_grid_pinpoints
    shapes = [shape for shape in known if least <= shape[0] * shape[1] <= most]
    if not shapes:
        raise ValueError(f"none of its tile shapes {known} has between {least} and {most} pixels")
    # The processor makes the tiles, the model counts them again.
    processor.image_processor.image_grid_pinpoints = shapes
    model.config.image_grid_pinpoints = shapes
    # The published template has a slip: it ends an answer with the text "<\\s>".
    processor.chat_template = processor.chat_template.replace("<\\s>", processor.tokenizer.eos_token)


FAMILY = Family(
    prepare=_prepare,
    barred_tokens=("<image>",),
    vision_attention=r".*vision_tower.*\.self_attn\.(q|k|v|out)_proj",
)
