"""What is behind the shapes of a generic scene."""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from lng_kedro.pretraining.shapes import Draw, Random

RGB = tuple[int, int, int]

COLOURS = {
    "red": (205, 45, 45),
    "orange": (235, 135, 35),
    "yellow": (235, 215, 70),
    "green": (60, 160, 70),
    "teal": (40, 160, 160),
    "blue": (50, 90, 205),
    "purple": (135, 65, 170),
    "brown": (125, 80, 45),
    "white": (238, 238, 232),
    "grey": (135, 138, 142),
    "black": (32, 32, 36),
}
PATTERNS = ("even", "bands", "columns", "grid", "arcs", "rays", "split", "posts", "spotlight")


def jitter(rng: Random, colour: RGB, spread: float = 14) -> RGB:
    """A colour near `colour`, by normal noise of the standard deviation `spread`."""
    shade = rng.normal(0, spread) + rng.normal(0, spread / 2, 3)
    r, g, b = np.clip(np.array(colour) + shade, 0, 255).astype(int)
    return int(r), int(g), int(b)


def draw_backdrop(rng: Random, side: int, colour: RGB, pattern: str) -> Image.Image:
    """A picture of `side` pixels: a pattern on a colour, structures from edge to edge, litter."""
    base = jitter(rng, colour)
    image = Image.new("RGB", (side, side), base)
    draw = ImageDraw.Draw(image)
    tone = jitter(rng, _shade(base, rng.uniform(0.5, 0.9)), 4)
    if rng.random() < 0.4:
        tone = jitter(rng, COLOURS[str(rng.choice(list(COLOURS)))])
    step, width = int(rng.uniform(0.08, 0.35) * side), int(rng.integers(2, 13))
    offset = int(rng.integers(0, step))
    if pattern in ("bands", "grid"):
        for y in range(offset, side, step):
            draw.line((0, y, side, y), fill=tone, width=width)
    if pattern in ("columns", "grid"):
        for x in range(offset, side, step):
            draw.line((x, 0, x, side), fill=tone, width=width)
    if pattern == "arcs":
        cx, cy = rng.uniform(-0.5, 1.5, 2) * side
        for radius in range(offset, 2 * side, step):
            draw.ellipse((cx - radius, cy - radius, cx + radius, cy + radius), outline=tone, width=width)
    if pattern == "rays":
        cx, cy = rng.uniform(-0.2, 1.2, 2) * side
        for angle in np.arange(0, 2 * math.pi, rng.uniform(0.15, 0.5)):
            end = (cx + 2 * side * math.cos(angle), cy + 2 * side * math.sin(angle))
            draw.line((cx, cy, *end), fill=tone, width=width)
    if pattern == "split":
        edge = int(rng.uniform(0.1, 0.9) * side)
        draw.rectangle((0, 0, side, edge) if rng.random() < 0.7 else (0, 0, edge, side), fill=tone)
    if pattern == "posts":
        _posts(rng, draw, side, tone)
    if pattern == "spotlight":
        image = _spotlight(rng, image)
        draw = ImageDraw.Draw(image)
    for _ in range(int(rng.choice(4, p=[0.3, 0.3, 0.25, 0.15]))):
        STRUCTURES[int(rng.integers(len(STRUCTURES)))](rng, draw, side, _any_colour(rng))
    for _ in range(int(rng.integers(0, 6))):
        _litter(rng, draw, side, base)
    return image


def _any_colour(rng: Random) -> RGB:
    return jitter(rng, COLOURS[str(rng.choice(list(COLOURS)))], 25)


def _rails(rng: Random, draw: Draw, side: int, colour: RGB) -> None:
    """Two or three bars across the picture with posts between them."""
    low, gap, width = rng.uniform(0.2, 1.0) * side, rng.uniform(0.06, 0.2) * side, int(rng.integers(3, 11))
    count = int(rng.integers(2, 4))
    for i in range(count):
        draw.line((0, low - gap * i, side, low - gap * i), fill=colour, width=width)
    for x in np.arange(rng.uniform(0, 60), side, rng.uniform(40, 120)):
        draw.line((x, low - gap * (count - 1), x, low), fill=colour, width=width)


def _floor(rng: Random, draw: Draw, side: int, colour: RGB) -> None:
    """A ground of another colour up to a horizon, perhaps with lines that meet behind it."""
    horizon, vanish = rng.uniform(0.4, 0.95) * side, rng.uniform(0.2, 0.8) * side
    draw.rectangle((0, horizon, side, side), fill=_any_colour(rng))
    if rng.random() < 0.7:
        width, spread = int(rng.integers(2, 6)), rng.uniform(4, 9)
        for i in range(-9, 10):
            draw.line((vanish + 10 * i, horizon, vanish + 10 * spread * i, side), fill=colour, width=width)
        for depth in np.linspace(0, 1, int(rng.integers(2, 6))) ** 2:
            y = horizon + (side - horizon) * depth
            draw.line((0, y, side, y), fill=colour, width=width)


