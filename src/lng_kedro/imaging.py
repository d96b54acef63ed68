"""Decode, resize and encode one photo."""

import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image


def processed_photo(photo: bytes, size: int, quality: int) -> bytes:
    """A photo squeezed to a square JPEG (paper, section III.A).

    The JPEG decoder itself scales down by 2, 4 or 8 as far as no detail of the result is lost, which
    saves most of the work; the rest is a Lanczos resize.

    Args:
        photo: an encoded photo of any size.
        size: side of the result in pixels.
        quality: of the JPEG written, 1 to 95.

    Raises:
        OSError: the bytes are not a whole photo.
    """
    with Image.open(io.BytesIO(photo)) as image:
        image.draft("RGB", (size, size))
        square = image.convert("RGB").resize((size, size), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


@dataclass(frozen=True)
class PhotoFolder:
    """Processed photos by their ids."""

    root: Path

    def path(self, photo_id: str) -> Path:
        """File of one photo; it need not exist."""
        return self.root / f"{photo_id}.jpg"

    def load(self, photo_id: str) -> Image.Image:
        """One photo, decoded."""
        with Image.open(self.path(photo_id)) as image:
            return image.convert("RGB")
