"""What can be set in reporting."""

from pydantic import Field

from lng_kedro.params import Params


class ReportingParams(Params):
    """See conf/base/parameters/reporting.yml for what each value means."""

    command: str
    photos: str
    resamples: int = Field(gt=0)
    seed: int