def _sky(rng: Random, draw: Draw, side: int, colour: RGB) -> None:
    """Another colour above a straight or round edge."""
    edge, sag = rng.uniform(0.05, 0.4) * side, rng.uniform(0, 0.8)
    x = np.linspace(0, 1, 17)
    y = edge * (1 - sag * (1 - (2 * x - 1) ** 2))
    rim = list(zip((side * x).tolist(), y.tolist(), strict=True))
    draw.polygon([(0, 0), *rim, (side, 0)], fill=colour)
    draw.line(rim, fill=_any_colour(rng), width=int(rng.integers(1, 7)))


def _seams(rng: Random, draw: Draw, side: int, colour: RGB) -> None:
    """Straight or bent lines from edge to edge, each with a lighter or darker one beside it."""
    width, bend, beside = int(rng.integers(2, 8)), rng.normal(0, 0.15) * side, rng.uniform(0.5, 1.6)
    t = np.linspace(0, 1, 13)
    upright = rng.random() < 0.6
    for start in np.arange(rng.uniform(0, 0.2), 1, rng.uniform(0.15, 0.5)) * side:
        along, across = side * t, start + bend * np.sin(math.pi * t)
        for offset, tone in ((0, colour), (width, _shade(colour, beside))):
            x, y = (across + offset, along) if upright else (along, across + offset)
            draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=tone, width=width)


def _ribs(rng: Random, draw: Draw, side: int, colour: RGB) -> None:
    """Broad bars from edge to edge with a lit and a dark side."""
    width, upright = rng.uniform(0.02, 0.08) * side, rng.random() < 0.7
    for start in np.arange(rng.uniform(0, 0.2), 1, rng.uniform(0.15, 0.4)) * side:
        for i, shade in enumerate((1.5, 1.0, 0.4)):
            low, high = start + width * i, start + width * (i + 1)
            bar = (low, 0, high, side) if upright else (0, low, side, high)
            draw.rectangle(bar, fill=_shade(colour, shade))


def _posts(rng: Random, draw: Draw, side: int, colour: RGB) -> None:
    """Bars and a beam that come in from the picture's edges."""
    top = rng.uniform(0, 0.8) * side
    for _ in range(int(rng.integers(1, 4))):
        x, width = rng.uniform(0, side), rng.uniform(0.03, 0.16) * side
        shade = jitter(rng, colour, 20)
        draw.rectangle((x, top, x + width, side), fill=shade)
        draw.rectangle((x, top, x + width * 0.3, side), fill=_shade(shade, rng.uniform(0.6, 1.4)))
    left, right = sorted(rng.uniform(-0.3, 1.3, 2) * side)
    draw.rectangle((left, top, right, top + rng.uniform(0.03, 0.15) * side), fill=jitter(rng, colour))


STRUCTURES: tuple[Callable[[Random, Draw, int, RGB], None], ...] = (
    _posts,
    _rails,
    _floor,
    _sky,
    _seams,
    _ribs,
)
"""What stands behind the objects, from edge to edge of the picture, and is not to be found."""


def _litter(rng: Random, draw: Draw, side: int, base: RGB) -> None:
    """A line or a speck that is no object."""
    tone = jitter(rng, base, 40)
    x, y = rng.uniform(0, side, 2).tolist()
    if rng.random() < 0.6:
        draw.line((x, y, *rng.uniform(0, side, 2).tolist()), fill=tone, width=int(rng.integers(1, 5)))
    else:
        w, h = rng.uniform(2, 12, 2).tolist()
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((x, y, x + w, y + h), fill=tone)


def _spotlight(rng: Random, image: Image.Image) -> Image.Image:
    side = image.width
    cx, cy = rng.uniform(0.2, 0.8, 2) * side
    yy, xx = np.mgrid[0:side:4, 0:side:4]
    light = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (0.35 * side) ** 2)
    mask = Image.fromarray((light * 255).astype(np.uint8)).resize((side, side))
    dark = image.point(lambda value: int(value * 0.55))
    return Image.composite(image, dark, mask)


def _shade(colour: RGB, factor: float) -> RGB:
    red, green, blue = (int(min(255, c * factor)) for c in colour)
    return red, green, blue
