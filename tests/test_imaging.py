"""One photo: decode, turn upright, squeeze, encode."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, PngImagePlugin

from lng_kedro.imaging import (
    PhotoFolder,
    PhotoHeader,
    ProcessedPhoto,
    photo_header,
    process_photo,
    upright_jpeg,
)
from lng_kedro.quarantine import Rejected
from tests.raw import photo

RED, BLUE, GREEN, WHITE = (255, 0, 0), (0, 0, 255), (0, 128, 0), (255, 255, 255)
END = b"\xff\xd9"


def processed(
    content: bytes, size: int = 512, quality: int = 95, max_pixels: int = 20_000_000
) -> ProcessedPhoto:
    return process_photo(content, size, quality, max_pixels)


def encoded(image: Image.Image, form: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def quarters(width: int, height: int) -> Image.Image:
    """Red and blue above, green and white below."""
    image = Image.new("RGB", (width, height), WHITE)
    for left, top, color in ((0, 0, RED), (1, 0, BLUE), (0, 1, GREEN)):
        x, y = left * width // 2, top * height // 2
        image.paste(color, (x, y, x + width // 2, y + height // 2))
    return image


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """Detail everywhere, so that bytes lie behind every row of pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


def opened(jpeg: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return image


def assert_quarters(jpeg: bytes, *colors: tuple[int, int, int], atol: int = 12) -> None:
    """The middles of the four quarters, row by row: nothing is cropped, padded or turned otherwise."""
    image = opened(jpeg)
    assert image.size == (512, 512)
    places = [(128, 128), (384, 128), (128, 384), (384, 384)]
    assert np.allclose([image.getpixel(place) for place in places], colors, atol=atol)


def rejection(content: bytes, **settings: Any) -> tuple[str, str]:
    with pytest.raises(Rejected) as caught:
        processed(content, **settings)
    return caught.value.reason, caught.value.detail


@pytest.mark.parametrize(
    ("width", "height"), [(1920, 1080), (3024, 4032), (2992, 2992), (100, 70), (513, 511), (16, 3000)]
)
def test_the_whole_photo_is_squeezed_to_a_square(width: int, height: int) -> None:
    result = processed(encoded(quarters(width, height)))
    assert (result.width, result.height, result.orientation) == (width, height, 1)
    assert_quarters(result.jpeg, RED, BLUE, GREEN, WHITE)


def test_the_decoders_own_scaling_costs_no_detail() -> None:
    # Stripes 10 pixels wide: the finest that 512 pixels show well.
    wave = 128 + 100 * np.sin(2 * np.pi * np.arange(1920) / 10)
    stripes = Image.fromarray(np.tile(wave.astype(np.uint8), (1088, 1)))
    plain = stripes.resize((512, 512), Image.Resampling.HAMMING)
    ours = opened(processed(encoded(stripes, quality=95)).jpeg).convert("L")
    contrasts = [np.asarray(image, float).std(axis=1).mean() for image in (ours, plain)]
    assert contrasts[0] > 0.94 * contrasts[1]


@pytest.mark.parametrize(
    ("orientation", "colors"),
    [
        (1, (RED, BLUE, GREEN, WHITE)),
        (2, (BLUE, RED, WHITE, GREEN)),
        (3, (WHITE, GREEN, BLUE, RED)),
        (4, (GREEN, WHITE, RED, BLUE)),
        (5, (RED, GREEN, BLUE, WHITE)),
        (6, (GREEN, RED, WHITE, BLUE)),
        (7, (WHITE, BLUE, GREEN, RED)),
        (8, (BLUE, WHITE, RED, GREEN)),
        (9, (RED, BLUE, GREEN, WHITE)),  # there is no such thing
    ],
)
@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_photo_is_turned_upright(form: str, orientation: int, colors: Any) -> None:
    image = quarters(640, 360)
    image.getexif()[ExifTags.Base.Orientation] = orientation
    result = processed(encoded(image, form, exif=image.getexif()))
    assert_quarters(result.jpeg, *colors)
    assert (result.width, result.height) == (640, 360)  # as it is stored
    assert result.orientation == (orientation if orientation < 9 else 1)
    # The square is upright: nobody may turn it again.
    assert ExifTags.Base.Orientation not in opened(result.jpeg).getexif()


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_photo_is_shown_upright_and_small(form: str) -> None:
    image = quarters(640, 360)
    image.getexif()[ExifTags.Base.Orientation] = 6
    content = encoded(image, form, exif=image.getexif())
    assert photo_header(content) == PhotoHeader(form, 640, 360, 6)
    small = opened(upright_jpeg(content, 320, 95, 640 * 360))
    assert small.size == (180, 320)
    colors = [small.getpixel(place) for place in ((45, 80), (135, 80), (45, 240), (135, 240))]
    assert np.allclose(colors, (GREEN, RED, WHITE, BLUE), atol=12)
    assert opened(upright_jpeg(content, 1000, 95, 640 * 360)).size == (360, 640)  # never larger than it is


def test_a_photo_of_too_many_pixels_is_not_decoded_to_be_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    content = encoded(quarters(64, 64), "PNG")
    assert opened(upright_jpeg(content, 320, 95, 64 * 64)).size == (64, 64)
    monkeypatch.setattr(Image.Image, "load", None)
    with pytest.raises(Rejected, match="64 x 64 pixels; max_pixels is 4095") as found:
        upright_jpeg(content, 320, 95, 64 * 64 - 1)
    assert found.value.reason == "too_large"


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_comment_of_any_length_stays_out(form: str) -> None:
    said = PngImagePlugin.PngInfo()
    said.add_text("comment", "x" * 70_000)
    content = encoded(
        quarters(640, 360), form, **({"pnginfo": said} if form == "PNG" else {"comment": "x" * 70_000})
    )
    for jpeg in (processed(content).jpeg, upright_jpeg(content, 320, 95, 640 * 360)):
        assert "comment" not in opened(jpeg).info


@pytest.mark.parametrize("content", [b"", b"GIF89a", encoded(quarters(64, 64))[:200]])
def test_what_is_no_photo_is_not_shown(content: bytes) -> None:
    with pytest.raises(Rejected, match="unreadable"):
        upright_jpeg(content, 320, 95, 640 * 360)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(11, struct.pack("<f", 6)), (5, struct.pack("<III", 26, 6, 1))],
    ids=["float", "ratio"],
)
def test_an_orientation_may_be_stated_as_a_fraction(kind: int, value: bytes) -> None:
    entry = struct.pack("<HHI", ExifTags.Base.Orientation, kind, 1) + value[:4] + bytes(4) + value[4:]
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry
    result = processed(encoded(quarters(640, 360), exif=exif))
    assert_quarters(result.jpeg, GREEN, RED, WHITE, BLUE)
    assert (type(result.orientation), result.orientation) == (int, 6)  # the journal writes it as JSON


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_broken_exif_block_turns_nothing() -> None:
    content = encoded(quarters(64, 64), exif=b"Exif\0\0II*\0" + b"\xff" * 40)
    result = processed(content)
    assert result.orientation == 1
    assert_quarters(result.jpeg, RED, BLUE, GREEN, WHITE)


