"""Encoding each photo once: in GRPO a group of candidates, and several passes, are about the same one."""

from functools import cache
from typing import Any


def encode_photos_once(model: Any, keep: int) -> None:
    """Lets the vision tower see equal photos once, in place.

    Features and gradients are those of encoding every copy, up to the order of sums. Where neither the tower
    nor what joins it to the language model is trained, features are kept for the passes that follow:
    generation, the reference's, the policy's. Photos must be of one size, as the processed photos are.

    Args:
        model: a vision-language model of transformers, or a `PeftModel` of one.
        keep: photos whose features are kept: those of a step.
    """
    from transformers.modeling_outputs import BaseModelOutputWithPooling

    # The last is the innermost: the others call it.
    backbone = [m for m in model.modules() if hasattr(type(m), "get_image_features")][-1]
    encode = backbone.get_image_features
    learns = any(p.requires_grad for name, p in backbone.named_parameters() if "language_model" not in name)
    kept: dict[int, Any] = {}
    as_tensor = False

    def encode_once(pixel_values: Any, *sizes: Any, **options: Any) -> Any:
        import torch

        nonlocal as_tensor
        # Families that flatten a photo to patches tell the photos apart by their sizes.
        count = len(sizes[0]) if sizes else len(pixel_values)
        photos = pixel_values.reshape(count, -1, *pixel_values.shape[1:])
        kinds = _fingerprints(photos.flatten(1)).tolist()
        known = {} if learns else kept
        new = {kind: kinds.index(kind) for kind in kinds if kind not in known}
        if new:
            first = list(new.values())
            one_each = photos[first].reshape(-1, *pixel_values.shape[1:])
            # With gradient checkpointing transformers lets gradients into a frozen tower, for nothing.
            with torch.set_grad_enabled(learns and torch.is_grad_enabled()):
                encoded = encode(one_each, *(s[first] for s in sizes), **options)
            if encoded.keys() - {"pooler_output", "last_hidden_state", "hidden_states", "attentions"}:
                # The family's tower gives more than its last features.
                return encode(pixel_values, *sizes, **options)
            features = encoded.pooler_output
            as_tensor = isinstance(features, torch.Tensor)
            known.update(zip(new, features, strict=True))
        rows = [known[kind] for kind in kinds]
        for old in list(kept)[: max(len(kept) - keep, 0)]:
            del kept[old]
        return BaseModelOutputWithPooling(pooler_output=torch.stack(rows) if as_tensor else rows)

    backbone.get_image_features = encode_once


def _fingerprints(rows: Any) -> Any:
    """A number a row, by a weighted sum of its bits: of integers, so that equal rows have equal sums."""
    import torch

    bits = rows.contiguous().view(torch.int16)
    return (bits * _weights(bits.shape[1], bits.device)).sum(dim=1)


@cache
def _weights(count: int, device: Any) -> Any:
    import torch

    generator = torch.Generator().manual_seed(0)
    return torch.randint(2**15, (count,), generator=generator, dtype=torch.int32).to(device)
