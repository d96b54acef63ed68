"""Drawing the 15 inspected items of the demo photos.

A drawing has the size of the item's box in photo pixels. Widths follow `Patch.unit`, so that every cue
outlives the squeeze of a 16:9 photo to 128 x 128 pixels. Items that are the whole photo are covers of
its surface instead.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from lng_kedro.aihub.patch import BACKINGS, BLACK, WHITE, Color, Patch, Point, Rng, mark_material, tint

Array = NDArray[np.float32]

W, H = 960, 540
"""Scenes are drawn at half the photo's size and enlarged: faster, and as soft as a photo is."""


def draw_item(
    label: str,
    good: bool,
    part: str,
    material: str,
    size: tuple[int, int],
    rng: Rng,
    colourless: bool = False,
) -> Image.Image:
    """Draws an item on the backing of its part.

    Args:
        label: name of a label of the taxonomy that has boxes.
        good: whether the item is in good order; only some labels can be.
        part: the taxonomy's name of the part that the item belongs to.
        material: what it is made of, a key of `patch.MATERIAL_MARKS`.
        size: width and height of the item's box in photo pixels.
        rng: source of the variation between two drawings.
        colourless: whether the item is drawn in greys. Its shape alone tells it then from a look-alike: a
            crack from a scratch, peeled from delaminated paint.
    """
    patch = Patch(*size, rng)
    BACKINGS[part](patch)
    backing = patch.image.copy()
    if label in GRADED:
        GRADED[label](patch, good)
    else:
        DEFECTS[label](patch)
    if colourless:
        drawn = ImageChops.difference(patch.image, backing).convert("L").point(lambda v: 255 if v else 0)
        patch.image.paste(patch.image.convert("L").convert("RGB"), mask=drawn)
    mark_material(patch, material)
    return patch.image


# --- items that are defective wherever they occur ---------------------------------------------------


def _blowhole(p: Patch) -> None:
    xs = np.linspace(0.04, 0.96, 30)
    for i, x in enumerate(xs):
        p.disc(p.at(float(x), 0.5), 0.3, (150, 160, 172) if i % 2 else (188, 198, 210))
    count = int(p.rng.integers(4, 7))
    for x in np.linspace(0.12, 0.88, count):
        centre = p.at(float(x + p.rng.uniform(-0.04, 0.04)), float(p.rng.uniform(0.36, 0.64)))
        radius = float(p.rng.uniform(0.1, 0.15))
        p.disc(centre, radius * 1.3, (226, 232, 240))
        p.disc(centre, radius, BLACK)


def _crack(p: Patch) -> None:
    xs = np.linspace(0, 1, 15)
    ys = np.linspace(0.2, 0.8, 15)[:: int(p.rng.choice([-1, 1]))] + p.rng.uniform(-0.13, 0.13, 15)
    ys[[0, -1]] = np.round(ys[[0, -1]])
    lines = [([p.at(float(x), float(y)) for x, y in zip(xs, ys, strict=True)], 0.085)]
    for i, tip in zip((3, 6, 8, 11), (0.0, 1.0, 0.0, 1.0), strict=True):  # branches
        x, y = float(xs[i]), float(ys[i])
        bends = ((0, 0), (0.05, 0.35), (0.03, 0.6), (0.1, 1))
        lines.append(([p.at(x + dx, y + dy * (tip - y)) for dx, dy in bends], 0.06))
    for points, width in lines:
        p.stroke([(x + 5, y + 6) for x, y in points], width, (190, 186, 180))
    for points, width in lines:
        p.stroke(points, width, BLACK)