@pytest.mark.parametrize(
    ("form", "mode"),
    [("JPEG", "CMYK"), ("PNG", "RGBA"), ("PNG", "P"), ("GIF", "P"), ("WEBP", "RGB"), ("BMP", "RGB")],
)
def test_any_form_becomes_rgb(form: str, mode: str) -> None:
    content = encoded(quarters(640, 480).convert(mode), form)
    # The square lossless forms' palettes and CMYK's way there and back cost a little.
    assert_quarters(processed(content).jpeg, RED, BLUE, GREEN, WHITE, atol=20)


def test_inks_are_not_turned_over() -> None:
    # Photoshop writes a CMYK JPEG with an Adobe marker and its inks inverted, as Pillow does: full cyan is
    # red's absence.
    content = encoded(Image.new("CMYK", (64, 64), (255, 0, 0, 0)))
    assert b"Adobe" in content
    assert np.allclose(opened(processed(content).jpeg).getpixel((9, 9)), (0, 255, 255), atol=3)


@pytest.mark.parametrize("grey", [0, 300, 32768, 65535])
def test_16_bits_are_scaled_not_clipped(grey: int) -> None:
    content = encoded(Image.fromarray(np.full((9, 9), grey, np.uint16)), "PNG")
    assert np.allclose(opened(processed(content).jpeg).getpixel((9, 9)), [grey / 65535 * 255] * 3, atol=1.5)


