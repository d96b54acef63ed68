"""The balanced split (paper, section III.A): equal numbers of photos a label for SFT, GRPO and test.

Two steps. `draw` puts all photos of each pool into the order in which they are taken; it needs their names
alone. `lng_kedro.aihub.choice` then takes them, one after the other, when their pixels have been seen.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lng_kedro.quarantine import DataError, Rejected, counted
from lng_kedro.taxonomy import Taxonomy

TRAINING = ("sft", "grpo")
SPLITS = (*TRAINING, "test")


@dataclass(frozen=True)
class Pool:
    """Photos that may stand for each other: those of one label in one quality, or those that show nothing.

    Attributes:
        label: that its photos count for; None for photos without anything to report.
        ids: AI-Hub ids in its photos' names.
        wanted: split -> photos.
    """

    label: str | None
    ids: tuple[int, ...]
    wanted: Mapping[str, int]

    @property
    def name(self) -> str:
        """Its ids."""
        return ", ".join(map(str, self.ids))

    @property
    def needed(self) -> int:
        """Photos of all splits."""
        return sum(self.wanted.values())

    @property
    def training(self) -> int:
        """Photos of the training splits."""
        return sum(self.wanted[split] for split in TRAINING)

    @property
    def title(self) -> str:
        """Its label and ids."""
        return f"{self.label or 'nothing to report'} (id {self.name})"

    def missing(self, found: int) -> str:
        """How far `found` photos are from enough."""
        return f"{self.title}: {found} of {self.needed}"


def pools_of(
    taxonomy: Taxonomy, per_label: Mapping[str, int], good_share: float, negative_share: float
) -> list[Pool]:
    """All pools, in the taxonomy's order, the defective before the good, negatives last.

    Args:
        taxonomy: labels and their ids.
        per_label: split -> photos a label.
        good_share: share of them that show the item in good order, where the label has a good id.
        negative_share: photos without anything to report, as a share of each split's other photos.
    """
    pools = []
    for label in taxonomy.labels:
        good = {s: round(n * good_share) if label.good_id else 0 for s, n in per_label.items()}
        pools.append(Pool(label.name, (label.defective_id,), {s: n - good[s] for s, n in per_label.items()}))
        if label.good_id:
            pools.append(Pool(label.name, (label.good_id,), good))
    negatives = {s: round(n * len(taxonomy.labels) * negative_share) for s, n in per_label.items()}
    return [*pools, Pool(None, taxonomy.negative_ids, negatives)]


def draw(
    manifest: pd.DataFrame, pools: list[Pool], seed: int, corrected: Collection[str] = ()
) -> pd.DataFrame:
    """The order in which the photos of each pool are taken; it depends on their names and the seed alone.

    A photo counts for the label of the id in its name, whatever else it shows; one of a negative id must
    show nothing. Corrected photos come first. Those whose places in training they take come last, so that
    every other photo has the place that it had without them: the test split stays as it was.

    Args:
        manifest: one row an object (columns photo_id, photo_category_id and label are used).
        pools: names and ids of the photos that may stand for each other, and how many are wanted.
        seed: of the draw.
        corrected: photos whose labels people corrected.

    Returns:
        One row a photo: pool, photo_label (null for photos without anything to report), photo_id and its
        rank in the pool, from 0.
    """
    ids = manifest["photo_category_id"]
    parts = []
    for pool in pools:
        usable = ids.isin(pool.ids)
        if pool.label is None:
            usable &= manifest["label"].isna()
        names = manifest["photo_id"][usable].drop_duplicates().sort_values()
        mine = names.isin(corrected).to_numpy()
        rng = np.random.default_rng([seed, *pool.ids])
        others, first = (rng.permutation(np.flatnonzero(which)) for which in (~mine, mine))
        displaced = min(len(first), pool.training)
        order = np.concatenate([first, others[displaced:], others[:displaced]])
        parts.append(
            pd.DataFrame(
                {
                    "pool": pd.Series(pool.name, index=range(len(names)), dtype="str"),
                    "photo_label": pd.Series(pool.label, index=range(len(names)), dtype="str"),
                    "photo_id": names.array[order],
                    "rank": np.arange(len(names)),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def usable(drawn: pd.DataFrame, pools: Iterable[Pool], corrected: Collection[str]) -> dict[str, int]:
    """Pool -> photos that could be taken: of corrected ones no more than training has places for."""
    mine = drawn["photo_id"].isin(corrected)
    first, others = (Counter(drawn["pool"][which]) for which in (mine, ~mine))
    return {pool.name: min(first[pool.name], pool.training) + others[pool.name] for pool in pools}


def proportional(total: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """`total` photos divided over the splits in proportion to `wanted`, by largest remainders.

    Of equal remainders the first split's counts; the same numbers always give the same shares.
    """
    whole = sum(wanted.values())
    shares = {split: divmod(total * n, whole) for split, n in wanted.items()}
    left = total - sum(share for share, _ in shares.values())
    favoured = sorted(wanted, key=lambda split: -shares[split][1])[:left]
    return {split: share + (split in favoured) for split, (share, _) in shares.items()}


def shares(corrected: int, others: int, wanted: Mapping[str, int]) -> dict[str, int]:
    """Photos found divided over the splits in proportion; no corrected one is for the test."""
    divided = proportional(corrected + others, wanted)
    if divided["test"] <= others:
        return divided
    return proportional(corrected, {**wanted, "test": 0}) | {"test": others}


def check_enough(pools: Iterable[Pool], found: Mapping[str, int], refused: Collection[Rejected] = ()) -> None:
    """Raises a ValueError that lists each pool that falls short, and by how much.

    Args:
        pools: with the photos wanted.
        found: pool -> photos found.
        refused: photos that were looked at and not taken.
    """
    short = [pool.missing(n) for pool in pools if (n := found.get(pool.name, 0)) < pool.needed]
    if not short:
        return
    left_out = (
        f" {len(refused)} were left out ({counted(Counter(problem.reason for problem in refused))})."
        if refused
        else ""
    )
    raise DataError(
        f"Too few photos for a balanced split: {'; '.join(short)}.{left_out} Lower per_label or good_share "
        "in conf/*/parameters/data_processing.yml, add photos (label_quarantine.csv lists those whose labels "
        "could not be used), or take what there is: --params data_processing.shortfall=take_all"
    )
