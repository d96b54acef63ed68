"""What can be set in reporting."""

from pydantic import Field

from lng_kedro.params import Params


class ReportingParams(Params):
    """See conf/base/parameters/reporting.yml for what each value means."""

    command: str
    given: dict[str, str | None]
    photos: str
    resamples: int = Field(gt=0)
    seed: int

    def command_of(self, model: str, pipeline: str | None) -> str:
        """The command that runs a pipeline, or all of them, for a model, on the data of this run."""
        given = {"model": model, **{name: value for name, value in self.given.items() if value}}
        chosen = f" --pipeline {pipeline}" if pipeline else ""
        return f"{self.command}{chosen} --params " + ",".join(f"{k}={v}" for k, v in given.items())