def _sagging(p: Patch) -> None:
    paint: Color = (30, 76, 206)
    x0, y0 = p.at(0, 0)
    x1, y1 = p.at(1, 0.24)
    p.draw.rectangle((x0, y0, x1, y1), fill=paint)
    count = int(p.rng.integers(4, 6))
    for x in np.linspace(0.1, 0.9, count):
        top, end = p.at(float(x), 0.2), p.at(float(x), float(p.rng.uniform(0.5, 0.9)))
        p.stroke([top, end], 0.15, paint)
        p.disc(end, 0.095, paint)
        p.stroke([(top[0] - 6, top[1]), (end[0] - 6, end[1])], 0.045, (168, 198, 255))
    p.draw.line((x0, y0 + 8, x1, y0 + 8), fill=(150, 184, 255), width=8)


def _peeling(p: Patch) -> None:
    for x in np.linspace(0.24, 0.76, int(p.rng.integers(2, 4))):
        centre = p.at(float(x), float(p.rng.uniform(0.35, 0.65)))
        radius = (0.2 * p.width, 0.34 * p.height)
        edge = p.blob(centre, radius, 0.45)
        p.draw.polygon([(a + 7, b + 9) for a, b in edge], fill=(36, 34, 32))
        p.draw.polygon(edge, fill=(196, 84, 44))
        p.stroke([*edge, edge[0]], 0.06, (255, 240, 222))  # light, curled rim of the paint
        p.draw.polygon(p.blob(centre, (radius[0] * 0.4, radius[1] * 0.4), 0.4), fill=(150, 140, 138))


def _delamination(p: Patch) -> None:
    p.draw.polygon(p.blob(p.at(0.5, 0.5), (0.42 * p.width, 0.42 * p.height), 0.15), fill=(92, 112, 40))
    for y in (0.24, 0.5, 0.76):
        for x in np.linspace(0.18, 0.82, 4) + p.rng.uniform(-0.08, 0.08, 4):
            centre = p.at(float(x), y + float(p.rng.uniform(-0.09, 0.09)))
            radius = float(p.rng.uniform(0.09, 0.19))
            p.disc((centre[0] + 5, centre[1] + 7), radius * 1.12, (40, 52, 18))
            p.disc(centre, radius, (160, 190, 58))
            shine = 0.3 * radius * p.unit
            p.disc((centre[0] - shine, centre[1] - shine), radius * 0.45, (246, 255, 206))


def _scratch(p: Patch) -> None:
    lean = float(p.rng.uniform(0.2, 0.4) * p.rng.choice([-1, 1]))
    for x in np.linspace(0.22, 0.78, int(p.rng.integers(5, 7))):
        top, bottom = p.rng.uniform(0.0, 0.15), p.rng.uniform(0.85, 1.0)
        xs = (float(np.clip(x + lean / 2, 0, 1)), float(np.clip(x - lean / 2, 0, 1)))
        ends = [p.at(xs[0], float(top)), p.at(xs[1], float(bottom))]
        p.stroke([(a + 6, b + 3) for a, b in ends], 0.05, (40, 40, 40))
        p.stroke(ends, 0.05, WHITE)


def _insulation_damage(p: Patch) -> None:
    centre, radius = p.at(0.5, 0.5), (0.42 * p.width, 0.42 * p.height)
    p.draw.polygon(p.blob(centre, radius, 0.3, 26), fill=(255, 244, 206), outline=(190, 150, 60), width=4)
    wool = p.blob(centre, (radius[0] * 0.86, radius[1] * 0.86), 0.35, 24)
    p.draw.polygon(wool, fill=(250, 190, 10))
    hole = p.blob(centre, (radius[0] * 0.66, radius[1] * 0.66), 0.6, 14)
    p.draw.polygon(hole, fill=(58, 34, 18))
    for _ in range(110):  # torn fibres, some of them across the hole
        angle, reach = p.rng.uniform(0, 2 * np.pi), p.rng.uniform(0.4, 0.85)
        start = np.array(centre) + reach * np.array(radius) * (np.cos(angle), np.sin(angle))
        steps = p.rng.uniform(-0.13, 0.13, (2, 2)) * p.unit
        points = [start, start + steps[0], start + steps[0] + steps[1]]
        color = tint((255, 206, 40), float(p.rng.uniform(0.7, 1.1)))
        p.stroke([(float(x), float(y)) for x, y in points], 0.02, color)


