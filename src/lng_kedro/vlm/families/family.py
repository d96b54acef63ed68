"""The questions that a model family answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lng_kedro.geometry import Frame


@dataclass(frozen=True)
class Family:
    """One model family.

    Attributes:
        native_frame: (processor, side of the square photo in pixels) -> the frame in which the family
            speaks of boxes.
        barred_tokens: placeholders of pictures; sampled into an answer they break the next forward pass.
        end_tokens: tokens that end an answer beside the tokenizer's own end of sequence.
    """

    native_frame: Callable[[Any, int], Frame]
    barred_tokens: tuple[str, ...]
    end_tokens: tuple[str, ...] = ()
