"""A colour for each label, the same on the review page and in the labelling tool."""

from colorsys import hls_to_rgb

from lng_kedro.taxonomy import Taxonomy

_GOLDEN = 0.618034
_LIGHTNESS, _SATURATION = 0.38, 0.78


def label_colours(taxonomy: Taxonomy) -> dict[str, str]:
    """Label -> ``#rrggbb``; white text can be read on each, and neighbours of the taxonomy differ most."""
    return {name: _colour((i * _GOLDEN) % 1) for i, name in enumerate(taxonomy.label_names)}


def _colour(hue: float) -> str:
    # Yellow and green are lighter to the eye than they are to the formula.
    lightness = _LIGHTNESS - (0.12 if 0.1 < hue < 0.55 else 0)
    return "#" + "".join(f"{round(255 * part):02x}" for part in hls_to_rgb(hue, lightness, _SATURATION))
