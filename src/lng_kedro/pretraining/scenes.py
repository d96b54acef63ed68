"""Generic scenes for the demo's base model: coloured, textured shapes, bare or on plates, before patterns.

Nothing here knows LNG tanks: what the base model learns from these scenes is to see, to name what it
sees, and to say where it is.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

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
TEXTURES = ("plain", "striped", "dotted", "rough", "outlined", "rimmed")
PATTERNS = ("even", "bands", "columns", "grid", "arcs", "rays", "split", "posts", "spotlight")
BARE = "bare"
"""Said of a shape that lies on no plate."""
PLATE_SHARE = 0.6
BLACK, WHITE = (20, 20, 22), (245, 245, 240)

Draw = ImageDraw.ImageDraw
Random = np.random.Generator


@dataclass(frozen=True)
class SceneObject:
    """One shape of a scene: its box in pixels of the scene and its names.

    The box of a shape on a plate is the plate's; `plate` is the plate's colour or `BARE`.
    """

    bbox: Box
    colour: str
    shape: str
    texture: str
    plate: str


@dataclass(frozen=True)
class Scene:
    """A picture, the shapes in it and the names of its background."""

    image: Image.Image
    objects: tuple[SceneObject, ...]
    background: str
    pattern: str


def draw_scene(rng: Random, size: int) -> Scene:
    """A random scene of up to four shapes that do not overlap, drawn `size` pixels square."""
    scale = 2
    side = size * scale
    background, pattern = str(rng.choice(list(COLOURS))), str(rng.choice(PATTERNS))
    image = _background(rng, side, COLOURS[background], pattern)
    objects: list[SceneObject] = []
    for _ in range(rng.choice(5, p=[0.03, 0.35, 0.27, 0.2, 0.15])):
        box = _free_box(rng, side, [o.bbox for o in objects])
        if box is None:
            break
        objects.append(_paint_object(rng, image, box, background))
    image = _camera(rng, image, size)
    ordered = sorted(objects, key=lambda o: (o.bbox[1], o.bbox[0]))
    scaled = (replace(o, bbox=_scaled(o.bbox, 1 / scale)) for o in ordered)
    return Scene(image, tuple(scaled), background, pattern)


def mirrored(scene: Scene) -> Scene:
    """The scene seen in a mirror; its names stay."""
    width = scene.image.width
    turned = [replace(o, bbox=(width - o.bbox[2], o.bbox[1], width - o.bbox[0], o.bbox[3])) for o in scene.objects]
    ordered = tuple(sorted(turned, key=lambda o: (o.bbox[1], o.bbox[0])))
    return replace(scene, image=ImageOps.mirror(scene.image), objects=ordered)


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
    tone = _jitter(rng, _shade(base, rng.uniform(0.5, 0.9)), 4)
    if rng.random() < 0.4:
        tone = _jitter(rng, COLOURS[str(rng.choice(list(COLOURS)))])
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


def _any_colour(rng: Random) -> tuple[int, int, int]:
    return _jitter(rng, COLOURS[str(rng.choice(list(COLOURS)))], 25)


def _rails(rng: Random, draw: Draw, side: int, colour: tuple[int, int, int]) -> None:
    """Two or three bars across the picture with posts between them."""
    low, gap, width = rng.uniform(0.2, 1.0) * side, rng.uniform(0.06, 0.2) * side, int(rng.integers(3, 11))
    count = int(rng.integers(2, 4))
    for i in range(count):
        draw.line((0, low - gap * i, side, low - gap * i), fill=colour, width=width)
    for x in np.arange(rng.uniform(0, 60), side, rng.uniform(40, 120)):
        draw.line((x, low - gap * (count - 1), x, low), fill=colour, width=width)


def _floor(rng: Random, draw: Draw, side: int, colour: tuple[int, int, int]) -> None:
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


def _sky(rng: Random, draw: Draw, side: int, colour: tuple[int, int, int]) -> None:
    """Another colour above a straight or round edge."""
    edge, sag = rng.uniform(0.05, 0.4) * side, rng.uniform(0, 0.8)
    x = np.linspace(0, 1, 17)
    y = edge * (1 - sag * (1 - (2 * x - 1) ** 2))
    rim = list(zip((side * x).tolist(), y.tolist(), strict=True))
    draw.polygon([(0, 0), *rim, (side, 0)], fill=colour)
    draw.line(rim, fill=_any_colour(rng), width=int(rng.integers(1, 7)))


def _seams(rng: Random, draw: Draw, side: int, colour: tuple[int, int, int]) -> None:
    """Straight or bent lines from edge to edge, each with a lighter or darker one beside it."""
    width, bend, beside = int(rng.integers(2, 8)), rng.normal(0, 0.15) * side, rng.uniform(0.5, 1.6)
    t = np.linspace(0, 1, 13)
    upright = rng.random() < 0.6
    for start in np.arange(rng.uniform(0, 0.2), 1, rng.uniform(0.15, 0.5)) * side:
        along, across = side * t, start + bend * np.sin(math.pi * t)
        for offset, tone in ((0, colour), (width, _shade(colour, beside))):
            x, y = (across + offset, along) if upright else (along, across + offset)
            draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=tone, width=width)


def _ribs(rng: Random, draw: Draw, side: int, colour: tuple[int, int, int]) -> None:
    """Broad bars from edge to edge with a lit and a dark side."""
    width, upright = rng.uniform(0.02, 0.08) * side, rng.random() < 0.7
    for start in np.arange(rng.uniform(0, 0.2), 1, rng.uniform(0.15, 0.4)) * side:
        for i, shade in enumerate((1.5, 1.0, 0.4)):
            low, high = start + width * i, start + width * (i + 1)
            bar = (low, 0, high, side) if upright else (0, low, side, high)
            draw.rectangle(bar, fill=_shade(colour, shade))


def _posts(rng: Random, draw: Draw, side: int, colour: tuple[int, int, int]) -> None:
    """Bars and a beam that come in from the picture's edges."""
    top = rng.uniform(0, 0.8) * side
    for _ in range(int(rng.integers(1, 4))):
        x, width = rng.uniform(0, side), rng.uniform(0.03, 0.16) * side
        shade = _jitter(rng, colour, 20)
        draw.rectangle((x, top, x + width, side), fill=shade)
        draw.rectangle((x, top, x + width * 0.3, side), fill=_shade(shade, rng.uniform(0.6, 1.4)))
    left, right = sorted(rng.uniform(-0.3, 1.3, 2) * side)
    draw.rectangle((left, top, right, top + rng.uniform(0.03, 0.15) * side), fill=_jitter(rng, colour))


