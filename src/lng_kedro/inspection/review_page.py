"""The review page: one HTML file with the least sure photos, their boxes and reports, and nothing outside."""

import base64
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from heapq import nsmallest
from typing import Any

from lng_kedro.html import part, stream_html, to_script
from lng_kedro.imaging import upright_jpeg
from lng_kedro.inspection.colours import label_colours
from lng_kedro.inspection.order import worst_first
from lng_kedro.inspection.record import MadeBy, PhotoReport
from lng_kedro.quarantine import Rejected
from lng_kedro.taxonomy import Taxonomy

SIDE, QUALITY = 640, 72
"""Longer side of a photo on the page in pixels, and the quality of its JPEG."""

SMALLEST = 4096
"""Bytes of a photo and its report on the page; hardly any takes less."""

ReadPhoto = Callable[[str], bytes]
"""Bytes of a photo by its name; raises `Rejected` or OSError."""


@dataclass
class _Counts:
    """What all reports hold, also those that are not on the page."""

    photos: int = 0
    findings: int = 0
    errors: int = 0
    empty: int = 0
    untrue: int = 0
    cramped: int = 0
    makers: Counter[MadeBy] = field(default_factory=Counter)

    def of(self, reports: Iterable[PhotoReport]) -> Iterator[PhotoReport]:
        """The reports, which are counted while they pass."""
        for report in reports:
            self.photos += 1
            self.findings += len(report.findings)
            self.errors += report.error is not None
            self.empty += report.error is None and not report.findings
            self.untrue += report.error is None and not report.schema_true
            self.cramped += report.cramped
            self.makers[report.made_by] += 1
            yield report


def render_review_page(
    reports: Iterable[PhotoReport], read_photo: ReadPhoto, taxonomy: Taxonomy, page_mib: float
) -> Iterator[str]:
    """HTML of the review page, piece by piece; a photo at a time is in memory.

    It holds the photos to look at first (`worst_first`), as many as fit, and says how many it leaves out.

    Args:
        reports: one a photo.
        read_photo: gives a photo's file; one that cannot be read, or is another one now, is left blank.
        taxonomy: of the reports.
        page_mib: how large the file may become, in MiB.
    """
    room = int(page_mib * 2**20)
    counts = _Counts()
    # No more than could fit are held, however many there are.
    worst = nsmallest(room // SMALLEST, counts.of(reports), key=worst_first)
    script = "".join(map(part, ("shared.js", "inspection/review_page.js")))
    return stream_html(
        "inspection/review_page.html",
        ["page.css", "inspection/review_page.css"],
        script,
        made=datetime.now().astimezone(),
        counts=counts,
        makers=[(maker, n) for maker, n in counts.makers.most_common()],
        page=to_script(
            {
                "total": counts.photos,
                "mib": page_mib,
                "labels": taxonomy.label_names,
                "fields": {name: taxonomy.choices(name) for name in taxonomy.field_names},
                "colours": label_colours(taxonomy),
            }
        ),
        rows=_rows(worst, read_photo, room),
    )


def _rows(reports: Iterable[PhotoReport], read_photo: ReadPhoto, room: int) -> Iterator[tuple[str, str]]:
    """(report as JSON, photo as base64) of each that still fits."""
    for report in reports:
        data, jpeg = to_script(_shown(report)), _thumbnail(report, read_photo)
        room -= len(data.encode()) + len(jpeg)
        if room < 0:
            return
        yield data, jpeg


def _shown(report: PhotoReport) -> dict[str, Any]:
    """A report as its file has it, but for what the page says once of all."""
    return report.model_dump(mode="json", exclude={"fingerprint", "made_by"})


def _thumbnail(report: PhotoReport, read_photo: ReadPhoto) -> str:
    if not report.width or not report.height:
        return ""
    try:
        photo = read_photo(report.photo)
        # Another photo of that name would show boxes that are not its own, and may have any number of pixels.
        if sha256(photo).hexdigest() != report.sha256:
            return ""
        return base64.b64encode(upright_jpeg(photo, SIDE, QUALITY, report.width * report.height)).decode()
    except (Rejected, OSError):
        return ""
