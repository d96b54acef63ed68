"""Python's search for garbage: while a command starts it would cost a second and find nothing."""

import atexit
import gc

STARTING, USUAL = 100_000, 700
"""Objects made before a search."""


def search_less() -> None:
    """While modules are imported; and not once more at the end, through all that was made."""
    gc.set_threshold(STARTING)
    atexit.register(gc.freeze)


def search_as_usual() -> None:
    """In what is made from now on. Nothing changes where a command did not begin by searching less."""
    if gc.get_threshold()[0] == STARTING:
        gc.freeze()
        gc.set_threshold(USUAL)
