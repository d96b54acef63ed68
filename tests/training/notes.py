"""A tracker that keeps what it is told."""

from collections.abc import Callable


class Notes:
    def __init__(self, at_step: Callable[[int], None] = lambda step: None) -> None:
        """`at_step` is called at each logged step, and may cut the run off."""
        self.steps = []
        self.shown = []
        self._at_step = at_step

    def configuration(self, values):
        self.arguments = values

    def figures(self, values, step):
        self.steps.append((step, values))
        self._at_step(step)

    def candidates(self, rows):
        self.shown.append(rows)
