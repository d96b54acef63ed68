"""The folder of corrected photos, from which data_processing reads them."""

import json
from dataclasses import dataclass
from pathlib import Path

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
        self.root.mkdir(parents=True, exist_ok=True)
        wanted = {}
        if files:
            label = json.dumps(files.label, ensure_ascii=False, indent=1).encode()
            wanted = {f"{files.stem}{files.suffix}": files.photo, f"{files.stem}.json": label}
        changed = False
        for name, content in wanted.items():
            place = self.root / name
            if not (place.is_file() and place.read_bytes() == content):
                unfinished = self.root / f".{name}.part"
                unfinished.write_bytes(content)
                unfinished.replace(place)
                changed = True
        for other in self.root.glob(f"[0-9]*_{digest[:NAME_DIGITS]}.*"):
            if other.name not in wanted:
                other.unlink()
                changed = True
        return changed
