"""Claim: a photo is processed in a third of the time of Pillow's full-size Lanczos resize, and looks like it.

The peers, measured in the same run on one core and by turns: that resize (`Image.open`, `resize` with
LANCZOS, `save`), and the fastest libraries for the job, simplejpeg's scaled decoder and encoder with OpenCV's
INTER_AREA (`pip install simplejpeg opencv-python-headless`). Our time includes every check and the hash.
Prints the median of milliseconds a photo, ratios, and how near our pixels are to full-size Lanczos, beside
what the JPEG written loses in either case. Then photos from disk by two processes, the peer being one.

    python benchmarks/photos.py
"""

import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image

from lng_kedro.aihub.scenes import render_photo
from lng_kedro.compute import Processes, parallel_map
from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.imaging import process_photo, squeezed
from lng_kedro.taxonomy import load_taxonomy

TAXONOMY = load_taxonomy(Path(__file__).parents[1] / "conf/base/parameters/taxonomy.yml")
SQUARE = (PROCESSED_SIZE, PROCESSED_SIZE)
QUALITY = 95
MAX_PIXELS = 100_000_000
PHOTOS = 6
ROUNDS = 30
FROM_DISK = 400
FROM_DISK_ROUNDS = 5


def rendered() -> list[bytes]:
    """Photos of several labels, JPEG quality 90."""
    photos = [
        render_photo(seed, o.defective_id, TAXONOMY)[0] for seed, o in enumerate(TAXONOMY.labels[:PHOTOS])
    ]
    return [encoded(photo, 90) for photo in photos]


def encoded(image: Image.Image, quality: int = QUALITY) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def decoded(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg)).convert("RGB")


def ours(photo: bytes) -> bytes:
    return process_photo(photo, PROCESSED_SIZE, QUALITY, MAX_PIXELS).jpeg


def from_disk(file: Path) -> bytes:
    return ours(file.read_bytes())


def full_size(photo: bytes) -> bytes:
    return encoded(decoded(photo).resize(SQUARE, Image.Resampling.LANCZOS))


def fastest(photo: bytes) -> bytes:
    import cv2
    import simplejpeg

    pixels = simplejpeg.decode_jpeg(photo, min_height=PROCESSED_SIZE, min_width=PROCESSED_SIZE)
    return simplejpeg.encode_jpeg(cv2.resize(pixels, SQUARE, interpolation=cv2.INTER_AREA), quality=QUALITY)


def milliseconds(photos: Sequence[bytes], *ways: Callable[[bytes], bytes]) -> list[float]:
    """Median for each way; they take turns, so that a slow moment of the machine meets all of them."""
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for photo in photos:
            for way, times in zip(ways, taken, strict=True):
                start = time.perf_counter()
                way(photo)
                times.append((time.perf_counter() - start) * 1000)
    return [statistics.median(times) for times in taken]


def least(pictures: Sequence[Image.Image], wanted: Sequence[Image.Image]) -> float:
    """The least peak signal-to-noise ratio of some pictures, in dB."""
    pairs = zip(pictures, wanted, strict=True)
    errors = [np.mean((np.asarray(a, float) - np.asarray(b, float)) ** 2) for a, b in pairs]
    return float(10 * np.log10(255**2 / max(errors)))


def one_photo() -> None:
    photos = rendered()
    ways = [ours, full_size]
    if find_spec("simplejpeg") and find_spec("cv2"):
        import cv2

        cv2.setNumThreads(1)
        ways.append(fastest)
    else:
        print("simplejpeg and OpenCV are not installed: no ratio to them")
    for way in ways:
        way(photos[0])  # starts libraries
    times = milliseconds(photos, *ways)
    kb = statistics.mean(len(photo) for photo in photos) / 1000
    print(f"ours {times[0]:.1f} ms a photo of 1920 x 1080 pixels and {kb:.0f} KB")
    print(f"full-size Lanczos takes {times[1] / times[0]:.2f} times ours ({times[1]:.1f} ms)")
    for taken in times[2:]:
        print(f"ours takes {times[0] / taken:.2f} times simplejpeg and OpenCV ({taken:.1f} ms)")
    wanted = [decoded(photo).resize(SQUARE, Image.Resampling.LANCZOS) for photo in photos]
    squares = [squeezed(Image.open(io.BytesIO(photo)), PROCESSED_SIZE) for photo in photos]
    print(f"PSNR of our pixels against full-size Lanczos: {least(squares, wanted):.1f} dB")
    for way in ways:
        written = [decoded(way(photo)) for photo in photos]
        print(f"  the JPEG of {way.__name__}: {least(written, wanted):.1f} dB")


def many_photos() -> None:
    """Photos from disk through the map of data_processing, by turns with one process and with two."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{k}.jpg" for k in range(FROM_DISK)]
        photos = rendered()
        for k, file in enumerate(files):
            file.write_bytes(photos[k % len(photos)])
        taken: dict[int, list[float]] = {1: [], 2: []}
        for _ in range(1 + FROM_DISK_ROUNDS):  # the first starts the processes
            for workers, times in taken.items():
                start = time.perf_counter()
                compute = Processes(engine="processes", workers=workers)
                for _ in parallel_map(from_disk, files, len(files), compute, f"{workers} at work"):
                    pass
                times.append(time.perf_counter() - start)
    one, two = (statistics.median(times[1:]) for times in taken.values())
    print(f"{FROM_DISK} photos from disk: one process {one:.1f} s, two {two:.1f} s, ratio {one / two:.2f}")


if __name__ == "__main__":
    one_photo()
    many_photos()
