"""What people made of inspection reports."""

import json
from pathlib import Path
from typing import Any, NoReturn

from kedro.io import AbstractDataset, DatasetError
from pydantic import BaseModel, TypeAdapter, ValidationError

from lng_kedro.inspection.corrections import Corrections
from lng_kedro.inspection.review import corrections, fetch
from lng_kedro.inspection.studio import StudioError, StudioFolder, running


class _Value(BaseModel):
    rotation: float = 0


class _Result(BaseModel):
    value: _Value = _Value()
    image_rotation: float = 0


class _Annotation(BaseModel):
    id: int
    updated_at: str
    result: list[_Result] | None


class _Task(BaseModel):
    id: int
    data: dict[str, Any]
    annotations: list[_Annotation]


class CorrectionsDataset(AbstractDataset[NoReturn, Corrections]):
    """Tasks of the Label Studio that `make review` starts, or of a file that another one exported; read only.

    Example:
        >>> CorrectionsDataset(
        ...     filepath="data/01_raw/label_studio", command=".venv/label-studio/bin/label-studio"
        ... ).load()

    Args:
        filepath: the server's folder.
        command: Label Studio's, in its virtual environment.
        export: a JSON export to read instead; the photos are those of the server's folder all the same.
        metadata: for kedro-viz.
    """

    def __init__(
        self,
        *,
        filepath: str,
        command: str,
        export: str | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self.folder = StudioFolder(Path(filepath))
        self.command = Path(command)
        self._export = None if export is None else Path(export)
        self.metadata = metadata

    def load(self) -> Corrections:
        """Starts the server, half a minute or less, and asks it; one that is running already may run on."""
        if not self._exists():
            raise DatasetError(self.missing)
        if self._export:
            return corrections(_exported(self._export), self.folder)
        try:
            with running(self.folder, self.command) as studio:
                return fetch(studio, self.folder)
        except StudioError as error:
            raise DatasetError(str(error)) from error

    def save(self, data: NoReturn) -> None:  # noqa: ARG002
        """Refused: people write corrections."""
        raise DatasetError("Corrections are made by people, in Label Studio.")

    @property
    def missing(self) -> str:
        """What to do if nothing was reviewed yet."""
        if self._export and not self._export.is_file():
            return f"There is no export of Label Studio at {self._export}."
        return f"Nothing was reviewed in {self.folder.root} yet: run `make review` first."

    def _exists(self) -> bool:
        reviewed = any(self.folder.taxonomies.glob("*.json"))
        return reviewed and (self._export is None or self._export.is_file())

    def _describe(self) -> dict[str, Any]:
        return {"filepath": str(self.folder.root), "export": str(self._export)}


def _exported(path: Path) -> list[dict[str, Any]]:
    """Tasks of an export, whose shape is that of Label Studio's JSON."""
    text = path.read_bytes()
    try:
        TypeAdapter(list[_Task]).validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise DatasetError(
            f"{path} is no export of Label Studio in the format JSON ({where}: {first['msg']}). In Label "
            "Studio: Export, then 'JSON', neither JSON-MIN nor CSV."
        ) from error
    return list(json.loads(text))
