"""Corrected photos as they are left by people who correct inspection reports."""

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from tests.raw import ENGLISH, encoded, write

Finding = tuple[int, tuple[float, ...], Mapping[str, str]]
"""AI-Hub id, box in pixels of the stored photo, and metadata that differ from `ENGLISH`."""


def correct(
    folder: Path, photo: bytes, size: tuple[int, int], *findings: Finding, negative: int = 2101
) -> str:
    """Writes a corrected photo and its label; returns the photo's id.

    Args:
        folder: of corrected photos.
        photo: its bytes, JPEG.
        size: width and height as it is stored.
        findings: what it shows.
        negative: id of a photo that shows nothing.
    """
    category = findings[0][0] if findings else negative
    name = f"{category}_{'12' if findings else '00'}_{sha256(photo).hexdigest()[:32]}"
    write(folder, {f"{name}.jpg": photo, f"{name}.json": encoded(label_of(name, size, findings))})
    return name


def label_of(name: str, size: tuple[int, int], findings: tuple[Finding, ...]) -> dict[str, Any]:
    """The label of a corrected photo."""
    image = {"id": 1, "file_name": f"{name}.jpg", "width": size[0], "height": size[1]}
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": category,
            "bbox": list(box),
            "attributes": ENGLISH | {"quality": "Good" if category % 10 == 1 else "Defective"} | dict(values),
        }
        for number, (category, box, values) in enumerate(findings, start=1)
    ]
    return {"info": {"reviewed_photo": "a.jpg"}, "images": [image], "annotations": annotations}
