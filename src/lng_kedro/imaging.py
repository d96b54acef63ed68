"""Decode, turn upright, squeeze and encode one photo."""

import io
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.Image import Resampling, Transpose

from lng_kedro.quarantine import Rejected

_TURN = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
"""What each EXIF orientation asks for; 1 is upright."""

FORMS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""Forms of photos that are read, told by their content, not their name. Pillow knows more; for one of them it
runs Ghostscript."""

_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"
_PROGRESSIVE, _SCAN = (b"\xff\xc2", b"\xff\xca"), b"\xff\xda"
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A JPEG's next marker: between others lie pixels, in which 00 and restarts follow on FF."""

_LIMIT = Lock()
"""Photos are opened by several threads, and Pillow's limit is one for all."""

_RESTARTS = [bytes([0xFF, marker]) for marker in range(0xD0, 0xD8)]
_NO_DATA = 128
"""The grey that a JPEG decoder puts where its data ran out."""


@dataclass(frozen=True)
class PhotoHeader:
    """What a photo says of itself before it is decoded.

    Attributes:
        form: one of `FORMS`.
        width: as it is stored, in pixels, before it is turned upright.
        height: likewise.
        orientation: EXIF's, 1 to 8.
    """

    form: str
    width: int
    height: int
    orientation: int


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


def process_photo(photo: bytes, size: int, quality: int, max_pixels: int) -> ProcessedPhoto:
    """A photo, upright, squeezed to a square JPEG (paper, section III.A).

    Of several frames it is the first. What is transparent becomes white; 16-bit grey is scaled to 8 bits.

    Args:
        photo: an encoded photo of any size, in one of `FORMS`.
        size: side of the result in pixels, at least 32.
        quality: of the JPEG written, 1 to 95.
        max_pixels: of the raw photo; one with more is rejected before it is decoded.

    Raises:
        Rejected: `empty`, `unreadable`, `truncated` or `too_large`.
    """
    if not photo:
        raise Rejected("empty", "zero bytes")
    try:
        with _opened(photo) as image:
            width, height = image.size
            _check_pixels(image, max_pixels)
            orientation = _orientation(image)
            square = squeezed(image, size)
            if _ran_out(photo, image, size):
                raise Rejected("truncated", "its data end before its last row of pixels")
    except (Rejected, MemoryError):
        raise
    except UnidentifiedImageError as error:  # its text names a place in memory, another in each run
        raise Rejected(_reason(photo, error), f"none of {', '.join(FORMS)}") from error
    except Exception as error:  # Pillow's decoders raise whatever goes wrong in them, struct.error for one
        raise Rejected(_reason(photo, error), f"{type(error).__name__}: {error}") from error
    if orientation in _TURN:
        square = square.transpose(_TURN[orientation])
    return ProcessedPhoto(_jpeg(square, quality=quality), width, height, orientation, _dhash(square))


def photo_header(photo: bytes) -> PhotoHeader:
    """Form, size and orientation of a photo, which is not decoded.

    Raises:
        Rejected: `unreadable`.
    """
    try:
        with _opened(photo) as image:
            form = "JPEG" if image.format == "MPO" else str(image.format)  # of several pictures the first
            return PhotoHeader(form, *image.size, _orientation(image))
    except Exception as error:  # as in process_photo
        raise Rejected("unreadable", f"none of {', '.join(FORMS)}") from error


def upright_jpeg(photo: bytes, side: int, quality: int, max_pixels: int) -> bytes:
    """A photo, upright and scaled down to `side` pixels or less on its longer side, as a JPEG.

    Args:
        photo: an encoded photo of any size, which was found to be readable.
        side: pixels.
        quality: of the JPEG, 1 to 95.
        max_pixels: of the photo; one with more is rejected before it is decoded.

    Raises:
        Rejected: `unreadable` or `too_large`.
    """
    try:
        with _opened(photo) as image:
            _check_pixels(image, max_pixels)
            turn = _TURN.get(_orientation(image))
            _load(image, side)
            small = _rgb(image)
            small.thumbnail((side, side), Resampling.HAMMING)
    except Rejected:
        raise
    except Exception as error:  # as in process_photo
        raise Rejected("unreadable", f"{type(error).__name__}: {error}") from error
    return _jpeg(small.transpose(turn) if turn else small, quality=quality, optimize=True)


