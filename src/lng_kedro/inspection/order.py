"""In which order a person looks at reports."""

from lng_kedro.inspection.record import PhotoReport


def worst_first(report: PhotoReport) -> tuple[int, float, str]:
    """A key to sort by: photos without a report, with scores that nobody knows, then the least sure.

    Photos without findings come last: nothing tells how sure the model is of nothing.
    """
    if report.error:
        rank = 0
    elif report.findings:
        rank = 1 if report.score is None else 2
    else:
        rank = 3
    return rank, report.score or 0.0, report.photo
