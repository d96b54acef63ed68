"""Muon for weight matrices, AdamW for the rest, as one optimizer."""

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

MOMENTUM = 0.95
COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration (K. Jordan et al., Muon, 2024)."""
ITERATIONS = 5


class Muon(torch.optim.AdamW):
    """AdamW whose groups marked ``muon`` are stepped along the orthogonalised momentum instead.

    torch.optim.Muon orthogonalises one matrix at a time in bfloat16, which a CPU without bfloat16 units
    takes three times a whole step for; here matrices of one shape go together, in float32.
    """

    def __init__(
        self, matrices: Iterable[Tensor], others: Iterable[Tensor], muon_lr: float, lr: float, **adamw: Any
    ) -> None:
        groups = [
            {"params": list(matrices), "lr": muon_lr, "muon": True},
            {"params": list(others), "muon": False},
        ]
        super().__init__(groups, lr=lr, **adamw)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> Any:
        """One step; the matrices' gradients are used up, so that AdamW passes them over."""
        for group in self.param_groups:
            if group["muon"]:
                self._step_matrices(group)
        return super().step(closure)

    def _step_matrices(self, group: dict[str, Any]) -> None:
        by_shape: dict[tuple[int, ...], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is None:
                continue
            state = self.state[weight]
            if not state:
                # AdamW reads the count of steps of every weight when a state is loaded.
                state.update(step=torch.tensor(0.0), momentum=torch.zeros_like(weight))
            momentum = state["momentum"]
            momentum.lerp_(weight.grad, 1 - MOMENTUM)
            direction = weight.grad.lerp(momentum, MOMENTUM)
            weight.grad = None
            rows, columns = weight.shape
            # Query, key and value in one matrix are three matrices; the shorter side comes first.
            parts = 3 if rows == 3 * columns else 1
            for w, d in zip(weight.chunk(parts), direction.chunk(parts), strict=True):
                pair = (w.T, d.T) if w.shape[0] > w.shape[1] else (w, d)
                by_shape[tuple(pair[0].shape)].append(pair)
        for shape, pairs in by_shape.items():
            steps = _orthogonalise(torch.stack([d for _, d in pairs]))
            for (weight, _), step in zip(pairs, steps, strict=True):
                # This scale gives an update the size of AdamW's, whatever the shape.
                weight.sub_(step, alpha=group["lr"] * 0.2 * max(shape) ** 0.5)


def _orthogonalise(matrices: Tensor) -> Tensor:
    """Brings all singular values of matrices (n, rows <= columns) near one."""
    a, b, c = COEFFICIENTS
    x = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x
