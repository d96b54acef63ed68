"""Drawing one demo photo: a scene that shows where it was taken, with the inspected items in it.

Every metadata value has a cue of its own that is still visible when the photo is squeezed to 128 x 128
pixels: the tank type in its seams, the location in colour and light, the sub-location in its structure,
part, material and quality in the items (`items`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from lng_kedro.aihub.items import COVERS, Array, H, W, clouds, draw_item, grid
from lng_kedro.aihub.patch import MATERIAL_MARKS, Color, Rng, tint
from lng_kedro.aihub.structures import STRUCTURES
from lng_kedro.taxonomy import Taxonomy

BoxXYWH = tuple[int, int, int, int]

WIDTH, HEIGHT = 2 * W, 2 * H

SCENES: dict[str, tuple[tuple[str, str], ...]] = {
    "B": (("Outside", "Support"),),
    "C": (
        ("Outer wall", "Dished end"),
        ("Outer wall", "Body"),
        ("Inside", "Floor"),
        ("Inside", "Bulkhead"),
        ("Outside", "Support"),
        ("Outside", "Platform"),
    ),
}
"""Tank type -> the places where its photos are taken."""

TANK_B_SHARE = 0.3
GOOD_SHARE = 0.3
GAP = 16
"""Pixels between the boxes of two items."""

PARTS: dict[str, tuple[str, ...]] = {
    "welding": ("Joint", "Base Material"),
    "weld blowhole": ("Joint", "Base Material"),
    "crack": ("Coating", "Joint", "Base Material"),
    "paint sagging": ("Coating", "Joint"),
    "paint peeling": ("Coating", "Joint"),
    "paint delamination": ("Coating", "Base Material"),
    "scratch": ("Coating", "Base Material"),
    "insulation damage": ("Insulation",),
    "tank cleaning": ("Base Material",),
    "bolt fastening": ("Joint", "Base Material", "Coating"),
    "cable installation": ("Cable", "Cable Tie"),
    "cable sheath": ("Cable", "Cable Tie"),
    "cable binding": ("Cable Tie", "Cable"),
    "cutting": ("Base Material", "Joint"),
    "foam spray": ("Insulation",),
}
"""Label -> the parts that it occurs on."""

MATERIALS: dict[str, tuple[str, ...]] = {
    "Joint": ("9% nickel steel", "Stainless steel"),
    "Base Material": ("9% nickel steel", "Stainless steel"),
    "Coating": ("9% nickel steel", "Carbon steel"),
    "Insulation": ("Polyurethane foam",),
    "Cable": ("Copper",),
    "Cable Tie": ("Copper",),
}
"""Part -> what it may be made of."""

HARD_SHARE = 0.5
"""Share of hard items at difficulty 1."""
HARD_CASES = ("small", "faint", "alike")
"""Ways in which an item is hard: its size, its contrast to the surface, colours that tell no label."""
SMALL = 0.6
FAINT = 0.5


@dataclass(frozen=True)
class RenderedObject:
    """An item in a photo, and what a report should say about it.

    `bbox` is x, y, width and height in pixels of the photo, tight around the drawing; None where the
    whole photo is the item. `attributes` holds the taxonomy's values, field by field.
    """

    category_id: int
    label: str
    bbox: BoxXYWH | None
    attributes: dict[str, str]


@dataclass(frozen=True)
class Scene:
    """Where a photo is taken."""

    tank_type: str
    location: str
    sub_location: str

    @property
    def top(self) -> float:
        """Share of the photo's height that belongs to the sky."""
        return 0.2 if self.location == "Outside" else 0.0


