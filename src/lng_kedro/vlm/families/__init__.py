"""What is particular to each model family: one small module each, found by its name."""

from importlib import import_module
from pkgutil import iter_modules

from lng_kedro.vlm.families.family import Family

FAMILIES: dict[str, Family] = {
    module.name: import_module(f"{__name__}.{module.name}").FAMILY
    for module in iter_modules(__path__)
    if module.name != "family"
}
"""Name of the module -> what it says."""

__all__ = ["FAMILIES", "Family"]
