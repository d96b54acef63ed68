"""Encoding each photo of a batch once: in GRPO all candidates of a group are about the same photo."""

from typing import Any


def encode_photos_once(model: Any) -> None:
    """Lets the vision tower see equal photos of a batch once, in place.

    Features and gradients are those of encoding every copy, up to the order of sums. Photos must be of one
    size, as the processed photos are.

    Args:
        model: a vision-language model of transformers, or a `PeftModel` of one.
    """
    # The last is the innermost: the others call it.
    backbone = [m for m in model.modules() if hasattr(type(m), "get_image_features")][-1]
    encode = backbone.get_image_features

    def encode_once(pixel_values: Any, *sizes: Any, **options: Any) -> Any:
        # Families that flatten a photo to patches tell the photos apart by their sizes.
        count = len(sizes[0]) if sizes else len(pixel_values)
        photos = pixel_values.reshape(count, -1, *pixel_values.shape[1:])
        first, index = _distinct(photos.flatten(1))
        one_each = photos[first].reshape(-1, *pixel_values.shape[1:])
        encoded = encode(one_each, *(s[first] for s in sizes), **options)
        features = encoded.pooler_output
        encoded.pooler_output = (
            [features[i] for i in index.tolist()] if isinstance(features, list | tuple) else features[index]
        )
        return encoded

    backbone.get_image_features = encode_once


def _distinct(rows: Any) -> tuple[Any, Any]:
    """First row of each kind, and the kind of each row.

    Rows are compared by a weighted sum of their bits: of integers, so that equal rows have equal sums.
    """
    import torch

    bits = rows.contiguous().view(torch.int16)
    weights = torch.randint(
        2**15, (bits.shape[1],), generator=torch.Generator().manual_seed(0), dtype=torch.int32
    )
    sums = (bits * weights.to(bits.device)).sum(dim=1)
    kinds, index = torch.unique(sums, return_inverse=True)
    places = torch.arange(len(rows), device=rows.device)
    first = torch.full_like(kinds, len(rows)).scatter_reduce(0, index, places, "amin")
    return first, index
