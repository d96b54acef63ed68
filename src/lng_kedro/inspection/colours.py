"""A colour for each label, the same on the review page and in the labelling tool."""

from colorsys import hls_to_rgb

from lng_kedro.taxonomy import Taxonomy

_GOLDEN = 0.618034
_SATURATION = 0.78
_DARK = 1.05 / 4.5 - 0.05
"""Luminance up to which white text has a contrast of 4.5 (WCAG 2.1)."""


def label_colours(taxonomy: Taxonomy) -> dict[str, str]:
    """Label -> ``#rrggbb``; white text can be read on each, and neighbours of the taxonomy differ most."""
    return {name: _colour((i * _GOLDEN) % 1) for i, name in enumerate(taxonomy.label_names)}


def _colour(hue: float) -> str:
    shades = (hls_to_rgb(hue, percent / 100, _SATURATION) for percent in range(42, 0, -1))
    shade = next(rgb for rgb in shades if _luminance(*rgb) < _DARK)
    return "#" + "".join(f"{int(255 * part):02x}" for part in shade)


def _luminance(red: float, green: float, blue: float) -> float:
    r, g, b = (p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in (red, green, blue))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