def squeezed(image: Image.Image, size: int) -> Image.Image:
    """An opened photo as it is stored, in RGB, squeezed to a square with sides of `size` pixels.

    The JPEG decoder itself scales down as far as no detail of the result is lost; a filter does the rest.
    Lanczos there would take longer than all else; what this one changes is less than the JPEG written loses
    (benchmarks/photos.py).
    """
    _load(image, size)
    return _rgb(image).resize((size, size), Resampling.HAMMING)


def _jpeg(image: Image.Image, **how: Any) -> bytes:
    """The pixels alone: Pillow would copy the photo's comment, and fail where it is too long for a JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", comment=b"", **how)
    return buffer.getvalue()


@contextmanager
def _opened(photo: bytes) -> Iterator[Image.Image]:
    """The photo's header; Pillow's own limit of pixels gives way to ours."""
    with _LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            image = Image.open(io.BytesIO(photo), formats=FORMS)
        finally:
            Image.MAX_IMAGE_PIXELS = limit
    with image:
        yield image


def _check_pixels(image: Image.Image, max_pixels: int) -> None:
    width, height = image.size
    if width * height > max_pixels:
        raise Rejected("too_large", f"{width} x {height} pixels; max_pixels is {max_pixels}")


def _orientation(image: Image.Image) -> int:
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a broken EXIF block says nothing, and the pixels may be whole
        return 1
    return int(orientation) if orientation in _TURN else 1  # some cameras write 6.0, or 6/1


def _load(image: Image.Image, size: int) -> None:
    """Decodes the pixels; a JPEG's decoder scales down by 2, 4 or 8 as far as `size` allows."""
    image.draft("RGB", (size, size))
    image.load()


def _ran_out(photo: bytes, image: Image.Image, size: int) -> bool:
    """Whether a JPEG's data ended early although its end marker is there: Pillow shows grey without a word.

    Where the last pixel is of that grey, or the photo is progressive (what is missing is detail then), it is
    decoded again with more data before the marker: only a decoder that ran out of data uses them.
    """
    end = photo.rfind(_JPEG_END)
    if not photo.startswith(_JPEG_START) or end < 0:
        return False
    if "progressive" in image.info:
        if _lacks_scans(photo):
            return True
    elif image.getpixel((image.width - 1, image.height - 1)) not in (_NO_DATA, (_NO_DATA,) * 3):
        return False
    data = bytes(range(255))
    more = data + b"".join(restart + data for restart in _RESTARTS)
    with _opened(photo[:end] + more + photo[end:]) as longer:
        _load(longer, size)
        return longer != image


def _lacks_scans(photo: bytes) -> bool:
    """Whether the scans of a progressive JPEG leave out a coefficient's last bit (ITU T.81, B.2.3)."""
    exact: dict[int, set[int]] = {}
    place = len(_JPEG_START)
    while (found := _MARKER.search(photo, place)) and found[0] != _JPEG_END:
        place = found.end() + int.from_bytes(photo[found.end() : found.end() + 2])
        header = photo[found.end() + 2 : place]
        if found[0] in _PROGRESSIVE:
            exact = {component: set() for component in header[6::3]}
        elif found[0] == _SCAN:
            first, last, bits = header[-3:]
            if bits & 15 == 0:
                for component in header[1:-3:2]:
                    exact[component].update(range(first, last + 1))
    return any(len(coefficients) < 64 for coefficients in exact.values())


def _reason(photo: bytes, error: Exception) -> str:
    no_end = photo.startswith(_JPEG_START) and _JPEG_END not in photo
    return "truncated" if no_end or "truncated" in str(error).lower() else "unreadable"


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip to 255
        image = Image.fromarray(np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _dhash(square: Image.Image) -> str:
    """Whether each of 16 x 16 fields is brighter than its left neighbour, row by row."""
    grey = square.reduce(square.width // 32).convert("L").resize((17, 16), Resampling.BOX)
    fields = np.asarray(grey)
    return np.packbits(fields[:, 1:] > fields[:, :-1]).tobytes().hex()


@dataclass(frozen=True)
class PhotoFolder:
    """Processed photos by their ids."""

    root: Path

    def path(self, photo_id: str) -> Path:
        """File of one photo; it need not exist."""
        return self.root / f"{photo_id}.jpg"

    def load(self, photo_id: str, size: int | None = None) -> Image.Image:
        """One photo, decoded.

        Args:
            photo_id: the photo.
            size: side of a smaller square in pixels, for which less is decoded.

        Raises:
            OSError: it is not there, or no whole photo.
        """
        path = self.path(photo_id)
        try:
            with Image.open(path) as image:
                return squeezed(image, size) if size else image.convert("RGB")
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
