"""Which photos something has learned from: nobody may test it on them."""

from collections.abc import Iterable, Mapping
from itertools import repeat

import pandas as pd

from lng_kedro.quarantine import DataError

Contents = Mapping[str, str | None]
"""Photo id -> SHA-256 of its raw file; None where that is not known."""


def contents(samples: pd.DataFrame) -> Contents:
    """Which photos samples show."""
    # Earlier versions did not say it.
    hashes = samples["sha256"] if "sha256" in samples else repeat(None)
    return dict(zip(samples["photo_id"], hashes, strict=False))


def stored_contents(stored: Contents | Iterable[str]) -> Contents:
    """What was stored of photos, by earlier versions their ids alone."""
    return stored if isinstance(stored, Mapping) else dict.fromkeys(stored)


def check_unseen(learned_from: Contents, samples: pd.DataFrame, who: str) -> None:
    """Refuses to test what has learned from test photos, as after another draw of the splits.

    A photo that is learned from as it was corrected has another id than in the raw folder, and its content.

    Args:
        learned_from: the photos that it was trained on.
        samples: the test split.
        who: it is, for the message.

    Raises:
        ValueError: photos are in both.
    """
    hashes = {content for content in learned_from.values() if content}
    tested = contents(samples)
    if seen := sorted(i for i, content in tested.items() if i in learned_from or content in hashes):
        raise DataError(
            f"'{who}' has learned from {len(seen)} of the {len(samples)} test photos, {seen[0]} for one: the "
            "splits were drawn anew since it was trained. Train it again, or draw as before."
        )
