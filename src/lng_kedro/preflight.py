"""What a user may have mistyped, found before anything runs: Kedro ignores names that it does not know."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from kedro.config import OmegaConfigLoader
from kedro.framework.project import pipelines
from kedro.io import CatalogConfigResolver
from kedro.validation.type_extractor import TypeExtractor
from omegaconf.errors import OmegaConfBaseException
from pydantic import create_model
from yaml import YAMLError

from lng_kedro.compute import ENGINES
from lng_kedro.inspection.params import ENGINES as INSPECTION_ENGINES
from lng_kedro.params import Params, Place, dotted, hint, problems
from lng_kedro.tables import DETECTION, DETECTORS, STAGES
from lng_kedro.taxonomy import LABEL
from lng_kedro.training.params import Table1

COMMAND_LINE = "--params"

SAFE_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast as the one in Python, where PyYAML comes with it."""


class RuntimeParams(Params):
    """Parameters of the command line that no node reads: they choose models and paths."""

    model: str
    raw_dir: str
    data_dir: str
    corrections: str | None = None
    photos: str | None = None
    adapter: str | None = None
    reports: str | None = None
    reviewed_dir: str | None = None


class Globals(RuntimeParams):
    """conf/*/globals.yml."""

    command: str


def wrong_configuration(loader: OmegaConfigLoader) -> list[str]:
    """What is wrong with environment, globals and parameters: a sentence each, which begins with where."""
    env, conf = loader.env or loader.default_run_env, Path(loader.conf_source)
    known = [folder.name for folder in conf.glob("*/")]
    if known and env not in known:  # it may be an archive
        return [f"--env: there is no environment '{env}': {hint(env, known)}"]
    try:
        values, given = loader["globals"], loader["parameters"]
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        return [f"{conf.name}/{env}: {str(error).strip().splitlines()[0]}"]
    sources = _sources(loader)
    found = [f"{_source(sources['globals'], place)}: {said}" for place, said in problems(Globals, values)]
    found += [
        f"{_source(sources['parameters'], place)}: {said}"
        for place, said in _wrong_parameters(given, sources["parameters"], values)
    ]
    return found


def unused_datasets(entries: Mapping[str, Any], resolver: CatalogConfigResolver) -> list[str]:
    """Entries of the catalog that no pipeline uses, a sentence each."""
    used = {name for pipeline in pipelines.values() for name in pipeline.datasets()}
    unused = entries.keys() - used - {resolver.match_dataset_pattern(name) for name in used - entries.keys()}
    return [f"catalog: no pipeline has a dataset '{name}': {hint(name, used)}" for name in sorted(unused)]


def _wrong_parameters(
    given: Mapping[str, Any], sources: list[tuple[str, Any]], values: Mapping[str, Any]
) -> Iterator[tuple[Place, str]]:
    runtime = dict(sources)[COMMAND_LINE]
    # Names with an underscore are anchors of a file.
    anchors = {name for name in given if name.startswith("_") and name not in runtime}
    wrong = list(problems(_all_parameters(), {name: given[name] for name in given.keys() - anchors}))
    of_commands = RuntimeParams.model_fields.keys() & given.keys() - runtime.keys()
    wrong += [
        ((name,), f"'{name}' has its place in globals.yml, or on the command line") for name in of_commands
    ]
    yield from wrong
    if wrong:
        return
    if given["vlm"]["model"] != runtime.get("model", values["model"]):
        place = ("vlm", "model")
        yield place, "choose the model with `--params model=NAME` or in globals.yml: paths depend on it too"
    yield from _unknown_names(given)
    yield from _of_other_engines(given, sources)


def _all_parameters() -> type[Params]:
    """The parameters of all nodes as one model: `params:stages.sft` is field `sft` of field `stages`."""
    groups: dict[str, dict[str, Any]] = {}
    # Other parameters refer to the paper's table; those of commands are checked where they are used.
    fields: dict[str, Any] = {"table_1": (Table1, ...)} | dict.fromkeys(
        RuntimeParams.model_fields, (Any, None)
    )
    for name, kind in TypeExtractor(dict(pipelines)).extract_types_from_pipelines().items():
        group, _, member = name.partition(".")
        (groups.setdefault(group, {}) if member else fields)[member or group] = (kind, ...)
    fields |= {
        name: (create_model(name, __base__=Params, **members), ...) for name, members in groups.items()
    }
    return create_model("parameters", __base__=Params, **fields)


