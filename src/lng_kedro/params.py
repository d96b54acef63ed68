"""The base of all parameters, what is wrong with given ones, and how they are given."""

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from textwrap import shorten
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

Place = tuple[int | str, ...]
"""Keys that lead to a parameter."""

ALLOWED = {
    "bool": "true or false",
    "dict": "a mapping",
    "float": "a number",
    "int": "a whole number",
    "list": "a list",
    "model": "a mapping",
    "path": "a path",
    "string": "a text",
    "tuple": "a list",
    "finite": "a finite number",
    "greater_than": "greater than {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "literal": "{expected}",
    "multiple_of": "a multiple of {multiple_of}",
    "string_pattern_mismatch": "a text of the form {pattern}",
    "too_long": "of {max_length} items at most",
    "too_short": "of {min_length} items at least",
}
"""Kind of a Pydantic error, or its first word -> what is allowed."""


class Params(BaseModel):
    """Parameters are immutable, and a key that does not exist is an error before any node runs."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def only_own(key: str, kinds: Mapping[str, type[BaseModel]]) -> Callable[[Any], Any]:
    """For a `BeforeValidator`: settings without those of other kinds, which an environment inherits.

    One that was given beside the kind is a mistake, which only where they are given can tell (`preflight`).

    Args:
        key: the setting that says the kind.
        kinds: what can be set, of each.
    """

    def dropped(given: Any) -> Any:
        if not isinstance(given, dict) or given.get(key) not in kinds:
            return given
        own = kinds[given[key]].model_fields
        foreign = {name for kind in kinds.values() for name in kind.model_fields} - own.keys()
        return {name: value for name, value in given.items() if name not in foreign}

    return dropped


def hint(name: str, known: Iterable[str]) -> str:
    """The known name that a mistyped one is nearest to, or else all of them."""
    names = list(known)
    close = get_close_matches(name, names, n=1)
    return f"did you mean '{close[0]}'?" if close else f"there are {', '.join(sorted(names))}"


def problems(model: type[BaseModel], given: Any) -> Iterator[tuple[Place, str]]:
    """What is wrong with parameters: where, and a sentence that says what was given and what is allowed.

    Args:
        model: what they have to be.
        given: as a file or a command line has them.
    """
    try:
        model.model_validate(given)
    except ValidationError as error:
        missing: dict[Place, list[str]] = {}
        for found in error.errors(include_url=False):
            place = found["loc"]
            if found["type"] == "missing":
                missing.setdefault(place[:-1], []).append(str(place[-1]))
            else:
                yield place, _sentence(model, found)
        for place, names in missing.items():
            guess = _other_name(model, given, place) if place else ""
            yield (
                place,
                f"'{dotted(place)}' lacks {', '.join(names)}{guess}"
                if place
                else f"{', '.join(names)} is missing",
            )


def dotted(place: Place) -> str:
    """Name of a parameter, as the command line takes it."""
    return ".".join(map(str, place))


def as_option(given: Mapping[str, Any]) -> str:
    """`` --params …`` for a shell, of parameters as Kedro reads them from one; nothing if there are none."""
    said = ",".join(f"{name}={'null' if value is None else value}" for name, value in flat(given))
    return f" --params {shlex.quote(said)}" if said else ""


def flat(given: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Names with dots, as the command line takes them, and values."""
    for name, value in given.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{key}", inner) for key, inner in flat(value))
        else:
            yield name, value


def _sentence(model: type[BaseModel], found: Mapping[str, Any]) -> str:
    kind, place, context = found["type"], found["loc"], found.get("ctx", {})
    name = dotted(place)
    if kind == "extra_forbidden":
        return f"there is no parameter '{name}': {hint(str(place[-1]), _names(model, place[:-1]))}"
    if kind == "value_error":
        return f"{name}: {context['error']}"
    allowed = ALLOWED.get(kind) or ALLOWED.get(kind.partition("_")[0])
    wanted = allowed.format(**context) if allowed else found["msg"].removeprefix("Input should be ")
    value = found["input"]
    near = get_close_matches(str(value), [word.strip("',") for word in wanted.split()], n=1)
    guess = f": did you mean '{near[0]}'?" if kind == "literal_error" and near else ""
    is_given = "has no value" if value is None else f"is {shorten(repr(value), 120)}"
    return f"'{name}' {is_given}, and has to be {wanted}{guess}"


def _names(model: Any, place: Sequence[int | str]) -> Iterable[str]:
    """Fields of the model that is found at a place."""
    for key in place:
        fields = getattr(model, "model_fields", {})
        held = (fields[key].annotation,) if key in fields else get_args(model)
        model = next((kind for kind in held if hasattr(kind, "model_fields")), held[-1])
    return getattr(model, "model_fields", {})


def _other_name(model: type[BaseModel], given: Any, place: Place) -> str:
    """Of a member that lacks parts, where any name is allowed: another that may be meant."""
    name = str(place[-1])
    for key in place[:-1]:
        given = given[key]
    if name in _names(model, place[:-1]) or not isinstance(given, Mapping):
        return ""
    near = get_close_matches(name, given.keys() - {name}, n=1)
    return f": did you mean '{near[0]}'?" if near else ""
