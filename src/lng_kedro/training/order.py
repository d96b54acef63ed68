"""The order in which a run meets its samples."""

from collections.abc import Iterator, Sequence
from itertools import chain


class SimilarLengths:
    """A sampler: the samples of a step have similar lengths, since it takes as long as its longest.

    Steps come at random, in each epoch in another order, but the longest sample is in the first: what does
    not fit in memory fails at once. Order depends on seed and epoch alone, so that a run that goes on in the
    middle of an epoch finds it again.
    """

    def __init__(
        self, lengths: Sequence[int], per_step: int, seed: int, candidates: int = 1, repeats: int = 0
    ) -> None:
        """Describes the steps.

        Args:
            lengths: of the samples, in any unit.
            per_step: samples a step.
            seed: of the order.
            candidates: so many times each sample of a step follows itself, as GRPO's trainer wants it.
            repeats: so many times a step follows itself, as GRPO's trainer wants it, which can do whole steps
                only; 0: once, and the last step takes what is left over.
        """
        self._lengths = list(lengths)
        self._per_step = per_step
        self._seed = seed
        self._candidates = candidates
        self._repeats = repeats
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by the trainer before an epoch."""
        self._epoch = epoch

    def __len__(self) -> int:
        left_over = len(self._lengths) % self._per_step if self._repeats else 0
        return (len(self._lengths) - left_over) * self._candidates * max(self._repeats, 1)

    def __iter__(self) -> Iterator[int]:
        for step in self._steps():
            if self._repeats and len(step) < self._per_step:
                continue
            for _ in range(max(self._repeats, 1)):
                yield from chain.from_iterable([i] * self._candidates for i in step)

    def _steps(self) -> list[list[int]]:
        import torch
        from transformers.trainer_pt_utils import get_length_grouped_indices

        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        # From long to short again and again, which would show in a curve.
        order = get_length_grouped_indices(self._lengths, self._per_step, generator=generator)
        steps = [order[i : i + self._per_step] for i in range(0, len(order), self._per_step)]
        first, *others = steps
        shuffled = [others[i] for i in torch.randperm(len(others), generator=generator).tolist()]
        return sorted([first, *shuffled], key=len, reverse=True)  # a step that is not full comes last
