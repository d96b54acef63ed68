"""Which names are among others."""

import pandas as pd
import pytest

from lng_kedro.among import among


@pytest.mark.parametrize("others", [["b", "d", "b"], pd.Series(["d", "b"], index=[7, 7])])
def test_names_keep_their_index(others):
    names = pd.Series(["a", "b", "c", "b", None], index=[3, 1, 4, 1, 5])
    expected = pd.Series([False, True, False, True, False], index=[3, 1, 4, 1, 5])
    pd.testing.assert_series_equal(among(names, others), expected)
    assert not among(names, []).any()
    assert among(names.head(0), others).empty
    assert not among(names, pd.DataFrame(columns=["name"])["name"]).any()
