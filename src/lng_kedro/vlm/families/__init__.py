"""What is particular to each model family, one small module each."""

from lng_kedro.vlm.families import gemma3, llava_next, qwen2_5_vl
from lng_kedro.vlm.families.family import Family

FAMILIES: dict[str, Family] = {
    "qwen2_5_vl": qwen2_5_vl.FAMILY,
    "gemma3": gemma3.FAMILY,
    "llava_next": llava_next.FAMILY,
}

__all__ = ["FAMILIES", "Family"]