DEFECTS: dict[str, Callable[[Patch], None]] = {
    "weld blowhole": _blowhole,
    "crack": _crack,
    "paint sagging": _sagging,
    "paint peeling": _peeling,
    "paint delamination": _delamination,
    "scratch": _scratch,
    "insulation damage": _insulation_damage,
}


# --- items that may be good or defective ------------------------------------------------------------


def _weld(p: Patch, good: bool) -> None:
    x = np.linspace(0.08, 0.92, 18)
    wander, sizes = np.zeros(18), np.full(18, 0.24)
    if not good:
        wander = 0.13 * np.sin(x * p.rng.uniform(7, 10)) + p.rng.uniform(-0.03, 0.03, 18)
        sizes = 0.2 + 0.08 * np.sin(x * p.rng.uniform(14, 20)) + p.rng.uniform(-0.02, 0.02, 18)
    beads = [(p.at(float(a), 0.5 + float(b)), float(s)) for a, b, s in zip(x, wander, sizes, strict=True)]
    for centre, size in beads:  # heat-affected zone; burnt-in undercut where the bead is bad
        p.disc(centre, size + 0.08, (118, 92, 84) if good else (30, 20, 18))
    for centre, size in beads:
        p.disc(centre, size, (120, 98, 60))
        p.disc(centre, size * 0.9, (238, 214, 150))
    for _ in range(0 if good else 16):  # spatter
        spot = p.at(float(p.rng.random()), float(p.rng.choice([0.03, 0.1, 0.9, 0.97])))
        p.disc(spot, float(p.rng.uniform(0.035, 0.06)), (50, 30, 20))


def _hexagon(p: Patch, centre: Point, radius: float, turn: float, color: Color) -> None:
    angles = np.linspace(0, 2 * np.pi, 6, endpoint=False) + turn
    reach = radius * p.unit
    corners = [(centre[0] + reach * float(np.cos(a)), centre[1] + reach * float(np.sin(a))) for a in angles]
    p.draw.polygon([(x + 5, y + 7) for x, y in corners], fill=(24, 24, 28))
    p.draw.polygon(corners, fill=color, outline=(70, 72, 78), width=4)
    p.disc(centre, radius * 0.55, tint(color, 0.86))


def _bolts(p: Patch, good: bool) -> None:
    p.draw.ellipse((*p.at(0, 0), *p.at(1, 1)), fill=(52, 88, 138), outline=(20, 34, 60), width=8)
    p.draw.ellipse(
        (*p.at(0.33, 0.33), *p.at(0.67, 0.67)), fill=(18, 22, 30), outline=(150, 176, 206), width=10
    )
    angles = np.linspace(0, 2 * np.pi, 6, endpoint=False) + np.pi / 6
    faulty = set() if good else set(p.rng.choice(6, 2, replace=False).tolist())
    missing = min(faulty, default=-1)
    for i, angle in enumerate(angles):
        centre = p.at(0.5 + 0.37 * float(np.cos(angle)), 0.5 + 0.37 * float(np.sin(angle)))
        if i not in faulty:
            _hexagon(p, centre, 0.13, 0.0, (228, 230, 232))
            continue
        p.disc(centre, 0.17, (206, 92, 24))  # rust around a hole or a loose bolt
        p.stroke([centre, (centre[0], centre[1] + 0.26 * p.unit)], 0.12, (206, 92, 24))
        p.disc(centre, 0.1, BLACK)
        if i != missing:
            head = (centre[0] + 0.1 * p.unit, centre[1] - 0.12 * p.unit)
            p.stroke([centre, head], 0.08, (150, 120, 96))
            _hexagon(p, head, 0.12, 0.5, (214, 150, 100))


CABLES: tuple[Color, ...] = ((236, 120, 30), (40, 130, 236), (240, 220, 60), (220, 50, 60), (226, 226, 230))