STRUCTURES: tuple[Callable[[Random, Draw, int, tuple[int, int, int]], None], ...] = (
    _posts,
    _rails,
    _floor,
    _sky,
    _seams,
    _ribs,
)
"""What stands behind the objects, from edge to edge of the picture, and is not to be found."""


def _litter(rng: Random, draw: Draw, side: int, base: tuple[int, int, int]) -> None:
    """A line or a speck that is no object."""
    tone = _jitter(rng, base, 40)
    x, y = rng.uniform(0, side, 2).tolist()
    if rng.random() < 0.6:
        draw.line((x, y, *rng.uniform(0, side, 2).tolist()), fill=tone, width=int(rng.integers(1, 5)))
    else:
        w, h = rng.uniform(2, 12, 2).tolist()
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)((x, y, x + w, y + h), fill=tone)


def _shade(colour: tuple[int, int, int], factor: float) -> tuple[int, int, int]:
    red, green, blue = (int(min(255, c * factor)) for c in colour)
    return red, green, blue


def _spotlight(rng: Random, image: Image.Image) -> Image.Image:
    side = image.width
    cx, cy = rng.uniform(0.2, 0.8, 2) * side
    yy, xx = np.mgrid[0:side:4, 0:side:4]
    light = np.exp(-((xx - cx) ** 2 + (yy - cy) ** 2) / (0.35 * side) ** 2)
    mask = Image.fromarray((light * 255).astype(np.uint8)).resize((side, side))
    dark = image.point(lambda value: int(value * 0.55))
    return Image.composite(image, dark, mask)


