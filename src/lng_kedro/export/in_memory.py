"""Photos that somebody sends, and their reports: the inspection of photos that lie in no folder."""

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lng_kedro.export.params import ExportParams
from lng_kedro.inspection.engine import Engine
from lng_kedro.inspection.in_process import InProcessEngine
from lng_kedro.inspection.params import InProcessParams
from lng_kedro.inspection.record import PhotoReport
from lng_kedro.inspection.run import reports_of
from lng_kedro.quarantine import Rejected
from lng_kedro.vlm.adapter import stored_dialogue
from lng_kedro.vlm.merged import merged_params


class Inspector:
    """A merged model that reports photos; it is loaded when the first photo comes."""

    def __init__(self, folder: Path, params: ExportParams) -> None:
        """Args:
            folder: of the merged model.
            params: the device, and how photos are asked about. Without xgrammar nothing is constrained.

        Raises:
            ValueError: the folder does not say what it is.
        """
        constrained = params.constrained and find_spec("xgrammar") is not None
        self._params = params
        self._engine: Engine = InProcessEngine(
            merged_params(folder, _device(params)),
            None,
            stored_dialogue(folder).taxonomy,
            InProcessParams(kind="in_process", batch_size=params.batch_size),
            params.max_new_tokens,
            constrained,
        )

    def reports(self, photos: Sequence[Any], names: Sequence[Any]) -> Iterator[PhotoReport]:
        """One report a photo, in order; of one that cannot be used, an error.

        Args:
            photos: encoded photos.
            names: what their reports call them; nothing for a number.

        Raises:
            ValueError: a name is no relative path, or leads out of its folder.
        """
        given = [name if isinstance(name, str) and name else f"photo {i}" for i, name in enumerate(names, 1)]
        if outside := [name for name in given if name.startswith("/") or ".." in name.split("/")]:
            raise ValueError(f"a photo's name is a path below its folder, and no {outside[0]!r}")
        todo = {str(i): _refused(photo) or "" for i, photo in enumerate(photos)}
        made = reports_of(_Sent(photos), todo, self._engine, self._params)
        for name, report in zip(given, made, strict=True):
            yield report.model_copy(update={"photo": name})


class _Sent:
    """Photos by their numbers."""

    def __init__(self, photos: Sequence[bytes]) -> None:
        self._photos = photos

    def read(self, photo: str, max_bytes: int) -> tuple[str, bytes]:
        """See `lng_kedro.inspection.run.Source`; what lies in no file has no fingerprint."""
        content = self._photos[int(photo)]
        if len(content) > max_bytes:
            raise Rejected("too_large", f"{len(content):,} bytes; max_bytes is {max_bytes:,}")
        return "", content


def _refused(photo: Any) -> Rejected | None:
    if isinstance(photo, bytes):
        return None
    return Rejected("unreadable", f"the bytes of a photo are expected, not {type(photo).__name__}")


def _device(params: ExportParams) -> str:
    if params.device != "auto":
        return params.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
