"""Decode, resize and encode one photo."""

import io
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
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
class ProcessedPhoto:
    """A square upright JPEG, and what its raw photo said.

    Attributes:
        jpeg: the encoded square.
        width: of the raw photo as it is stored, in pixels, before it was turned upright.
        height: likewise.
        orientation: EXIF's, 1 to 8; the square's pixels are already turned.
        dhash: difference hash of the upright photo, 256 bits as 64 hexadecimal digits.
    """

    jpeg: bytes
    width: int
    height: int
    orientation: int
    dhash: str


@dataclass(frozen=True)
class PhotoFolder:
    """Processed photos by their ids."""

    root: Path

    def path(self, photo_id: str) -> Path:
        """File of one photo; it need not exist."""
        return self.root / f"{photo_id}.jpg"

    def load(self, photo_id: str) -> Image.Image:
        """One photo, decoded.

        Raises:
            OSError: it is not there, or no whole photo.
        """
        path = self.path(photo_id)
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except FileNotFoundError:
            raise
        except (SyntaxError, OSError) as error:  # Pillow's ways to say that a file is half a photo, or none
            raise OSError(broken_photo(path, error)) from error

    def hash_of(self, photo_id: str) -> str:
        """SHA-256 of one photo's file."""
        return sha256(self.path(photo_id).read_bytes()).hexdigest()

    def hash_of_all(self, photo_ids: Iterable[str]) -> str:
        """SHA-256 of some photos, ids and files, in whatever order they are named."""
        rows = sorted(f"{photo_id} {self.hash_of(photo_id)}" for photo_id in photo_ids)
        return sha256("\n".join(rows).encode()).hexdigest()


def broken_photo(path: str | Path, error: Exception) -> str:
    """What to say of a processed photo that cannot be read."""
    return f"{path} is no whole photo ({error}); run data_processing again"
