"""The structures in demo photos, one a sub-location of the tank."""

from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

from lng_kedro.aihub.items import H, W
from lng_kedro.aihub.patch import Color, Rng

Drawer = Callable[[ImageDraw.ImageDraw, Rng], None]


def _dished_end(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    cx, cy = W * float(rng.choice([0.12, 0.88])), H * float(rng.uniform(0.8, 1.05))
    for radius in range(110, 1100, 118):
        box = (cx - radius, cy - radius, cx + radius, cy + radius)
        draw.ellipse(box, outline=(16, 18, 22, 220), width=14)
        draw.ellipse(tuple(v + 10 for v in box), outline=(255, 255, 255, 130), width=7)


def _body(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    start = float(rng.uniform(0.1, 0.2))
    for y in (start, start + 0.3, start + 0.6):  # ring seams: a bright weld between two dark edges
        centre = H * y
        draw.rectangle((0, centre - 20, W, centre + 20), fill=(18, 20, 24, 220))
        draw.rectangle((0, centre - 10, W, centre + 10), fill=(214, 214, 208))
        for x in range(0, W, 14):
            draw.line((x, centre - 10, x + 5, centre + 10), fill=(160, 160, 156), width=3)


def _floor(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    horizon, vanish = H * float(rng.uniform(0.5, 0.58)), W * float(rng.uniform(0.4, 0.6))
    draw.rectangle((0, horizon, W, H), fill=(30, 22, 16, 150))
    for i in range(-9, 10):
        draw.line((vanish + 34 * i, horizon, vanish + 240 * i, H), fill=(214, 180, 130), width=7)
    for depth in (0.0, 0.12, 0.32, 0.62):
        y = horizon + (H - horizon) * depth
        draw.line((0, y, W, y), fill=(214, 180, 130), width=6 + round(7 * depth))


def _bulkhead(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    start = float(rng.uniform(20, 90))
    for left in np.arange(start, W, 176).tolist():  # stiffeners: lit face, web, shadow
        draw.rectangle((left, 0, left + 22, H), fill=(255, 224, 172, 235))
        draw.rectangle((left + 22, 0, left + 48, H), fill=(150, 112, 70, 235))
        draw.rectangle((left + 48, 0, left + 74, H), fill=(20, 14, 8, 190))


def _support(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    mirrored = bool(rng.random() < 0.5)

    def span(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return (W - right, top, W - left, bottom) if mirrored else (left, top, right, bottom)

    top = H * 0.34
    for left in (14, 146):  # two legs under a saddle
        draw.rectangle(span(left, top, left + 92, H), fill=(66, 70, 76))
        draw.rectangle(span(left + 8, top, left + 30, H), fill=(112, 118, 124))
    draw.rectangle(span(0, top - 26, 268, top + 30), fill=(52, 56, 62))
    draw.pieslice(
        span(-20, top - 110, 288, top + 58), 0, 180, fill=(84, 88, 96), outline=(30, 32, 36), width=6
    )
    draw.rectangle(span(0, H - 36, 268, H), fill=(44, 46, 52))


def _platform(draw: ImageDraw.ImageDraw, rng: Rng) -> None:
    deck = H * float(rng.uniform(0.8, 0.84))
    yellow: Color = (250, 206, 20)
    draw.rectangle((0, deck, W, H), fill=(34, 36, 40))
    for x in range(-60, W, 30):  # grating
        draw.line((x, H, x + 60, deck), fill=(122, 126, 130), width=7)
    for y in (deck - 0.3 * H, deck - 0.15 * H):
        draw.line((0, y, W, y), fill=yellow, width=17)
    for post in np.arange(float(rng.uniform(40, 120)), W, 230).tolist():
        draw.line((post, deck - 0.3 * H, post, deck), fill=yellow, width=15)
    draw.line((0, deck, W, deck), fill=yellow, width=12)


STRUCTURES: dict[str, Drawer] = {
    "Dished end": _dished_end,
    "Body": _body,
    "Floor": _floor,
    "Bulkhead": _bulkhead,
    "Support": _support,
    "Platform": _platform,
}
