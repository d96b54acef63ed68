"""Which of several training processes this is, as torchrun tells it."""

import os


def rank() -> int:
    """Number of this process; the first, 0, is the one that writes."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Number of processes that train together."""
    return int(os.environ.get("WORLD_SIZE", 1))
