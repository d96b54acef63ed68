"""What becomes of names that a table cannot hold as they are."""

import io

import pandas as pd
import pytest

from lng_kedro.pipelines.data_processing.schemas import Quarantine
from lng_kedro.quarantine import Rejected


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a\rb.jpg", r"a\x0db.jpg"),
        ("\r\n.jpg", r"\x0d\x0a.jpg"),
        ("a\x00\tb\x7f.jpg", r"a\x00\x09b\x7f.jpg"),
        ('도장 "a", b.jpg', '도장 "a", b.jpg'),
    ],
)
def test_a_name_survives_the_quarantines_file(name: str, shown: str) -> None:
    row = Rejected("unreadable", f"not {name}").row(name)
    assert row == {"file": shown, "reason": "unreadable", "detail": f"not {shown}"}
    written = pd.DataFrame([row, row]).to_csv(index=False)
    read = Quarantine.validate(pd.read_csv(io.StringIO(written, newline="")))
    assert read.to_dict("records") == [row, row]


@pytest.mark.parametrize("name", ['=HYPERLINK("http://x","y").jpg', "@line/a.jpg", "-1+1.jpg", "+a.jpg"])
def test_no_cell_of_a_quarantine_is_a_formula(name: str) -> None:
    row = Rejected("unreadable", name).row(name)
    assert row == {"file": f"'{name}", "reason": "unreadable", "detail": f"'{name}"}
