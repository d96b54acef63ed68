"""The balanced split (paper, section III.A): equal numbers of photos a label for SFT, GRPO and test."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from lng_kedro.taxonomy import Taxonomy

SPLITS = ("sft", "grpo", "test")


def balanced_split(
    manifest: pd.DataFrame,
    taxonomy: Taxonomy,
    per_label: Mapping[str, int],
    good_share: float,
    negative_share: float,
    seed: int,
) -> pd.DataFrame:
    """Draws the photos of each split; a photo is in one split only.

    A photo counts for the label of the id in its name, whatever else it shows; one of a negative id must
    show nothing. The draw depends on the photos' names and the seed alone.

    Args:
        manifest: one row an object (columns photo_id, photo_category_id and label are used).
        taxonomy: labels and their ids.
        per_label: split -> photos a label.
        good_share: share of them that show the item in good order, where the label has a good id.
        negative_share: photos without anything to report, as a share of each split's other photos.
        seed: of the draw.

    Returns:
        Columns photo_id, split and photo_label (null for photos without anything to report).

    Raises:
        ValueError: some label has too few photos; the message lists each with what is missing.
    """
    usable = manifest["label"].isna() | ~manifest["photo_category_id"].isin(taxonomy.negative_ids)
    photos = manifest[usable].drop_duplicates("photo_id").set_index("photo_category_id")["photo_id"]
    wanted: list[tuple[str | None, tuple[int, ...], dict[str, int]]] = []
    for label in taxonomy.labels:
        good = {s: round(n * good_share) if label.good_id else 0 for s, n in per_label.items()}
        wanted.append((label.name, (label.defective_id,), {s: n - good[s] for s, n in per_label.items()}))
        if label.good_id:
            wanted.append((label.name, (label.good_id,), good))
    negatives = {s: round(n * len(taxonomy.labels) * negative_share) for s, n in per_label.items()}
    wanted.append((None, taxonomy.negative_ids, negatives))

    rows, short = [], []
    for name, ids, counts in wanted:
        pool = sorted(photos[photos.index.isin(ids)])
        needed = sum(counts.values())
        if len(pool) < needed:
            short.append(
                f"{name or 'nothing to report'} (id {', '.join(map(str, ids))}): {len(pool)} of {needed}"
            )
            continue
        order = iter(np.random.default_rng([seed, *ids]).permutation(len(pool)))
        rows += [(pool[next(order)], split, name) for split, n in counts.items() for _ in range(n)]
    if short:
        raise ValueError(
            "Too few photos for a balanced split: "
            + "; ".join(short)
            + ". Lower per_label or good_share in conf/*/parameters/data_processing.yml, or add photos."
        )
    return pd.DataFrame(rows, columns=["photo_id", "split", "photo_label"]).sort_values(
        ["split", "photo_id"], ignore_index=True
    )
