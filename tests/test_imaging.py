"""One photo: decode, squeeze, encode."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lng_kedro.imaging import PhotoFolder, processed_photo
from tests.raw import photo


def quarters(width: int, height: int, form: str = "JPEG", mode: str = "RGB") -> bytes:
    """Red and blue above, green and white below."""
    image = Image.new("RGB", (width, height), (255, 255, 255))
    for left, top, color in ((0, 0, "red"), (1, 0, "blue"), (0, 1, "green")):
        x, y = left * width // 2, top * height // 2
        image.paste(color, (x, y, x + width // 2, y + height // 2))
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form)
    return buffer.getvalue()


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


@pytest.mark.parametrize(
    ("width", "height"), [(1920, 1080), (3024, 4032), (2992, 2992), (100, 70), (513, 511), (16, 3000)]
)
def test_the_whole_photo_is_squeezed_to_a_square(width: int, height: int) -> None:
    image = opened(processed_photo(quarters(width, height), 512, 95))
    assert image.size == (512, 512)
    # What was in the middle of a quarter still is: nothing is cropped, padded or turned.
    for place, color in {
        (128, 128): (255, 0, 0),
        (384, 128): (0, 0, 255),
        (128, 384): (0, 128, 0),
        (384, 384): (255, 255, 255),
    }.items():
        assert np.allclose(image.getpixel(place), color, atol=12)


def test_the_decoders_own_scaling_costs_no_detail() -> None:
    # Stripes 10 pixels wide: the finest that 512 pixels show well.
    wave = 128 + 100 * np.sin(2 * np.pi * np.arange(1920) / 10)
    stripes = Image.fromarray(np.tile(wave.astype(np.uint8), (1088, 1)))
    buffer = io.BytesIO()
    stripes.save(buffer, "JPEG", quality=95)
    plain = stripes.resize((512, 512), Image.Resampling.LANCZOS)
    ours = opened(processed_photo(buffer.getvalue(), 512, 95)).convert("L")
    contrasts = [np.asarray(image, float).std(axis=1).mean() for image in (ours, plain)]
    assert contrasts[0] > 0.9 * contrasts[1]  # with half the pixels it would be 0.74


@pytest.mark.parametrize(
    ("form", "mode"), [("JPEG", "L"), ("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "I;16")]
)
def test_any_mode_becomes_rgb(form: str, mode: str) -> None:
    if mode == "I;16":
        buffer = io.BytesIO()
        Image.fromarray(np.full((9, 9), 300, np.uint16)).save(buffer, form)
        content = buffer.getvalue()
    else:
        content = quarters(64, 48, form, mode)
    assert opened(processed_photo(content, 512, 90)).size == (512, 512)


def test_size_and_quality_are_obeyed_and_bytes_are_reproducible() -> None:
    content = quarters(640, 360)
    fine, again, coarse = (processed_photo(content, 128, q) for q in (95, 95, 10))
    assert fine == again
    assert len(coarse) < len(fine)
    assert opened(coarse).size == (128, 128)


@pytest.mark.parametrize(
    "content",
    [b"", b"text", photo(400, 300)[:-400], photo(form="PNG")[:60], b"\xff\xd8\xff\xe0" + b"\0" * 99],
)
def test_what_is_not_a_whole_photo_is_an_error(content: bytes) -> None:
    with pytest.raises(OSError):
        processed_photo(content, 512, 95)


def test_a_folder_of_photos(tmp_path: Path) -> None:
    photos = PhotoFolder(tmp_path)
    assert photos.path("1102_11_a.b") == tmp_path / "1102_11_a.b.jpg"
    photos.path("a").write_bytes(quarters(32, 32, mode="L"))
    image = photos.load("a")
    assert (image.mode, image.size) == ("RGB", (32, 32))
    with pytest.raises(FileNotFoundError):
        photos.load("b")