def _cable_run(p: Patch, good: bool) -> None:
    t = np.linspace(0, 1, 40)
    ends = p.rng.permutation(5)
    for i, color in enumerate(CABLES):
        start = 0.1 + 0.2 * i
        if good:
            y = np.full(40, start)
        else:  # each cable leaves the tray at another place and loops on the way
            y = start + (0.1 + 0.2 * ends[i] - start) * t
            y += 0.3 * np.sin(2 * np.pi * (p.rng.uniform(1, 1.7) * t + p.rng.random()))
        x = t if good else t + 0.1 * np.sin(2 * np.pi * (1.5 * t + p.rng.random())) * np.sin(np.pi * t)
        points = [p.at(float(a), float(b)) for a, b in zip(x, np.clip(y, 0.05, 0.95), strict=True)]
        p.tube(points, 0.13 if good else 0.1, color)


def _cable_sheath(p: Patch, good: bool) -> None:
    violet: Color = (126, 62, 190)
    p.tube([p.at(0, 0.5), p.at(1, 0.5)], 0.6, violet)
    if good:
        return
    left, right = float(p.rng.uniform(0.24, 0.34)), float(p.rng.uniform(0.66, 0.76))
    ys = np.linspace(0.14, 0.86, 7)
    cut = [p.at(left + 0.05 * (i % 2), float(y)) for i, y in enumerate(ys)]
    cut += [p.at(right - 0.05 * (i % 2), float(y)) for i, y in enumerate(ys[::-1])]
    p.draw.polygon(cut, fill=(90, 34, 6))
    for y in np.linspace(0.24, 0.76, 6):  # copper strands
        sway = float(p.rng.uniform(-0.04, 0.04))
        strand = [p.at(left + 0.04, float(y)), p.at(0.5, float(y) + sway), p.at(right - 0.04, float(y))]
        p.stroke(strand, 0.075, (238, 120, 40))
        p.stroke(strand, 0.02, (255, 196, 130))
    for x, out in ((left, -0.08), (right, 0.08)):  # flaps of the sheath, bent open
        p.draw.polygon([p.at(x, 0.16), p.at(x - out, 0.0), p.at(x + 1.4 * out, 0.04)], fill=tint(violet, 1.3))
        p.draw.polygon([p.at(x, 0.84), p.at(x - out, 1.0), p.at(x + 1.4 * out, 0.96)], fill=tint(violet, 0.8))


def _cable_binding(p: Patch, good: bool) -> None:
    t = np.linspace(0, 1, 30)
    opening = np.zeros(30) if good else 0.24 * np.clip((t - 0.3) / 0.7, 0, 1) ** 0.7
    if p.rng.random() < 0.5:
        opening = opening[::-1]
    for i, side in enumerate((-1.5, -0.5, 0.5, 1.5)):
        y = 0.5 + side * (0.13 + opening)
        points = [p.at(float(a), float(b)) for a, b in zip(t, np.clip(y, 0.04, 0.96), strict=True)]
        p.tube(points, 0.12, (44, 170, 70) if i % 2 else (30, 140, 56))
    firm = (0.12, 0.37, 0.63, 0.88) if good else ((0.12,) if opening[0] == 0 else (0.88,))
    for x in firm:
        p.stroke([p.at(x, 0.16), p.at(x, 0.84)], 0.11, WHITE)
        p.disc(p.at(x, 0.16), 0.09, WHITE)
    if not good:  # a tie that hangs open
        x = 0.5
        tie = [p.at(x - 0.14, 0.04), p.at(x - 0.02, 0.4), p.at(x + 0.08, 0.62), p.at(x + 0.26, 0.98)]
        p.stroke(tie, 0.08, WHITE)