def _paint_object(rng: Random, image: Image.Image, box: Box, background: str) -> SceneObject:
    """Draws a shape into `box`, bare or on a plate that fills the box; its box is tight around the drawing."""
    left, top, right, bottom = (int(side) for side in box)
    plate = BARE
    inner = (left, top, right, bottom)
    if rng.random() < PLATE_SHARE:
        plate = str(rng.choice([c for c in COLOURS if c != background]))
        _paint_plate(rng, image, inner, plate)
        x, y = (int(rng.uniform(0.05, 0.16) * length) for length in (right - left, bottom - top))
        inner = (left + x, top + y, right - x, bottom - y)
    colour = str(rng.choice([c for c in COLOURS if c not in (background, plate)]))
    shape, texture = str(rng.choice(list(SHAPES))), str(rng.choice(TEXTURES))
    drawn = _paint_shape(rng, image, inner, colour, shape, texture)
    tight = drawn if plate == BARE else (float(left), float(top), float(right), float(bottom))
    return SceneObject(tight, colour, shape, texture, plate)


def _paint_plate(rng: Random, image: Image.Image, box: tuple[int, int, int, int], name: str) -> None:
    left, top, right, bottom = box
    size = (right - left, bottom - top)
    texture = str(rng.choice(["plain", "plain", "striped", "dotted", "rough"]))
    plate = _texture(rng, *size, _jitter(rng, COLOURS[name]), texture, strength=0.4)
    draw = ImageDraw.Draw(plate)
    edge, width = _jitter(rng, COLOURS[str(rng.choice(list(COLOURS)))]), int(rng.integers(2, 6))
    kind = rng.random()
    if kind < 0.25:
        draw.rectangle((0, 0, size[0] - 1, size[1] - 1), outline=edge, width=width)
    elif kind < 0.45:
        for y in (width, size[1] - 1 - width):
            draw.line((0, y, size[0], y), fill=edge, width=width)
    image.paste(plate, (left, top))


def _paint_shape(
    rng: Random, image: Image.Image, box: tuple[int, int, int, int], colour: str, shape: str, texture: str
) -> Box:
    """Draws one shape inside `box` and returns the tight box of what was drawn."""
    left, top = box[:2]
    w, h = box[2] - left, box[3] - top
    mask = Image.new("L", (w, h), 0)
    SHAPES[shape](rng, ImageDraw.Draw(mask), w, h)
    fill = _texture(rng, w, h, _jitter(rng, COLOURS[colour]), texture)
    if texture in ("outlined", "rimmed"):
        # Padded, so that a shape that fills its box is eroded at the box's sides too.
        inside = ImageOps.expand(mask, 4).filter(ImageFilter.MinFilter(7)).crop((4, 4, w + 4, h + 4))
        rim = ImageChops.subtract(mask, inside)
        if texture == "outlined":
            mask = rim
        else:
            fill.paste(BLACK if sum(COLOURS[colour]) > 300 else WHITE, (0, 0), rim)
    image.paste(fill, (left, top), mask)
    tight = mask.getbbox() or (0, 0, w, h)
    return (left + tight[0], top + tight[1], left + tight[2], top + tight[3])