def render_photo(
    seed: int, category_id: int, taxonomy: Taxonomy, difficulty: float = 0.3
) -> tuple[Image.Image, list[RenderedObject]]:
    """Draws a photo of 1920 x 1080 pixels; the same arguments give the same pixels.

    Args:
        seed: which of the photos of this category.
        category_id: AI-Hub id of the first item; a negative id gives a clean surface without items.
        taxonomy: says what the id stands for.
        difficulty: from 0 (clean) to 1 (low contrast, small items, noise, clutter, half of the items hard).
    """
    rng = np.random.default_rng(np.random.SeedSequence((seed, category_id)))
    scene = _choose_scene(rng)
    boxless = category_id in taxonomy.boxless_ids
    label, quality = taxonomy.by_id.get(category_id, ("", ""))
    image = _draw_surface(scene, COVERS[label, quality] if boxless else None, difficulty, rng)
    objects: list[RenderedObject] = []
    if boxless:
        objects = [_describe(category_id, taxonomy, scene, None, rng)]
        _mark_whole(image, objects[0])
    elif label:
        ids = [category_id, *_companions(taxonomy, rng)]
        hard = [_hard_case(difficulty, rng) for _ in ids]
        boxes = _place(hard, scene, difficulty, rng)
        objects = [_describe(i, taxonomy, scene, box, rng) for i, box in zip(ids, boxes, strict=False)]
        for found, case in zip(objects, hard, strict=False):
            _paste(image, found, case, scene, rng)
    return _finish(image, difficulty, rng), objects


# --- what is in the photo -----------------------------------------------------------------------------


def _choose_scene(rng: Rng) -> Scene:
    tank = "B" if rng.random() < TANK_B_SHARE else "C"
    location, sub_location = SCENES[tank][int(rng.integers(len(SCENES[tank])))]
    return Scene(tank, location, sub_location)


def _companions(taxonomy: Taxonomy, rng: Rng) -> list[int]:
    """Ids of the further items of a photo: none in 50 %, one in 25 %, two in 15 %, three in 10 %."""
    boxed = [label for label in taxonomy.labels if label.defective_id not in taxonomy.boxless_ids]
    chosen = []
    for _ in range(int(rng.choice(4, p=(0.5, 0.25, 0.15, 0.1)))):
        label = boxed[int(rng.integers(len(boxed)))]
        good = label.good_id is not None and rng.random() < GOOD_SHARE
        chosen.append(label.good_id if good and label.good_id else label.defective_id)
    return chosen


def _hard_case(difficulty: float, rng: Rng) -> str:
    """One of `HARD_CASES`, or nothing for an item that is not made hard."""
    return str(rng.choice(HARD_CASES)) if rng.random() < HARD_SHARE * difficulty else ""


