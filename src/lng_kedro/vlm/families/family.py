"""The questions that a model family answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        prepare: (model, processor, least, most) makes both see a photo with that many pixels, or raises
            `ValueError` where the family cannot; and mends what is wrong in its checkpoints.
        barred_tokens: placeholders of pictures; sampled into an answer they break the next forward pass.
        vision_attention: regular expression of the vision tower's attention layers.
        resized: (processor, side of the square photo in pixels) -> width and height of the photo as the model
            sees it in its own shape; None where it sees squares of a fixed size.
    """

    prepare: Callable[[Any, Any, int, int], None]
    barred_tokens: tuple[str, ...]
    vision_attention: str
    resized: Callable[[Any, int], tuple[int, int]] | None = None
