"""Which photos are taken, in the order in which they were drawn, once their pixels have been seen."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pandas as pd

from lng_kedro.aihub.split import SPLITS, Pool, proportional
from lng_kedro.likeness import alike, hashes_of
from lng_kedro.photo_journal import Outcome, PhotoFacts
from lng_kedro.quarantine import LEFT_OUT, Rejected

COLUMNS = ["photo_id", "split", "photo_label", "orientation", "stored_width", "stored_height"]
COLUMNS += ["sha256", "dhash", "near_duplicate_of"]

Look = Callable[[Sequence[str]], Sequence[Outcome]]
"""Photos -> what each was found to be, or why it cannot be used."""


@dataclass(frozen=True)
class Taken:
    """A photo of a split.

    Attributes:
        split: the split.
        pool: it was taken for.
        facts: of the photo.
        near_duplicate_of: the first photo of those that look like it, if one was taken before it.
    """

    split: str
    pool: Pool
    facts: PhotoFacts
    near_duplicate_of: str | None


@dataclass
class Choice:
    """What became of the photos that were looked at, by their ids, in the order of the decisions."""

    taken: dict[str, Taken] = field(default_factory=dict)
    refused: dict[str, Rejected] = field(default_factory=dict)

    @property
    def found(self) -> Counter[str]:
        """Pool -> photos taken for it."""
        return Counter(photo.pool.name for photo in self.taken.values())

    def table(self) -> pd.DataFrame:
        """One row a photo taken, with what it was found to be."""
        rows = [
            {
                "photo_id": photo_id,
                "split": photo.split,
                "photo_label": photo.pool.label,
                "orientation": photo.facts.orientation,
                "stored_width": photo.facts.width,
                "stored_height": photo.facts.height,
                "sha256": photo.facts.sha256,
                "dhash": photo.facts.dhash,
                "near_duplicate_of": photo.near_duplicate_of,
            }
            for photo_id, photo in self.taken.items()
        ]
        return pd.DataFrame(rows, columns=COLUMNS).sort_values(["split", "photo_id"], ignore_index=True)


def choose(drawn: Mapping[str, Iterable[str]], pools: Sequence[Pool], look: Look, near_bits: int) -> Choice:
    """Takes photos in the order drawn until every split of every pool is full or the pool is exhausted.

    The first photos of a pool have their places in its splits: so many for the first, so many for the next.
    Of each photo that is refused the next one of the pool takes the place. Decisions are made in rounds,
    pool by pool, and depend on nothing else. No two photos that look alike are in different splits.

    Args:
        drawn: pool -> its photos in the order drawn.
        pools: their photos wanted.
        look: says what photos are; asked for some at a time.
        near_bits: photos whose difference hashes differ in so many bits or fewer look alike.
    """
    choice = Choice()
    twins = _Twins(near_bits, sum(pool.needed for pool in pools))
    room = {pool.name: dict(pool.wanted) for pool in pools}
    places = {pool.name: iter([s for s in SPLITS for _ in range(pool.wanted[s])]) for pool in pools}
    waiting = {pool.name: iter(drawn.get(pool.name, ())) for pool in pools}
    while batch := [
        (pool, photo_id)
        for pool in pools
        for photo_id in islice(waiting[pool.name], sum(room[pool.name].values()))
    ]:
        for (pool, photo_id), outcome in zip(batch, look([i for _, i in batch]), strict=True):
            place = next(places[pool.name], None)
            try:
                if isinstance(outcome, Rejected):
                    raise outcome
                taken = _taken(choice.taken, twins.like(outcome), pool, room[pool.name], place, outcome)
            except Rejected as refused:
                choice.refused[photo_id] = refused
                continue
            room[pool.name][taken.split] -= 1
            choice.taken[photo_id] = taken
            twins.add(photo_id, outcome)
    return choice


def choose_all(
    drawn: Mapping[str, Iterable[str]], pools: Sequence[Pool], look: Look, near_bits: int
) -> Choice:
    """Chooses like `choose`; a pool with too few photos is divided over its splits in proportion.

    Args: see `choose`.
    """
    smaller = {pool.name: pool for pool in pools}
    broken: dict[str, Rejected] = {}
    while True:
        choice = choose(drawn, list(smaller.values()), look, near_bits)
        found = choice.found
        short = [pool for pool in pools if found[pool.name] < smaller[pool.name].needed]
        broken |= {i: r for i, r in choice.refused.items() if r.reason not in LEFT_OUT}
        if not short:
            return replace(choice, refused=broken | choice.refused)
        # Fewer places may part photos that look alike, so that fewer can be taken: until all fits.
        for pool in short:
            smaller[pool.name] = replace(pool, wanted=proportional(found[pool.name], pool.wanted))


def _taken(
    taken: Mapping[str, Taken],
    alike: Sequence[str],
    pool: Pool,
    room: Mapping[str, int],
    place: str | None,
    facts: PhotoFacts,
) -> Taken:
    """Where a photo goes, if it can be taken; `alike` are those before it that look like it."""
    same = next((i for i in alike if taken[i].facts.sha256 == facts.sha256), None)
    if same:
        raise Rejected("duplicate", f"the same content as {same}")
    splits = sorted({taken[i].split for i in alike}, key=SPLITS.index)
    if not alike:
        open_splits = [s for s in SPLITS if room[s]]
        return Taken(place if place in open_splits else open_splits[0], pool, facts, None)
    if len(splits) > 1 or not room[splits[0]]:
        raise Rejected("near_duplicate", f"looks like {alike[0]}, which is in {' and '.join(splits)}")
    return Taken(splits[0], pool, facts, taken[alike[0]].near_duplicate_of or alike[0])


class _Twins:
    """The photos taken so far, by what they look like."""

    def __init__(self, near_bits: int, capacity: int) -> None:
        self._near_bits = near_bits
        self._hashes = np.zeros((4, capacity), np.uint64)  # 256 bits a photo
        self._photo_ids: list[str] = []

    def add(self, photo_id: str, facts: PhotoFacts) -> None:
        self._hashes[:, [len(self._photo_ids)]] = hashes_of([facts.dhash])
        self._photo_ids.append(photo_id)

    def like(self, facts: PhotoFacts) -> list[str]:
        """Photos that look like this one, in the order in which they were taken."""
        hashes = self._hashes[:, : len(self._photo_ids)]
        return [self._photo_ids[i] for i in alike(hashes, hashes_of([facts.dhash]), self._near_bits)]
