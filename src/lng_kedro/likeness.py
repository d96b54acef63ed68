"""Which photos look alike: those whose difference hashes differ in few bits."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
"""A column of four words a photo."""


def hashes_of(dhashes: Iterable[str]) -> Hashes:
    """Difference hashes, 64 hexadecimal digits each, as numbers."""
    return np.frombuffer(bytes.fromhex("".join(dhashes)), np.uint64).reshape(-1, 4).T.copy()


def alike(hashes: Hashes, one: Hashes, near_bits: int) -> NDArray[np.intp]:
    """Which of them differ from one photo's hash in `near_bits` bits or fewer.

    Args:
        hashes: of photos.
        one: a single column.
        near_bits: of 256.
    """
    # Most are told apart by their first 64 bits.
    near: NDArray[np.intp] = np.flatnonzero(np.bitwise_count(hashes[0] ^ one[0]) <= near_bits)
    if not len(near):
        return near
    distance = np.bitwise_count(hashes[:, near] ^ one).sum(axis=0, dtype=np.uint16)
    return np.compress(distance <= near_bits, near)
