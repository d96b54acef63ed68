"""Generic scenes for the demo's base model: coloured, textured shapes on patterned backgrounds.

Nothing here knows LNG tanks: what the base model learns from these scenes is to see, to name what it
sees, and to say where it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from lng_kedro.geometry import Box, iou

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
TEXTURES = ("plain", "striped", "dotted", "rough", "outlined")
PATTERNS = ("even", "bands", "columns", "grid", "arcs", "split", "spotlight")

Draw = ImageDraw.ImageDraw
Random = np.random.Generator


@dataclass(frozen=True)
class SceneObject:
    """One shape of a scene: its box in pixels of the scene and its names."""

    bbox: Box
    colour: str
    shape: str
    texture: str


@dataclass(frozen=True)
class Scene:
    """A picture, the shapes in it and the names of its background."""

    image: Image.Image
    objects: tuple[SceneObject, ...]
    background: str
    pattern: str


def draw_scene(rng: Random, size: int) -> Scene:
    """A random scene of up to three shapes that do not overlap, drawn `size` pixels square."""
    scale = 2
    side = size * scale
    background, pattern = str(rng.choice(list(COLOURS))), str(rng.choice(PATTERNS))
    image = _background(rng, side, COLOURS[background], pattern)
    objects: list[SceneObject] = []
    for _ in range(rng.choice(4, p=[0.04, 0.5, 0.28, 0.18])):
        box = _free_box(rng, side, [o.bbox for o in objects])
        if box is None:
            break
        colour = str(rng.choice([c for c in COLOURS if c != background]))
        shape, texture = str(rng.choice(list(SHAPES))), str(rng.choice(TEXTURES))
        drawn = _paint_object(rng, image, box, COLOURS[colour], shape, texture)
        objects.append(SceneObject(drawn, colour, shape, texture))
    image = _camera(rng, image, size)
    objects = [
        SceneObject(_scaled(o.bbox, 1 / scale), o.colour, o.shape, o.texture)
        for o in sorted(objects, key=lambda o: (o.bbox[1], o.bbox[0]))
    ]
    return Scene(image, tuple(objects), background, pattern)


def _scaled(box: Box, factor: float) -> Box:
    return (box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor)


def _jitter(rng: Random, colour: tuple[int, int, int], spread: float = 14) -> tuple[int, int, int]:
    shade = rng.normal(0, spread) + rng.normal(0, spread / 2, 3)
    r, g, b = np.clip(np.array(colour) + shade, 0, 255).astype(int)
    return int(r), int(g), int(b)


def _free_box(rng: Random, side: int, taken: list[Box]) -> Box | None:
    for _ in range(20):
        w, h = rng.uniform(0.13, 0.45, 2) * side
        x, y = rng.uniform(0, side - w), rng.uniform(0, side - h)
        box = (x, y, x + w, y + h)
        padded = (x - 4, y - 4, x + w + 4, y + h + 4)
        if all(iou(padded, other) == 0 for other in taken):
            return box
    return None


def _background(rng: Random, side: int, colour: tuple[int, int, int], pattern: str) -> Image.Image:
    base = _jitter(rng, colour)
    image = Image.new("RGB", (side, side), base)
    draw = ImageDraw.Draw(image)
    red, green, blue = (int(c * rng.uniform(0.7, 0.9)) for c in base)
    tone = _jitter(rng, (red, green, blue), 4)
    step, width = int(rng.uniform(0.08, 0.25) * side), int(rng.integers(2, 9))
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
    if pattern == "split":
        edge = int(rng.uniform(0.15, 0.85) * side)
        part = (0, 0, side, edge) if rng.random() < 0.5 else (0, 0, edge, side)
        draw.rectangle(part, fill=_jitter(rng, tone, 40))
    if pattern == "spotlight":
        return _spotlight(rng, image)
    for _ in range(int(rng.integers(0, 4))):
        ends = rng.uniform(0, side, 4).tolist()
        draw.line(ends, fill=_jitter(rng, base, 30), width=int(rng.integers(1, 4)))
    return image


def _spotlight(rng: Random, image: Image.Image) -> Image.Image:
    side = image.width
    cx, cy = rng.uniform(0.2, 0.8, 2) * side
    yy, xx = np.mgrid[0:side:4, 0:side:4]
    light = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (0.35 * side) ** 2)
    mask = Image.fromarray((light * 255).astype(np.uint8)).resize((side, side))
    dark = image.point(lambda value: int(value * 0.55))
    return Image.composite(image, dark, mask)


def _paint_object(
    rng: Random, image: Image.Image, box: Box, colour: tuple[int, int, int], shape: str, texture: str
) -> Box:
    """Draws one shape inside `box` and returns the tight box of what was drawn."""
    left, top = int(box[0]), int(box[1])
    w, h = int(box[2] - box[0]), int(box[3] - box[1])
    mask = Image.new("L", (w, h), 0)
    SHAPES[shape](rng, ImageDraw.Draw(mask), w, h)
    if texture == "outlined":
        # Padded, so that a shape that fills its box is eroded at the box's sides too.
        inner = ImageOps.expand(mask, 5).filter(ImageFilter.MinFilter(9)).crop((5, 5, w + 5, h + 5))
        mask = ImageChops.subtract(mask, inner)
    fill = _texture(rng, w, h, _jitter(rng, colour), texture)
    image.paste(fill, (left, top), mask)
    tight = mask.getbbox() or (0, 0, w, h)
    return (left + tight[0], top + tight[1], left + tight[2], top + tight[3])


def _texture(rng: Random, w: int, h: int, colour: tuple[int, int, int], texture: str) -> Image.Image:
    fill = Image.new("RGB", (w, h), colour)
    draw = ImageDraw.Draw(fill)
    sign = -1 if sum(colour) > 380 else 1
    contrast = tuple(int(np.clip(c + sign * rng.uniform(55, 90), 0, 255)) for c in colour)
    step = int(rng.integers(8, 15))
    if texture == "striped":
        slant = int(rng.integers(-20, 20))
        for x in range(-20, w + 20, step):
            draw.line((x, 0, x + slant, h), fill=contrast, width=3)
    if texture == "dotted":
        for y in range(3, h, step):
            for x in range(3, w, step):
                draw.ellipse((x, y, x + 4, y + 4), fill=contrast)
    if texture == "rough":
        noise = rng.normal(0, 28, (h // 3 + 1, w // 3 + 1, 1))
        rough = Image.fromarray(np.clip(noise + np.array(colour), 0, 255).astype(np.uint8))
        fill = rough.resize((w, h), Image.Resampling.NEAREST)
    return fill


def _camera(rng: Random, image: Image.Image, size: int) -> Image.Image:
    small = image.resize((size, size), Image.Resampling.BOX)
    gradient = np.linspace(rng.uniform(0.75, 1.1), rng.uniform(0.75, 1.1), size)
    light = gradient[:, None, None] if rng.random() < 0.5 else gradient[None, :, None]
    noise = rng.normal(0, rng.uniform(0, 9), (size, size, 1))
    return Image.fromarray(np.clip(np.asarray(small) * light + noise, 0, 255).astype(np.uint8))


def _polygon(points: list[tuple[float, float]]) -> Callable[[Random, Draw, int, int], None]:
    def paint(rng: Random, draw: Draw, w: int, h: int) -> None:
        draw.polygon([(x * (w - 1), y * (h - 1)) for x, y in points], fill=255)

    return paint


def _disc(rng: Random, draw: Draw, w: int, h: int) -> None:
    draw.ellipse((0, 0, w - 1, h - 1), fill=255)


def _ring(rng: Random, draw: Draw, w: int, h: int) -> None:
    draw.ellipse((0, 0, w - 1, h - 1), outline=255, width=max(4, min(w, h) // 4))


def _cross(rng: Random, draw: Draw, w: int, h: int) -> None:
    draw.rectangle((w * 0.35, 0, w * 0.65, h - 1), fill=255)
    draw.rectangle((0, h * 0.35, w - 1, h * 0.65), fill=255)


def _strokes(rng: Random, draw: Draw, w: int, h: int) -> None:
    for _ in range(int(rng.integers(4, 8))):
        x0, x1 = rng.uniform(0, w, 2)
        draw.line((x0, 0, x1, h - 1), fill=255, width=3)


def _zigzag(rng: Random, draw: Draw, w: int, h: int) -> None:
    xs = np.linspace(2, w - 3, int(rng.integers(5, 9)))
    ys = [rng.uniform(0, h * 0.35) if i % 2 else rng.uniform(h * 0.65, h - 1) for i in range(len(xs))]
    draw.line(list(zip(xs.tolist(), ys, strict=True)), fill=255, width=5, joint="curve")


def _branch(rng: Random, draw: Draw, w: int, h: int) -> None:
    x, y, points = w * 0.5, 0.0, []
    while y < h:
        points.append((x, y))
        x, y = float(np.clip(x + rng.normal(0, w * 0.18), 2, w - 3)), y + h / 7
    draw.line(points, fill=255, width=4)
    for px, py in points[1::2]:
        draw.line((px, py, px + rng.choice([-1, 1]) * w * 0.4, py + h * 0.15), fill=255, width=3)


def _blob(rng: Random, draw: Draw, w: int, h: int) -> None:
    angles = np.linspace(0, 2 * math.pi, 14, endpoint=False)
    radii = rng.uniform(0.55, 1.0, 14)
    points = [
        (w / 2 * (1 + r * math.cos(a)), h / 2 * (1 + r * math.sin(a)))
        for a, r in zip(angles, radii, strict=True)
    ]
    draw.polygon(points, fill=255)


def _dots(rng: Random, draw: Draw, w: int, h: int) -> None:
    for _ in range(int(rng.integers(6, 12))):
        r = rng.uniform(0.06, 0.13) * min(w, h) + 2
        x, y = rng.uniform(r, max(r + 1, w - r)), rng.uniform(r, max(r + 1, h - r))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=255)


def _drops(rng: Random, draw: Draw, w: int, h: int) -> None:
    draw.rectangle((0, 0, w - 1, h * 0.25), fill=255)
    for x in np.linspace(4, w - 5, 5):
        end = rng.uniform(0.5, 1.0) * h
        draw.rounded_rectangle((x - w * 0.05 - 2, 0, x + w * 0.05 + 2, end), radius=5, fill=255)


def _bundle(rng: Random, draw: Draw, w: int, h: int) -> None:
    for y in np.linspace(3, h - 4, 4):
        draw.line((0, y, w - 1, y), fill=255, width=max(4, h // 9))


SHAPES: dict[str, Callable[[Random, Draw, int, int], None]] = {
    "disc": _disc,
    "square": _polygon([(0, 0), (1, 0), (1, 1), (0, 1)]),
    "triangle": _polygon([(0.5, 0), (1, 1), (0, 1)]),
    "hexagon": _polygon([(0.25, 0), (0.75, 0), (1, 0.5), (0.75, 1), (0.25, 1), (0, 0.5)]),
    "saw": _polygon([(0, 0), (0.2, 0.5), (0.4, 0), (0.6, 0.5), (0.8, 0), (1, 0.5), (1, 1), (0, 1)]),
    "ring": _ring,
    "cross": _cross,
    "strokes": _strokes,
    "zigzag": _zigzag,
    "branch": _branch,
    "blob": _blob,
    "dots": _dots,
    "drops": _drops,
    "bundle": _bundle,
}