def test_grey_stays_grey() -> None:
    image = opened(processed(encoded(Image.new("L", (300, 200), 77))).jpeg)
    assert image.getpixel((9, 9)) == (77, 77, 77)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    if mode == "RGBA":
        image = Image.new("RGBA", (64, 64), (255, 0, 0, 128))  # half red, half white: 255, 127, 127
        expected = (255, 127, 127)
    elif mode == "LA":
        image, expected = Image.new("LA", (64, 64), (10, 0)), (255, 255, 255)
    else:
        image = Image.new("P", (64, 64), 3)
        image.putpalette([0, 0, 0] * 4)
        image.info["transparency"] = 3
        expected = (255, 255, 255)
    assert np.allclose(opened(processed(encoded(image, "PNG")).jpeg).getpixel((9, 9)), expected, atol=3)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF", "MPO"])
def test_of_several_frames_it_is_the_first(form: str) -> None:
    first, second = quarters(64, 64), Image.new("RGB", (64, 64), "black")
    content = encoded(first, form, save_all=True, append_images=[second])
    assert Image.open(io.BytesIO(content)).n_frames == 2
    assert_quarters(processed(content).jpeg, RED, BLUE, GREEN, WHITE)


def test_size_and_quality_are_obeyed_and_bytes_are_reproducible() -> None:
    content = encoded(quarters(640, 360))
    fine, again, coarse = (processed(content, 128, q) for q in (95, 95, 10))
    assert fine == again
    assert opened(coarse.jpeg).size == (128, 128)
    # The tables of quality 95 and 10 are libjpeg's own.
    for result, quality in ((fine, 95), (coarse, 10)):
        wanted = Image.open(io.BytesIO(encoded(Image.new("RGB", (8, 8)), quality=quality)))
        assert opened(result.jpeg).quantization == wanted.quantization


