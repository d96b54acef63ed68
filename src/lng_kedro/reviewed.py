"""Corrected photos: the second raw source, written by people who corrected inspection reports."""

import pandas as pd

REVIEWED = "reviewed://"
"""How locators of the second source begin; below a folder no path has two slashes, outside of zips."""


def corrected(manifest: pd.DataFrame) -> "pd.Series[str]":
    """Ids of the photos whose label a person corrected, each once.

    Args:
        manifest: one row an object (columns photo_id and label_file are used).
    """
    mine = manifest["label_file"].str.startswith(REVIEWED)
    return manifest["photo_id"][mine].drop_duplicates()
