"""What becomes of a photo or an object that cannot be used: a row with a reason, never silence."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

REASONS = {
    "archive": "a zip, or a file in it, cannot be read: broken, encrypted, or a part of one that must be put "
    "together first",
    "unsafe_path": "a member of a zip has a path that leads out of it",
    "empty": "a file of zero bytes",
    "json": "a label file is no JSON object",
    "label_without_photo": "no photo has the label's name",
    "photo_without_label": "no label has the photo's name",
    "duplicate": "another file of this name, or with the same content, was taken",
    "near_duplicate": "looks like a photo of another split, and that split is full",
    "no_place": "a corrected photo of a label of which training takes no more",
    "photo_size": "the label does not say how wide and high the photo is",
    "size_mismatch": "the photo is not as wide and high as its label says",
    "file_name": "does not begin with an id and a part code, or is not UTF-8",
    "annotation": "is no object, or belongs to no photo of its file",
    "unknown_id": "an id that the taxonomy does not know",
    "box": "not four finite numbers",
    "box_degenerate": "a box without width or height",
    "box_outside": "a box that reaches out of its photo",
    "boxless": "an object of an id without boxes, which the parameters skip",
    "not_negative": "has the name of a photo with nothing to report, yet shows something",
    "unknown_value": "a value that the taxonomy does not know",
    "missing_value": "a field that the label does not state and no rule fills",
    "contradiction": "two labels of one photo do not say the same, or an id and the quality stated",
    "no_object": "a photo of a defect without any object",
    "unreadable": "a file that cannot be read, or no photo that can be decoded",
    "truncated": "a photo that ends too early",
    "too_large": "a photo of more pixels than the parameters allow, or a file of more bytes than are read",
    "skipped": "a person skipped the photo in the review",
}
"""Each reason's code, and what it says of the file."""

QUARANTINE = ["file", "reason", "detail"]
"""Columns of a quarantine."""

LEFT_OUT = ("duplicate", "near_duplicate", "no_place", "boxless", "not_negative")
"""Reasons for which files are left out though nothing is wrong with them."""

EXAMPLES = 10
"""Files that an error shows for each reason."""


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""With these a spreadsheet takes a text for a formula (OWASP, CSV injection)."""


class DataError(ValueError):
    """Data, or what is stored of them, cannot be used; the message says what to do."""


_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class Rejected(Exception):  # noqa: N818  it is an outcome that is counted
    """A photo or an object that cannot be used: a code of `REASONS`, and what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)  # both, so that it can be pickled
        self.reason, self.detail = reason, detail

    def row(self, file: str) -> dict[str, str]:
        """Its row of the quarantine, whose lines no control character breaks, and which holds no formula.

        Args:
            file: locator of the photo or label file.
        """
        file, detail = (harmless(_escaped(text)) for text in (file, self.detail))
        return {"file": file, "reason": self.reason, "detail": detail}


def harmless(text: str) -> str:
    """With an apostrophe before what a spreadsheet would take for a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _escaped(text: str) -> str:
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def counted(counts: Counter[str]) -> str:
    """How many there are of each, the most frequent first."""
    return ", ".join(f"{name} {count}" for name, count in counts.most_common()) or "none"


def examples(rows: Iterable[Mapping[Any, str]]) -> str:
    """Rows of a quarantine by their reasons, for an error: how many, what it means, and the first files."""
    of_reason: defaultdict[str, list[str]] = defaultdict(list)
    for row in rows:
        of_reason[row["reason"]].append(f"\n  {row['file']}: {row['detail']}")
    return "".join(
        f"\n{reason}, {len(files)} times: {REASONS[reason]}{''.join(files[:EXAMPLES])}"
        for reason, files in sorted(of_reason.items())
    )


def check_share(
    rows: Iterable[Mapping[Any, str]], wrong: int, total: int, what: str, max_share: float
) -> None:
    """Raises a ValueError that shows the first files of each reason if too many cannot be used.

    Args:
        rows: of the quarantine, those with something wrong.
        wrong: how many cannot be used.
        total: of how many.
        what: they are.
        max_share: how many may be wrong, as a fraction.
    """
    if wrong > max_share * total:
        raise DataError(
            f"{wrong} of {total} {what} cannot be used, more than max_rejected_share={max_share} allows. "
            f"Mend them, or raise data_processing.max_rejected_share. The first:{examples(rows)}"
        )
