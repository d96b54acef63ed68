"""Reports made by hand, of photos drawn here."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from PIL import Image

from lng_kedro.geometry import upright_size
from lng_kedro.imaging import photo_header
from lng_kedro.inspection.record import MadeBy, PhotoReport

FIELDS = {
    "tank_type": "B",
    "location": "Outside",
    "sub_location": "Support",
    "part": "Joint",
    "quality": "Defective",
}
MADE_BY = MadeBy(
    model="tiny",
    adapter_sha256="ab" * 32,
    taxonomy_sha256="cd" * 32,
    engine="in_process",
    constrained=True,
    prompt_sha256="ef" * 32,
)
NOON = datetime(2026, 11, 26, 12, tzinfo=UTC)


def finding(label="crack", bbox=(40, 30, 120, 90), score=0.5, **other):
    return {"label": label, "bbox": list(bbox) if bbox else None, **FIELDS, "score": score, **other}


def report(photo, content, *findings, minutes=0, **other):
    """The report of a photo's bytes; its score is the least of its findings'."""
    header = photo_header(content)
    width, height = upright_size(header.width, header.height, header.orientation)
    found = {
        "photo": photo,
        "fingerprint": f"{len(content)}-0",
        "sha256": sha256(content).hexdigest(),
        "width": width,
        "height": height,
        "orientation": header.orientation,
        "findings": list(findings),
        "score": min((f["score"] for f in findings if f["score"] is not None), default=None),
        "text": "[]",
        "schema_true": True,
        "finished": True,
        "n_tokens": 7,
        "made_by": MADE_BY,
        "time": NOON + timedelta(minutes=minutes),
    }
    return PhotoReport(**found | other)


def turned(content, orientation):
    """The same stored pixels, with an EXIF that says to turn them."""
    import io

    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.save(buffer, image.format, exif=exif, quality=95)
    return buffer.getvalue()