def _texture(
    rng: Random, w: int, h: int, colour: tuple[int, int, int], texture: str, strength: float = 1.0
) -> Image.Image:
    fill = Image.new("RGB", (w, h), colour)
    draw = ImageDraw.Draw(fill)
    sign = -strength if sum(colour) > 380 else strength
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
        noise = rng.normal(0, 28 * strength, (h // 3 + 1, w // 3 + 1, 1))
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


def _beads(rng: Random, draw: Draw, w: int, h: int) -> None:
    r = min(h / 2 - 1, w / 5)
    for x in np.linspace(r, w - 1 - r, int(rng.integers(4, 7))):
        y = h / 2 + rng.uniform(-1, 1) * max(0.0, h / 2 - r - 1)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=255)
        draw.arc((x - r, y - r, x + r, y + r), 60, 300, fill=0, width=2)


def _target(rng: Random, draw: Draw, w: int, h: int) -> None:
    for i, fill in enumerate((255, 0, 255, 0)[: int(rng.integers(2, 5)) // 2 * 2]):
        x, y = w * 0.13 * i, h * 0.13 * i
        draw.ellipse((x, y, w - 1 - x, h - 1 - y), fill=fill)
    draw.ellipse((w * 0.4, h * 0.4, w * 0.6, h * 0.6), fill=255)


def _wheel(rng: Random, draw: Draw, w: int, h: int) -> None:
    draw.ellipse((0, 0, w - 1, h - 1), fill=255)
    r = 0.09 * min(w, h) + 1
    for angle in np.linspace(0, 2 * math.pi, int(rng.integers(4, 8)), endpoint=False):
        x, y = w / 2 + w * 0.33 * math.cos(angle), h / 2 + h * 0.33 * math.sin(angle)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=0)


def _wave(rng: Random, draw: Draw, w: int, h: int) -> None:
    x = np.linspace(3, w - 4, 40)
    y = h / 2 + (h / 2 - 5) * np.sin(np.linspace(0, rng.uniform(2, 4) * math.pi, 40) + rng.uniform(0, 6))
    draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=255, width=7, joint="curve")


def _hatch(rng: Random, draw: Draw, w: int, h: int) -> None:
    count, slant = int(rng.integers(4, 7)), rng.choice([-1, 1]) * rng.uniform(0.1, 0.4) * w
    low, high = max(0.0, slant), w - 1 + min(0.0, slant)
    for x in np.linspace(low + 2, high - 2, count):
        draw.line((x, 0, x - slant, h - 1), fill=255, width=4)


def _burst(rng: Random, draw: Draw, w: int, h: int) -> None:
    count = int(rng.integers(6, 11)) * 2
    points = []
    for i, angle in enumerate(np.linspace(0, 2 * math.pi, count, endpoint=False) + rng.uniform(0, 1)):
        r = 0.5 if i % 2 else rng.uniform(0.2, 0.3)
        points.append((w / 2 + (w - 2) * r * math.cos(angle), h / 2 + (h - 2) * r * math.sin(angle)))
    draw.polygon(points, fill=255)


def _ladder(rng: Random, draw: Draw, w: int, h: int) -> None:
    for y in (h * 0.15, h * 0.85):
        draw.line((0, y, w - 1, y), fill=255, width=4)
    for x in np.linspace(3, w - 4, int(rng.integers(4, 7))):
        draw.line((x, 0, x, h - 1), fill=255, width=5)


def _checker(rng: Random, draw: Draw, w: int, h: int) -> None:
    n, m = int(rng.integers(3, 5)), int(rng.integers(3, 5))
    for i in range(n):
        for j in range(m):
            if (i + j) % 2 == 0:
                draw.rectangle((w * i / n, h * j / m, w * (i + 1) / n - 1, h * (j + 1) / m - 1), fill=255)


def _rags(rng: Random, draw: Draw, w: int, h: int) -> None:
    """Two or three ragged blobs side by side."""
    count = int(rng.integers(2, 4))
    for i in range(count):
        left, right = w * i / count, w * (i + 1) / count
        angles = np.linspace(0, 2 * math.pi, 16, endpoint=False)
        radii = rng.uniform(0.5, 1.0, 16)
        draw.polygon(
            [
                ((left + right) / 2 + (right - left) / 2.1 * r * math.cos(a), h / 2 * (1 + r * math.sin(a)))
                for a, r in zip(angles, radii, strict=True)
            ],
            fill=255,
        )


def _slot(rng: Random, draw: Draw, w: int, h: int) -> None:
    """Two bars with a gap between them."""
    edge = rng.uniform(0.25, 0.4) * h
    draw.rectangle((0, 0, w - 1, edge), fill=255)
    draw.rectangle((0, h - 1 - edge, w - 1, h - 1), fill=255)


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
    "beads": _beads,
    "target": _target,
    "wheel": _wheel,
    "wave": _wave,
    "hatch": _hatch,
    "burst": _burst,
    "ladder": _ladder,
    "checker": _checker,
    "rags": _rags,
    "slot": _slot,
    "arrow": _polygon([(0, 0.3), (0.6, 0.3), (0.6, 0), (1, 0.5), (0.6, 1), (0.6, 0.7), (0, 0.7)]),
    "star": _polygon(
        [(0.5, 0), (0.62, 0.38), (1, 0.38), (0.69, 0.61), (0.81, 1), (0.5, 0.76), (0.19, 1), (0.31, 0.61)]
        + [(0, 0.38), (0.38, 0.38)]
    ),
}
