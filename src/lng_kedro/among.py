"""Which of many names are among many others."""

from collections.abc import Sequence

import pandas as pd
import pyarrow as pa
from pyarrow.compute import is_in


def among(names: "pd.Series[str]", others: "pd.Series[str] | Sequence[str]") -> "pd.Series[bool]":
    """As `names.isin(others)`, which makes a Python object of each of `others`: gigabytes of millions."""
    text = pa.large_string()
    found = is_in(pa.array(names, text), value_set=pa.array(others, text))
    return pd.Series(found, names.index, dtype="bool")