def _unknown_names(given: Mapping[str, Any]) -> Iterator[tuple[Place, str]]:
    """Names of other parameters, which no model knows by itself."""
    for group, own in (("stages", "name"), ("targets", "field")):
        for name, member in given[group].items():
            if member[own] != name:
                yield (group, name, own), f"'{group}.{name}.{own}' is '{member[own]}', and has to be '{name}'"
    taxonomy, paper = given["taxonomy"]["fields"], given["paper"]
    figures = {*DETECTION, *(f"f1_{field}" for field in (LABEL, *taxonomy))}
    named: list[tuple[Place, Any, Any]] = [
        (("data_processing", "optional_fields"), given["data_processing"]["optional_fields"], taxonomy),
        (("paper", "model"), [paper["model"]], paper["table_2"]),
        (("paper", "table_3"), paper["table_3"], STAGES | DETECTORS),
        *(
            (("paper", table, row), paper[table][row], figures)
            for table in ("table_2", "table_3")
            for row in paper[table]
        ),
    ]
    for place, names, known in named:
        for name in names:
            if name not in known:
                yield place, f"'{dotted(place)}': there is no '{name}': {hint(name, known)}"


def _of_other_engines(
    given: Mapping[str, Any], sources: list[tuple[str, Any]]
) -> Iterator[tuple[Place, str]]:
    """Settings of another engine than the chosen one; those that its source only inherits are dropped."""
    compute, inspection = given["data_processing"]["compute"], given["inspection"]["engine"]
    yield from _foreign(("data_processing", "compute"), compute["engine"], "engine", ENGINES, sources)
    # conf/ has the settings of all engines.
    said = sources[:1]
    yield from _foreign(("inspection", "engine"), inspection["kind"], "kind", INSPECTION_ENGINES, said)


def _foreign(
    place: Place, chosen: str, key: str, kinds: Mapping[str, type[Params]], sources: list[tuple[str, Any]]
) -> Iterator[tuple[Place, str]]:
    for _, content in sources:
        own = _at(content, place)
        for name in own if isinstance(own, dict) else ():
            if name not in kinds[chosen].model_fields:
                known = ", ".join(other for other in kinds if name in kinds[other].model_fields)
                yield (
                    (*place, name),
                    f"'{dotted((*place, name))}' is of the engine {known}, and the engine is {chosen}",
                )
        if isinstance(own, dict) and key in own:
            return


def _sources(loader: OmegaConfigLoader) -> dict[str, list[tuple[str, Any]]]:
    """Where globals and parameters are given, and their values there: what counts more comes first."""
    conf = Path(loader.conf_source)
    found: dict[str, list[tuple[str, Any]]] = {"globals": [], "parameters": []}
    found["parameters"].append((COMMAND_LINE, loader.runtime_params or {}))
    for env in dict.fromkeys([loader.env or loader.default_run_env, loader.base_env]):
        for file in sorted((conf / env).rglob("*.y*ml")):
            name = file.relative_to(conf)
            for kind, places in found.items():
                if any(part.startswith(kind) for part in name.parts):
                    content = yaml.load(file.read_text(encoding="utf-8"), Loader=SAFE_LOADER)  # noqa: S506
                    places.append((f"{conf.name}/{name}", content))
    return found


def _source(sources: list[tuple[str, Any]], place: Place) -> str:
    """Where a parameter is given; of a missing one, what it is missing in."""
    for depth in range(len(place), 0, -1):
        for source, content in sources:
            if _at(content, place[:depth]) is not ...:
                return source
    return "conf"


def _at(content: Any, place: Place) -> Any:
    """What is given at a place, or `...`."""
    for key in place:
        content = content.get(key, ...) if isinstance(content, dict) else ...
    return content
