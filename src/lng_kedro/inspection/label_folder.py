"""The folder of corrected photos, from which data_processing reads them."""

import json
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path

from lng_kedro.files import make_whole
from lng_kedro.inspection.corrections import NAME_DIGITS, LabelFile


@dataclass(frozen=True)
class LabelFolder:
    """Photos and, beside each, its label; a photo has one of each, whatever it is corrected to.

    Attributes:
        root: the folder.
    """

    root: Path

    def put(self, digest: str, files: LabelFile | None) -> bool:
        """Puts a photo and its label there, or takes them away; whether anything changed.

        What is there already is not touched: data_processing reads again what was written again. A command
        that is cut off leaves a photo without label, or a second name of it, until it is run again.

        Args:
            digest: SHA-256 of the photo.
            files: the photo and its label; None for none.
        """
        wanted = {}
        if files:
            label = json.dumps(files.label, ensure_ascii=False, indent=1).encode()
            wanted = {f"{files.stem}{files.suffix}": files.photo, f"{files.stem}.json": label}
        changed = False
        for name, content in wanted.items():
            place = self.root / name
            if not (place.is_file() and place.read_bytes() == content):
                make_whole(place, partial(Path.write_bytes, data=content))
                changed = True
        for other in self._files(digest):
            if other.name not in wanted:
                other.unlink()
                changed = True
        return changed

    def photo(self, digest: str) -> bytes | None:
        """The photo of that SHA-256, if it lies there whole."""
        contents = (file.read_bytes() for file in self._files(digest) if file.suffix != ".json")
        return next((content for content in contents if sha256(content).hexdigest() == digest), None)

    def is_of(self, digest: str, time: str) -> bool:
        """Whether a label there was made of the correction of that time."""
        labels = [file.read_text(encoding="utf-8") for file in self._files(digest) if file.suffix == ".json"]
        return any(f'"reviewed_at": {json.dumps(time)}' in label for label in labels)

    def _files(self, digest: str) -> list[Path]:
        return list(self.root.glob(f"[0-9]*_{digest[:NAME_DIGITS]}.*"))
