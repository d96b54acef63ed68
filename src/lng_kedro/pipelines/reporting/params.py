"""What can be set in reporting."""

from pydantic import Field

from lng_kedro.params import Params, as_option


class Given(Params):
    """What this run was given, and the commands that fill a table need too."""

    data_dir: str | None = None
    raw_dir: str | None = None
    reviewed_dir: str | None = None


class ReportingParams(Params):
    """See conf/base/parameters/reporting.yml for what each value means."""

    command: str
    given: Given
    photos: str
    constrained: bool
    resamples: int = Field(gt=0)
    seed: int

    def command_of(self, model: str, pipeline: str | None) -> str:
        """The command that runs a pipeline, or all of them, for a model, on the data of this run."""
        chosen = f" --pipelines {pipeline}" if pipeline else ""
        return self.command + chosen + as_option({"model": model} | self.given.model_dump(exclude_none=True))