class TestRejections:
    def test_empty(self) -> None:
        assert rejection(b"") == ("empty", "zero bytes")

    @pytest.mark.parametrize(
        "content",
        [
            b"text",
            b"<html>404</html>" * 99,
            b"\x89PNG\r\n\x1a\n" + b"\0" * 99,
            encoded(quarters(64, 64), "PNG").replace(b"IDAT", b"IDAX"),
            b"GIF89a" + b"\xff" * 99,
        ],
    )
    def test_unreadable(self, content: bytes) -> None:
        reason, detail = rejection(content)
        assert reason == "unreadable"
        assert " at 0x" not in detail  # the same file is told of in the same words in every run

    def test_no_other_program_is_run(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def run(*args: Any, **kwargs: Any) -> None:
            raise AssertionError("Ghostscript")

        monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
        content = encoded(quarters(64, 64), "EPS")
        with pytest.raises(AssertionError, match="Ghostscript"):
            Image.open(io.BytesIO(content)).load()  # Pillow by itself would
        assert rejection(content) == ("unreadable", "none of JPEG, PNG, BMP, GIF, TIFF, WEBP")

    @pytest.mark.parametrize(
        "error",
        [SyntaxError("broken"), struct.error("x"), ValueError("y"), IndexError(), EOFError(), OSError("z")],
    )
    def test_whatever_a_decoder_raises(self, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Image.Image) -> None:
            raise error

        monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fail)
        reason, detail = rejection(photo())
        assert reason == "unreadable"
        assert type(error).__name__ in detail

    def test_want_of_memory_is_not_the_photos_fault(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(self: Image.Image) -> None:
            raise MemoryError

        monkeypatch.setattr("PIL.JpegImagePlugin.JpegImageFile.load", fail)
        with pytest.raises(MemoryError):
            processed(photo())

    @pytest.mark.parametrize(
        "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"exif": b"Exif\0\0x"}]
    )
    def test_a_jpeg_that_ends_anywhere(self, options: dict[str, Any]) -> None:
        content = encoded(noise(200, 120), **options)
        reasons = {rejection(content[: len(content) * k // 40])[0] for k in range(1, 40)}
        assert reasons == {"truncated"}
        assert rejection(content[:-1])[0] == "truncated"

    @pytest.mark.parametrize("form", ["PNG", "BMP"])
    def test_another_form_that_ends_early(self, form: str) -> None:
        content = encoded(noise(200, 120), form)
        assert {rejection(content[: len(content) * k // 20])[0] for k in range(5, 20)} == {"truncated"}

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    @pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}])
    def test_an_end_marker_does_not_hide_missing_data(self, options: dict[str, Any], mode: str) -> None:
        content = encoded(noise(400, 240).convert(mode), **options)
        for k in range(4, 10):
            cut = len(content) * k // 10
            Image.open(io.BytesIO(content[:cut] + END)).load()  # Pillow says nothing
            assert rejection(content[:cut] + END)[0] == "truncated"
            # A download into a file of its full size.
            assert rejection(content[:cut] + bytes(len(content) - cut - 2) + END)[0] == "truncated"

    @pytest.mark.parametrize("mode", ["RGB", "L"])
    @pytest.mark.parametrize("size", [(400, 240), (1920, 1088)])  # the larger one is decoded at half its size
    def test_nor_does_it_in_a_progressive_photo(self, mode: str, size: tuple[int, int]) -> None:
        content = encoded(noise(*size).convert(mode), progressive=True)
        assert processed(content).width == size[0]
        for k in range(2, 20):
            cut = len(content) * k // 20
            Image.open(io.BytesIO(content[:cut] + END)).load()  # Pillow says nothing
            assert rejection(content[:cut] + END)[0] == "truncated"
            if k < 19:  # as above; in the very last scan zeros are data like any other
                assert rejection(content[:cut] + bytes(len(content) - cut - 2) + END)[0] == "truncated"

    @pytest.mark.parametrize(
        "options", [{}, {"progressive": True}, {"optimize": True}, {"restart_marker_rows": 1}]
    )
    @pytest.mark.parametrize("mode", ["RGB", "L"])
    def test_a_photo_may_be_as_grey_as_missing_data(self, mode: str, options: dict[str, Any]) -> None:
        image = Image.new("RGB", (200, 120), (128, 128, 128))
        image.paste(quarters(200, 40), (0, 0))
        result = opened(processed(encoded(image.convert(mode), **options)).jpeg)
        assert np.allclose(result.getpixel((500, 500)), 128, atol=2)

    def test_what_follows_the_photo_is_no_matter(self) -> None:
        content = encoded(noise(200, 120))
        assert processed(content + b"trailer" * 99) == processed(content)

    def test_too_large_is_told_from_the_header(self, monkeypatch: pytest.MonkeyPatch) -> None:
        content = encoded(quarters(40, 25), "PNG")
        assert processed(content, max_pixels=1000).width == 40

        def fail(self: Image.Image) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr("PIL.ImageFile.ImageFile.load", fail)
        assert rejection(content, max_pixels=999) == ("too_large", "40 x 25 pixels; max_pixels is 999")

    @pytest.mark.filterwarnings("error")
    def test_the_limit_is_ours_and_not_pillows(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        assert processed(encoded(quarters(40, 25))).width == 40
        assert Image.MAX_IMAGE_PIXELS == 100


class TestHash:
    @staticmethod
    def distance(a: ProcessedPhoto, b: ProcessedPhoto) -> int:
        assert len(a.dhash) == len(b.dhash) == 64
        return (int(a.dhash, 16) ^ int(b.dhash, 16)).bit_count()

    def test_by_hand(self) -> None:
        # Brighter to the right: every field is brighter than its left neighbour; and the other way round.
        ramp = Image.linear_gradient("L").transpose(Image.Transpose.ROTATE_90)  # black on the left
        assert processed(encoded(ramp)).dhash == "f" * 64
        assert processed(encoded(ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT))).dhash == "0" * 64
        both = Image.new("L", (256, 256))
        both.paste(ramp, (0, 0))
        both.paste(ramp.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (0, 128))
        assert processed(encoded(both)).dhash == "f" * 32 + "0" * 32

    def test_the_same_photo_otherwise_stored_is_near_and_another_is_far(self) -> None:
        image = noise(96, 56).resize((1920, 1080), Image.Resampling.BICUBIC)
        one = processed(encoded(image))
        coarse = processed(encoded(image.resize((960, 540)), quality=40))
        turned = image.transpose(Image.Transpose.ROTATE_90)
        turned.getexif()[ExifTags.Base.Orientation] = 6
        upright = processed(encoded(turned, exif=turned.getexif()))
        other = processed(encoded(noise(96, 56, seed=1).resize((1920, 1080))))
        assert self.distance(one, coarse) <= 10
        assert self.distance(one, upright) <= 10
        assert self.distance(one, other) > 64


def test_a_folder_of_photos(tmp_path: Path) -> None:
    photos = PhotoFolder(tmp_path)
    assert photos.path("1102_11_a.b") == tmp_path / "1102_11_a.b.jpg"
    photos.path("a").write_bytes(encoded(quarters(32, 32).convert("L")))
    image = photos.load("a")
    assert (image.mode, image.size) == ("RGB", (32, 32))
    with pytest.raises(FileNotFoundError):
        photos.load("b")
