"""Which photos are taken, in the order in which they were drawn, once their pixels have been seen."""

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import pandas as pd

from lng_kedro.aihub.split import SPLITS, TRAINING, Pool, shares
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


def choose(
    drawn: Mapping[str, Iterable[str]],
    pools: Sequence[Pool],
    look: Look,
    near_bits: int,
    corrected: Collection[str] = (),
) -> Choice:
    """Takes photos in the order drawn until every split of every pool is full or the pool is exhausted.

    The first photos of a pool have their places in its splits: so many for the first, so many for the next.
    Of each photo that is refused the next one of the pool takes the place. Decisions are made in rounds,
    pool by pool, and depend on nothing else. No two photos that look alike are in different splits.

    Before all others the corrected photos of all pools are taken, for training alone. No photo is taken by
    another name than that under which it was corrected, be there a place for it or not.

    Args:
        drawn: pool -> its photos in the order drawn.
        pools: their photos wanted.
        look: says what photos are; asked for some at a time.
        near_bits: photos whose difference hashes differ in so many bits or fewer look alike.
        corrected: photos whose labels people corrected.
    """
    decisions = _Decisions(pools, near_bits)
    mine = [(pool, i) for pool in pools for i in drawn.get(pool.name, ()) if i in corrected]
    decisions.take_corrected(mine, look([i for _, i in mine]))
    n_mine = Counter(pool.name for pool, _ in mine)
    places = {}
    for pool in pools:
        dealt = min(n_mine[pool.name], pool.training)
        places[pool.name] = iter([s for s in SPLITS for _ in range(pool.wanted[s])][dealt:])
    waiting = {p.name: iter([i for i in drawn.get(p.name, ()) if i not in corrected]) for p in pools}
    while batch := [
        (pool, photo_id)
        for pool in pools
        for photo_id in islice(waiting[pool.name], sum(decisions.room[pool.name].values()))
    ]:
        for (pool, photo_id), outcome in zip(batch, look([i for _, i in batch]), strict=True):
            decisions.decide(pool, photo_id, outcome, next(places[pool.name], None), SPLITS)
    return decisions.choice


def choose_all(
    drawn: Mapping[str, Iterable[str]],
    pools: Sequence[Pool],
    look: Look,
    near_bits: int,
    corrected: Collection[str] = (),
) -> Choice:
    """Chooses like `choose`; a pool with too few photos is divided over its splits in proportion.

    Args: see `choose`.
    """
    smaller = {pool.name: pool for pool in pools}
    broken: dict[str, Rejected] = {}
    while True:
        choice = choose(drawn, list(smaller.values()), look, near_bits, corrected)
        found = choice.found
        short = [pool for pool in pools if found[pool.name] < smaller[pool.name].needed]
        broken |= {i: r for i, r in choice.refused.items() if r.reason not in LEFT_OUT}
        if not short:
            return replace(choice, refused=broken | choice.refused)
        # Fewer places may part photos that look alike, so that fewer can be taken: until all fits.
        others = Counter(photo.pool.name for i, photo in choice.taken.items() if i not in corrected)
        for pool in short:
            n = others[pool.name]
            smaller[pool.name] = replace(pool, wanted=shares(found[pool.name] - n, n, pool.wanted))


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
        if not open_splits:
            raise Rejected("no_place", f"training takes {pool.training} photos of {pool.title}")
        return Taken(place if place in open_splits else open_splits[0], pool, facts, None)
    if len(splits) > 1 or not room[splits[0]]:
        raise Rejected("near_duplicate", f"looks like {alike[0]}, which is in {' and '.join(splits)}")
    return Taken(splits[0], pool, facts, taken[alike[0]].near_duplicate_of or alike[0])


class _Decisions:
    """Decides of one photo after the other.

    Attributes:
        choice: what was decided.
        room: pool -> split -> photos that it still lacks.
    """

    def __init__(self, pools: Sequence[Pool], near_bits: int) -> None:
        self.choice = Choice()
        self.room = {pool.name: dict(pool.wanted) for pool in pools}
        self._corrected: defaultdict[str, list[str]] = defaultdict(list)
        self._twins = _Twins(near_bits, sum(pool.needed for pool in pools))

    def take_corrected(self, photos: Sequence[tuple[Pool, str]], outcomes: Sequence[Outcome]) -> None:
        """Takes corrected photos for training; remembers what all of them hold, those without a place too."""
        for (_, photo_id), outcome in zip(photos, outcomes, strict=True):
            if isinstance(outcome, PhotoFacts):
                self._corrected[outcome.sha256].append(photo_id)
        for (pool, photo_id), outcome in zip(photos, outcomes, strict=True):
            self.decide(pool, photo_id, outcome, None, TRAINING)

    def decide(
        self, pool: Pool, photo_id: str, outcome: Outcome, place: str | None, splits: Collection[str]
    ) -> None:
        """Takes a photo for one of `splits`, for that of its place if it can be, or refuses it."""
        taken, room = self.choice.taken, self.room[pool.name]
        try:
            if isinstance(outcome, Rejected):
                raise outcome
            self._check_corrections(photo_id, outcome)
            free = {split: room[split] if split in splits else 0 for split in SPLITS}
            taken[photo_id] = _taken(taken, self._twins.like(outcome), pool, free, place, outcome)
        except Rejected as refused:
            self.choice.refused[photo_id] = refused
            return
        room[taken[photo_id].split] -= 1
        self._twins.add(photo_id, outcome)

    def _check_corrections(self, photo_id: str, facts: PhotoFacts) -> None:
        same = self._corrected.get(facts.sha256, [])
        if photo_id not in same and same:
            raise Rejected("duplicate", f"the same content as {same[0]}, which was corrected")
        if len(same) > 1:
            raise Rejected("contradiction", f"its content was corrected as {' and as '.join(same)}")


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