def _place(hard: list[str], scene: Scene, difficulty: float, rng: Rng) -> list[BoxXYWH]:
    """A box for each item, apart from the others; fewer where the photo has no room for another."""
    low, high = 0.22 - 0.08 * difficulty, 0.42 - 0.14 * difficulty
    boxes: list[BoxXYWH] = []
    for _ in range(60 * len(hard)):
        if len(boxes) == len(hard):
            break
        scale = SMALL if hard[len(boxes)] == "small" else 1.0
        w, h = (round(rng.uniform(low, high) * scale * side / 2) * 2 for side in (WIDTH, HEIGHT))
        x = int(rng.integers(10, (WIDTH - w) // 2 - 10)) * 2
        y = int(rng.integers(round(scene.top * HEIGHT / 2) + 8, (HEIGHT - h) // 2 - 8)) * 2
        apart = (
            x + w + GAP <= bx or bx + bw + GAP <= x or y + h + GAP <= by or by + bh + GAP <= y
            for bx, by, bw, bh in boxes
        )
        if all(apart):
            boxes.append((x, y, w, h))
    return boxes


def _describe(
    category_id: int, taxonomy: Taxonomy, scene: Scene, bbox: BoxXYWH | None, rng: Rng
) -> RenderedObject:
    label, quality = taxonomy.by_id[category_id]
    part = PARTS[label][int(rng.integers(len(PARTS[label])))]
    attributes = {
        "tank_type": scene.tank_type,
        "location": scene.location,
        "sub_location": scene.sub_location,
        "part": part,
        "quality": quality,
        "material": MATERIALS[part][int(rng.integers(len(MATERIALS[part])))],
    }
    return RenderedObject(category_id, label, bbox, attributes)


def _paste(image: Image.Image, found: RenderedObject, hard: str, scene: Scene, rng: Rng) -> None:
    assert found.bbox is not None  # noqa: S101  boxless objects are not pasted
    x, y, w, h = found.bbox
    good = found.attributes["quality"] == "Good"
    part, material = found.attributes["part"], found.attributes["material"]
    item = draw_item(found.label, good, part, material, (w, h), rng, colourless=hard == "alike").reduce(2)
    if scene.location == "Inside":
        item = Image.blend(item, Image.new("RGB", item.size, (96, 62, 30)), 0.12)
    left, top = x // 2, y // 2
    if hard == "faint":
        behind = image.crop((left, top, left + item.width, top + item.height)).reduce(8).resize(item.size)
        item = Image.blend(item, behind, FAINT)
    shadow = ImageDraw.Draw(image, "RGBA")
    shadow.rectangle((left + 4, top + 5, left + item.width + 3, top + item.height + 4), fill=(0, 0, 0, 110))
    image.paste(item, (left, top))


def _mark_whole(image: Image.Image, found: RenderedObject) -> None:
    """The material's mark of an item that is the whole photo, in the photo's lower left corner."""
    corner = [(0, H), (90, H), (0, H - 90)]
    ImageDraw.Draw(image).polygon(corner, fill=MATERIAL_MARKS[found.attributes["material"]])


# --- the surface and its cues ---------------------------------------------------------------------------


@cache
def _grain() -> NDArray[np.int16]:
    """Sensor noise with a standard deviation of 100, shared by all photos; each takes another window."""
    noise = np.random.default_rng(71690).normal(0, 100, (H + 256, W + 256, 3))
    return noise.astype(np.int16)


def _draw_surface(
    scene: Scene,
    cover: Callable[[Array, Rng], Array] | None,
    difficulty: float,
    rng: Rng,
) -> Image.Image:
    colors = SURFACES[scene.location]
    albedo = np.empty((H, W, 3), dtype=np.float32)
    albedo[:] = colors[int(rng.integers(len(colors)))]
    albedo *= (1 + 0.03 * clouds(rng, 9))[..., None]
    if cover is not None:
        albedo = cover(albedo, rng)
    shade = _light(scene, rng) * TANK_SHADES[scene.tank_type](rng)
    image = Image.fromarray(np.clip(albedo * shade[..., None], 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image, "RGBA")
    TANK_SEAMS[scene.tank_type](draw)
    STRUCTURES[scene.sub_location](draw, rng)
    if scene.top:
        _draw_sky(draw, scene, rng)
    _draw_clutter(draw, difficulty, rng)
    return image


SURFACES: dict[str, tuple[Color, ...]] = {
    "Outer wall": ((62, 92, 136), (146, 52, 48)),  # hull paint: blue-grey or marine red
    "Inside": ((204, 158, 104),),  # stainless in warm lamp light
    "Outside": ((206, 212, 214),),  # light primer in daylight
}


def _light(scene: Scene, rng: Rng) -> Array:
    """Brightness: a lamp's glow inside, a mild gradient elsewhere."""
    x, y = grid()
    if scene.location == "Inside":
        cx, cy = rng.uniform(0.25, 0.75), rng.uniform(0.1, 0.4)
        glow = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 0.16)
        return (0.36 + 0.9 * glow).astype(np.float32)
    tilt_x, tilt_y = rng.uniform(-0.16, 0.16), rng.uniform(-0.16, 0.04)
    return (1 + tilt_x * (x - 0.5) + tilt_y * (y - 0.5)).astype(np.float32)


def _flat_shade(rng: Rng) -> Array:
    """Tank B: flat plates, each reflecting a little differently."""
    plates = rng.uniform(0.86, 1.06, (3, 4)).astype(np.float32)
    return np.kron(plates, np.ones((H // 3, W // 4), dtype=np.float32))


def _round_shade(rng: Rng) -> Array:
    """Tank C: a cylinder, bright in the middle, dark towards its sides, with reflecting bands."""
    x, y = grid()
    across = x - rng.uniform(0.4, 0.6) + 0.16 * (y - 0.5) ** 2
    bands = 0.07 * np.cos(across * 2 * np.pi * 5)
    return (1.12 - 1.9 * across**2 + bands).astype(np.float32)


def _seam(draw: ImageDraw.ImageDraw, points: list[tuple[float, float]], width: int = 9) -> None:
    draw.line(points, fill=(20, 22, 26, 215), width=width, joint="curve")
    draw.line([(x + 3, y + 5) for x, y in points], fill=(255, 255, 255, 120), width=width // 2)


def _flat_seams(draw: ImageDraw.ImageDraw) -> None:
    for row in range(3):
        bottom = H // 3 * (row + 1)
        if row < 2:
            _seam(draw, [(0, bottom), (W, bottom)])
        for column in range(1, 4):
            x = W // 4 * column
            _seam(draw, [(x, bottom - H // 3), (x, bottom)])


def _round_seams(draw: ImageDraw.ImageDraw) -> None:
    t = np.linspace(0, 1, 24)
    for side in (-0.95, -0.55, 0.55, 0.95):  # meridians of the cylinder, bulging outwards
        bulge = 0.24 * side * (1 - (2 * t - 1) ** 2)
        x = W * (0.5 + 0.34 * side + bulge)
        _seam(draw, list(zip(x.tolist(), (H * t).tolist(), strict=True)))


def _draw_sky(draw: ImageDraw.ImageDraw, scene: Scene, rng: Rng) -> None:
    """Daylight above the tank, whose upper edge is straight (B) or round (C)."""
    x = np.linspace(0, 1, 33)
    sag = 0.0 if scene.tank_type == "B" else 0.5
    edge = H * scene.top * (1 - sag * (1 - (2 * x - 1) ** 2))
    rim = list(zip((W * x).tolist(), edge.tolist(), strict=True))
    blue = float(rng.uniform(0.9, 1.05))
    draw.polygon([(0, 0), *rim, (W, 0)], fill=tint((118, 186, 250), blue))
    for _ in range(3):
        cx = float(rng.uniform(0, W))
        draw.ellipse((cx, -14, cx + 150, 24), fill=(255, 255, 255, 200))
    draw.line(rim, fill=(60, 64, 70), width=8)


TANK_SHADES: dict[str, Callable[[Rng], Array]] = {"B": _flat_shade, "C": _round_shade}
TANK_SEAMS: dict[str, Callable[[ImageDraw.ImageDraw], None]] = {"B": _flat_seams, "C": _round_seams}


# --- clutter and camera -------------------------------------------------------------------------------


def _draw_clutter(draw: ImageDraw.ImageDraw, difficulty: float, rng: Rng) -> None:
    """Chalk marks, stains and tags; all smaller than any item."""
    for _ in range(round(2 + 6 * difficulty)):
        x, y = float(rng.uniform(0, W)), float(rng.uniform(0.2, 1) * H)
        kind = int(rng.integers(3))
        if kind == 0:
            points = [(x + 9 * i, y + float(rng.uniform(-7, 7))) for i in range(5)]
            draw.line(points, fill=(250, 250, 240, 170), width=3)
        elif kind == 1:
            rx, ry = rng.uniform(8, 26, 2).tolist()
            draw.ellipse((x - rx, y - ry, x + rx, y + ry), fill=(50, 40, 30, 90))
        else:
            draw.rectangle((x, y, x + 26, y + 15), fill=(238, 236, 220), outline=(60, 60, 60))


def _finish(image: Image.Image, difficulty: float, rng: Rng) -> Image.Image:
    """What the camera adds: flat contrast, blur, noise; then the photo's full size."""
    image = image.filter(ImageFilter.BoxBlur(0.4 + 0.9 * difficulty))
    pixels = np.asarray(image, dtype=np.int16)
    top, left = rng.integers(0, 256, 2)
    noise = _grain()[top : top + H, left : left + W] * np.int16(round(3 + 15 * difficulty)) // np.int16(100)
    keep = round(256 * (1 - 0.45 * difficulty))
    flat = (pixels.astype(np.int32) * keep + (256 - keep) * 118) // 256 + noise
    graded = Image.fromarray(np.clip(flat, 0, 255).astype(np.uint8))
    return graded.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
