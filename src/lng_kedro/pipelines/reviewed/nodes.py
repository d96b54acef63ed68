"""Nodes of reviewed."""

import logging
from collections import Counter

import pandas as pd

from lng_kedro.aihub.folder import AIHubFolder
from lng_kedro.inspection.corrections import Corrections, corrected_photos
from lng_kedro.inspection.label_folder import LabelFolder
from lng_kedro.quarantine import QUARANTINE, Rejected, counted

logger = logging.getLogger(__name__)


def take_corrections(corrections: Corrections, reviewed: AIHubFolder) -> pd.DataFrame:
    """Writes a label file for every photo that somebody submitted; takes away what was skipped or changed.

    A label that was made of a correction as it still is stays, though it cannot be made again.

    Args:
        corrections: tasks of Label Studio.
        reviewed: the folder of corrected photos, which need not be there yet.

    Returns:
        The quarantine: photos that were skipped, or whose correction the raw format cannot say.
    """
    folder = LabelFolder(reviewed.root)
    refused: list[dict[str, str]] = []
    done: Counter[str] = Counter()
    for digest, photo, outcome, time in corrected_photos(corrections, folder.photo):
        if isinstance(outcome, Rejected):
            refused.append(outcome.row(photo))
            if digest and time and folder.is_of(digest, time):
                done["kept as before"] += 1
            elif digest:
                done["taken away"] += folder.put(digest, None)
        elif digest:
            changed = folder.put(digest, outcome)
            done["written" if changed else "there already"] += 1
    reasons = counted(Counter(row["reason"] for row in refused))
    logger.info("%s: %s. Not taken: %s.", folder.root, counted(done), reasons)
    return pd.DataFrame(refused, columns=QUARANTINE).sort_values("file", ignore_index=True)
