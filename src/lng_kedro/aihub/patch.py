"""The surface that an item of a demo photo is drawn on, with the backing that shows the item's part."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw

Rng = np.random.Generator
Color = tuple[int, int, int]
Point = tuple[float, float]

BLACK: Color = (14, 12, 12)
WHITE: Color = (250, 250, 245)
MARGIN = 0.11
"""Share of each side of a box where only the backing shows."""


@dataclass
class Patch:
    """A drawing surface; items address it by fractions of the area inside the backing's margin."""

    width: int
    height: int
    rng: Rng
    image: Image.Image = field(init=False)
    draw: ImageDraw.ImageDraw = field(init=False)

    def __post_init__(self) -> None:
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw = ImageDraw.Draw(self.image)

    @property
    def unit(self) -> float:
        """Length that stays in proportion to the box whatever its aspect."""
        return min(self.width * 9 / 16, self.height) * (1 - 2 * MARGIN)

    def at(self, x: float, y: float) -> Point:
        """Fractions of the inner area -> pixels."""
        inner = 1 - 2 * MARGIN
        return (self.width * (MARGIN + inner * x), self.height * (MARGIN + inner * y))

    def disc(self, centre: Point, radius: float, fill: Color) -> None:
        """A filled circle, `radius` in units."""
        reach = radius * self.unit
        x, y = centre
        self.draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)

    def stroke(self, points: Sequence[Point], width: float, fill: Color) -> None:
        """A polyline with round joints, `width` in units."""
        self.draw.line(list(points), fill=fill, width=max(2, round(width * self.unit)), joint="curve")

    def tube(self, points: Sequence[Point], width: float, fill: Color) -> None:
        """A cable: dark outline, body, and a highlight along its upper side."""
        self.stroke(points, width * 1.3, BLACK)
        self.stroke(points, width, fill)
        lift = 0.22 * width * self.unit
        self.stroke([(x, y - lift) for x, y in points], width * 0.25, tint(fill, 1.0, 80))

    def blob(self, centre: Point, radius: Point, ragged: float, corners: int = 18) -> list[Point]:
        """An irregular closed outline; `radius` in pixels along x and y."""
        angles = np.linspace(0, 2 * np.pi, corners, endpoint=False)
        reach = 1 - ragged * self.rng.random(corners)
        xs = centre[0] + radius[0] * reach * np.cos(angles)
        ys = centre[1] + radius[1] * reach * np.sin(angles)
        return list(zip(xs.tolist(), ys.tolist(), strict=True))


def tint(color: Color, gain: float, offset: float = 0.0) -> Color:
    """A colour made brighter or darker."""
    red, green, blue = (int(min(255, max(0, c * gain + offset))) for c in color)
    return (red, green, blue)


def _fill(p: Patch, color: Color, streak: int) -> None:
    """A plain backing with horizontal brush marks as strong as `streak`."""
    p.draw.rectangle((0, 0, p.width, p.height), fill=color)
    for y in range(0, p.height, 8):
        shade = tint(color, 1.0, float(p.rng.integers(-streak, streak + 1)))
        p.draw.line((0, y, p.width, y), fill=shade, width=6)


def _joint(p: Patch) -> None:
    _fill(p, (205, 208, 212), 8)
    band = round(0.5 * MARGIN * p.height)
    for y in (band // 2, p.height - band // 2):  # heat tint on both sides of the weld
        p.draw.line((0, y, p.width, y), fill=(196, 110, 40), width=band)
        inner = y + band if y < p.height / 2 else y - band
        p.draw.line((0, inner, p.width, inner), fill=(96, 104, 170), width=band // 2)


def _coating(p: Patch) -> None:
    _fill(p, (42, 142, 112), 3)
    p.draw.rectangle((0, 0, p.width - 1, p.height - 1), outline=(30, 104, 84), width=6)


def _base_material(p: Patch) -> None:
    _fill(p, (112, 114, 118), 14)


def _insulation(p: Patch) -> None:
    _fill(p, (240, 214, 130), 8)
    step = max(40, round(0.3 * p.unit))
    for offset in range(-p.height, p.width, step):  # quilting of the mat
        p.draw.line((offset, p.height, offset + p.height, 0), fill=(214, 180, 92), width=5)


def _cable_tray(p: Patch) -> None:
    _fill(p, (40, 42, 50), 3)
    for x in range(16, p.width, 48):  # rungs of the tray
        p.draw.line((x, 0, x, p.height), fill=(58, 60, 70), width=10)


def _cable_ties(p: Patch) -> None:
    _fill(p, (40, 42, 50), 3)
    reach = round(0.8 * MARGIN * p.height)
    for x in range(14, p.width, 44):  # rows of white ties along both edges of the tray
        p.draw.line((x, 0, x, reach), fill=WHITE, width=20)
        p.draw.line((x, p.height - reach, x, p.height), fill=WHITE, width=20)


MATERIAL_MARKS: dict[str, Color] = {
    "9% nickel steel": (255, 220, 0),
    "Stainless steel": (255, 60, 200),
    "Carbon steel": (120, 60, 20),
    "Polyurethane foam": (60, 220, 220),
    "Copper": (240, 110, 40),
}
"""Colour of the paint mark that tells a material, as steel yards paint it."""


def mark_material(p: Patch, material: str) -> None:
    """Paints the material's mark into the upper left corner of the backing."""
    side = 0.24 * p.unit
    p.draw.polygon([(0, 0), (side, 0), (0, side)], fill=MATERIAL_MARKS[material], outline=BLACK)


BACKINGS: dict[str, Callable[[Patch], None]] = {
    "Joint": _joint,
    "Coating": _coating,
    "Base Material": _base_material,
    "Insulation": _insulation,
    "Cable": _cable_tray,
    "Cable Tie": _cable_ties,
}
