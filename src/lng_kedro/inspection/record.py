"""The report about one photo, as it is written and read again: one line of JSON Lines, one JSON file."""

from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class MadeBy(BaseModel):
    """What reports were made by; another one makes other reports.

    Attributes:
        model: name of its entry in models.yml, or under which a server knows it.
        adapter_sha256: of the adapter's weights and configuration, or None where nobody here knows it.
        taxonomy_sha256: of what a report may say.
        engine: ``in_process``, or the URL of a server.
        constrained: nothing but the report schema could be written.
        prompt_sha256: of what was asked.
        model_sha256: of the model's entry, and of its weights' files where they lie in a folder; None where
            nobody here knows it.
        scores: findings' scores were asked for, which a server need not be.
        jpeg_quality: in which photos were shown; None where nobody says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    adapter_sha256: str | None
    taxonomy_sha256: str
    engine: str
    constrained: bool
    prompt_sha256: str
    model_sha256: str | None = None
    scores: bool = True
    jpeg_quality: int | None = None


class PhotoReport(BaseModel):
    """What was found on one photo, or why nothing could be.

    Attributes:
        photo: path below the folder of photos, with forward slashes.
        fingerprint: size and times of change of its file: another photo of that name is a new one.
        sha256: of its file; None where it could not be read.
        width: of the upright photo in pixels; None where it could not be read.
        height: likewise.
        orientation: EXIF's, 1 to 8: how the stored pixels were turned to be upright.
        error: None, or a reason of `quarantine.REASONS` or ``engine``, and what was found.
        findings: each with label, bbox, the taxonomy's fields and score. bbox is x_min, y_min, x_max, y_max
            in pixels of the upright photo; score is the chance that the model gives to label and box, 0 to 1,
            or None where it is not known. What a model said that is not allowed, such as a box that reaches
            out of the photo, is None.
        score: the least of the findings' scores; None where there is none.
        text: what the model wrote.
        schema_true: it is strict JSON, and every finding has all keys with allowed values.
        finished: it was not cut off.
        cramped: it ends in time because the model was kept from going on; findings may be missing.
        n_tokens: of the text; 0 where a server does not say it.
        made_by: model, adapter, taxonomy and engine.
        time: when it was written, with its zone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    photo: str
    fingerprint: str
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    orientation: int | None = None
    error: dict[str, str] | None = None
    findings: list[dict[str, Any]] = []
    score: float | None = None
    text: str = ""
    schema_true: bool = False
    finished: bool = False
    cramped: bool = False
    n_tokens: int = 0
    made_by: MadeBy
    time: datetime

    @field_validator("photo")
    @classmethod
    def _is_below(cls, photo: str) -> str:
        path = PurePosixPath(photo)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError("a photo's path stays below its folder")
        return photo