def _cut_edge(p: Patch, good: bool) -> None:
    p.draw.rectangle((*p.at(0, 0), *p.at(1, 1)), fill=(20, 18, 26))
    xs = np.linspace(0, 1, 15)
    ys = np.full(15, 0.42)
    if not good:
        ys = np.where(np.arange(15) % 2, 0.62, 0.2) + p.rng.uniform(-0.09, 0.09, 15)
    edge = [p.at(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
    p.draw.polygon([*edge, p.at(1, 1), p.at(0, 1)], fill=(176, 190, 206))
    if good:
        for x in np.linspace(0.03, 0.97, 24):  # fine drag lines of a clean flame cut
            p.draw.line((*p.at(float(x), 0.5), *p.at(float(x), 0.68)), fill=(140, 152, 168), width=3)
    p.stroke(edge, 0.08, (248, 250, 255) if good else (226, 120, 40))
    if not good:
        for x in p.rng.uniform(0.06, 0.94, 8):  # slag hanging on the edge
            spot = p.at(float(x), float(p.rng.uniform(0.5, 0.8)))
            p.disc(spot, float(p.rng.uniform(0.05, 0.09)), (74, 40, 24))


GRADED: dict[str, Callable[[Patch, bool], None]] = {
    "welding": _weld,
    "bolt fastening": _bolts,
    "cable installation": _cable_run,
    "cable sheath": _cable_sheath,
    "cable binding": _cable_binding,
    "cutting": _cut_edge,
}


# --- items that are the whole photo -----------------------------------------------------------------


@cache
def grid() -> tuple[Array, Array]:
    """Coordinates of the half-size pixels, from 0 to 1."""
    x, y = np.linspace(0, 1, W, dtype=np.float32), np.linspace(0, 1, H, dtype=np.float32)
    return x[None, :], y[:, None]


def clouds(rng: Rng, cells: int) -> Array:
    """Smooth noise around 0, about `cells` lumps across the photo's width."""
    coarse = Image.fromarray(rng.normal(0, 1, (cells * 9 // 16 + 2, cells + 2)).astype(np.float32))
    return np.asarray(coarse.resize((W, H), Image.Resampling.BICUBIC), dtype=np.float32)


def _blend(albedo: Array, color: Color, share: Array) -> Array:
    share = np.clip(share, 0, 1)[..., None]
    return (albedo * (1 - share) + np.array(color, dtype=np.float32) * share).astype(np.float32)


def _grime(albedo: Array, rng: Rng) -> Array:
    """Dirt and rust-coloured puddles all over; the surface shows in between."""
    dirt: Array = clouds(rng, 7) + 0.6 * clouds(rng, 40)
    rust = clouds(rng, 5)
    albedo = _blend(albedo, (58, 44, 26), 0.9 * (dirt + 0.5))
    albedo = _blend(albedo, (160, 84, 24), 2.5 * (rust - 0.5))
    return _blend(albedo, (22, 20, 12), 3 * (rust - 0.95))


def _foam(albedo: Array, rng: Rng) -> Array:
    """An even coat of cream foam, ragged at the photo's border."""
    x, y = grid()
    inside = 1 - np.maximum(abs(2 * x - 1), abs(2 * y - 1)) ** 4
    coat = (4 * (inside + 0.1 * clouds(rng, 24)) - 0.9).astype(np.float32)
    albedo = _blend(albedo, (246, 228, 168), coat)
    return albedo * (1 + 0.035 * clouds(rng, 90))[..., None]


def _lumpy_foam(albedo: Array, rng: Rng) -> Array:
    """Foam with lumps, and with voids down to the surface."""
    albedo = _foam(albedo, rng)
    lumps = clouds(rng, 16)
    albedo *= (1 + 0.22 * np.clip(np.roll(lumps, (8, 8), (0, 1)) - lumps, -1.5, 1))[..., None]
    voids = clouds(rng, 13)
    albedo = _blend(albedo, (176, 122, 48), 6 * (voids - 0.62))
    return _blend(albedo, (46, 30, 16), 6 * (voids - 0.8))


COVERS: dict[tuple[str, str], Callable[[Array, Rng], Array]] = {
    ("tank cleaning", "Defective"): _grime,
    ("foam spray", "Good"): _foam,
    ("foam spray", "Defective"): _lumpy_foam,
}
