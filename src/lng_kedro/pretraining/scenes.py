"""Generic scenes for the demo's base model: coloured, textured shapes, bare or on plates, before patterns.

Nothing here knows LNG tanks: what the base model learns from these scenes is to see, to name what it
sees, and to say where it is.
"""

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from lng_kedro.geometry import Box, iou
from lng_kedro.pretraining.backdrop import COLOURS, PATTERNS, RGB, draw_backdrop, jitter
from lng_kedro.pretraining.shapes import SHAPES, Random

TEXTURES = ("plain", "striped", "dotted", "rough", "outlined", "rimmed")
BARE = "bare"
"""Said of a shape that lies on no plate."""
PLATE_SHARE = 0.6
MOST_OBJECTS = 4
BLACK, WHITE = (20, 20, 22), (245, 245, 240)


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
    image = draw_backdrop(rng, side, COLOURS[background], pattern)
    objects: list[SceneObject] = []
    for _ in range(rng.choice(MOST_OBJECTS + 1, p=[0.03, 0.35, 0.27, 0.2, 0.15])):
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
    turned = [
        replace(o, bbox=(width - o.bbox[2], o.bbox[1], width - o.bbox[0], o.bbox[3])) for o in scene.objects
    ]
    ordered = tuple(sorted(turned, key=lambda o: (o.bbox[1], o.bbox[0])))
    return replace(scene, image=ImageOps.mirror(scene.image), objects=ordered)


def _scaled(box: Box, factor: float) -> Box:
    return (box[0] * factor, box[1] * factor, box[2] * factor, box[3] * factor)


def _free_box(rng: Random, side: int, taken: list[Box]) -> Box | None:
    for _ in range(20):
        w, h = rng.uniform(0.13, 0.45, 2) * side
        x, y = rng.uniform(0, side - w), rng.uniform(0, side - h)
        box = (x, y, x + w, y + h)
        padded = (x - 4, y - 4, x + w + 4, y + h + 4)
        if all(iou(padded, other) == 0 for other in taken):
            return box
    return None


def _paint_object(rng: Random, image: Image.Image, box: Box, background: str) -> SceneObject:
    """Draws a shape into `box`, bare or on a plate that fills the box."""
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
    plate = _texture(rng, *size, jitter(rng, COLOURS[name]), texture, strength=0.4)
    draw = ImageDraw.Draw(plate)
    edge, width = jitter(rng, COLOURS[str(rng.choice(list(COLOURS)))]), int(rng.integers(2, 6))
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
    fill = _texture(rng, w, h, jitter(rng, COLOURS[colour]), texture)
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


def _texture(rng: Random, w: int, h: int, colour: RGB, texture: str, strength: float = 1.0) -> Image.Image:
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
