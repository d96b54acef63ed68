"""The shapes of generic scenes: each paints itself white into a black mask of its box's size."""

import math
from collections.abc import Callable

import numpy as np
from PIL import ImageDraw

Draw = ImageDraw.ImageDraw
Random = np.random.Generator


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


STAR = [
    *[(0.5, 0), (0.62, 0.38), (1, 0.38), (0.69, 0.61), (0.81, 1)],
    *[(0.5, 0.76), (0.19, 1), (0.31, 0.61), (0, 0.38), (0.38, 0.38)],
]
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
    "star": _polygon(STAR),
}
