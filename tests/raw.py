"""Small raw datasets made by hand."""

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

KOREAN = {"tank_type": "C형", "location": "내부", "sub_location": "바닥", "part": "도장", "quality": "불량"}
ENGLISH = {
    "tank_type": "C",
    "location": "Inside",
    "sub_location": "Floor",
    "part": "Coating",
    "quality": "Defective",
}


def annotation(category_id: Any = 2102, bbox: Any = (10, 20, 30, 40), **more: Any) -> dict[str, Any]:
    """One object; its metadata, if `attributes` gives no others, are Korean and of its id's quality."""
    box = list(bbox) if isinstance(bbox, tuple) else bbox
    good = str(category_id).endswith("1")
    values = KOREAN | {"quality": "정상"} if good else KOREAN
    return {"image_id": 1, "category_id": category_id, "bbox": box, "attributes": values} | more


def label(*annotations: Any, width: Any = 200, height: Any = 100, **more: Any) -> dict[str, Any]:
    """One label file of the objects of one photo."""
    image = {"id": 1, "file_name": "unused.jpg", "width": width, "height": height}
    return {"images": [image], "annotations": list(annotations), **more}


def encoded(content: Any) -> bytes:
    """A label as it lies on disk."""
    return json.dumps(content, ensure_ascii=False).encode()


def photo(width: int = 200, height: int = 100, color: Any = (90, 120, 150), form: str = "JPEG") -> bytes:
    """A photo of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), color).save(buffer, form)
    return buffer.getvalue()


def scene(seed: int, width: int = 200, height: int = 100, form: str = "JPEG", **options: Any) -> bytes:
    """A photo that looks like no other: large blots of every colour."""
    blots = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blots).resize((width, height), Image.Resampling.BICUBIC).save(buffer, form, **options)
    return buffer.getvalue()


def write(path: Path, members: Mapping[str, bytes]) -> None:
    """Files below `path`, or members of it where it is a zip."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix.lower() == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    for name, content in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
