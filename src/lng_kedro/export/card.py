"""The model card of a merged model: what it is, what it was made from, how good it was found to be.

Nothing on it is of another adapter: what is not known of this one is said to be missing.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup

from lng_kedro.params import flat
from lng_kedro.results import Document, Stored, predictions_hash
from lng_kedro.tables import DETECTION, FORM, STAGES
from lng_kedro.taxonomy import LABEL
from lng_kedro.vlm.adapter import TrainedStage
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import with_photo
from lng_kedro.vlm.spec import VlmParams

SPLITS = {"sft": "SFT", "grpo": "GRPO", "test": "test"}
"""Split -> its name on the card."""

WITH_PACKAGE = """\
import mlflow, pandas

# The environment variable MLFLOW_TRACKING_URI says where the store is.
model = mlflow.pyfunc.load_model("models:/{name}/latest")
photos = pandas.DataFrame({{"photo": [open("photo.jpg", "rb").read()]}})
print(model.predict(photos)["report"][0])
"""

AS_SERVER = """\
vllm serve . --host 127.0.0.1
transformers serve --host 127.0.0.1 .
"""


@dataclass(frozen=True)
class Facts:
    """What is known of an adapter.

    Attributes:
        vlm: its base model.
        dialogue: how it is spoken with.
        adapter_sha256: of its weights and configuration.
        learned_from: ids of the photos that it was trained on; empty where nobody wrote them down.
        stages: how it was trained; empty likewise.
        figures: stage under which it was evaluated, and the figures; None where it was not.
        splits: split -> its samples (photo_id, photo_label, ground_truth), as far as they are stored.
        draw: parameters by which the splits were drawn; None where they are not stored.
        name: under which it is registered.
    """

    vlm: VlmParams
    dialogue: Dialogue
    adapter_sha256: str
    learned_from: Set[str]
    stages: Sequence[TrainedStage]
    figures: tuple[str, Document] | None
    splits: Mapping[str, pd.DataFrame]
    draw: Mapping[str, Any] | None
    name: str


def figures_of(
    adapter_sha256: str, model: str, predictions: Stored, metrics: Stored
) -> tuple[str, Document] | None:
    """Stage and stored figures of an adapter, found by its hash; None where there are none.

    Args:
        adapter_sha256: as predictions are marked with.
        model: its base model.
        predictions: ``predictions_<stage>`` -> loader.
        metrics: ``<model>/<stage>`` -> loader.
    """
    for stage in STAGES:
        name, document_name = f"predictions_{stage}", f"{model}/{stage}"
        if not (name in predictions and document_name in metrics):
            continue
        table = predictions[name]()
        if table.empty or (table["weights_sha256"] != adapter_sha256).any():
            continue
        document: Document = metrics[document_name]()
        if document["about"]["predictions_sha256"] == predictions_hash(table):
            return stage, document
    return None


def model_card(facts: Facts) -> str:
    """The card in Markdown, with Hugging Face's front matter in YAML."""
    from jinja2 import Environment, PackageLoader

    environment = Environment(  # noqa: S701  it writes Markdown, and `escaped` sees all that goes in
        loader=PackageLoader("lng_kedro.export", ""),
        finalize=escaped,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    spec, taxonomy = facts.vlm.spec, facts.dialogue.taxonomy
    return environment.get_template("card.md").render(
        front=Markup(_front_matter(facts)),  # noqa: S704  it is YAML
        facts=facts,
        spec=spec,
        taxonomy=taxonomy,
        fields={name: ", ".join(taxonomy.choices(name)) for name in (LABEL, *taxonomy.field_names)},
        local=_is_local(spec.checkpoint),
        data=_data_table(facts),
        seen_elsewhere=len(facts.learned_from - _ids(facts, "sft") - _ids(facts, "grpo")),
        stages=[(stage, _table(["parameter", "value"], flat(stage.parameters))) for stage in facts.stages],
        figures=facts.figures and _figures_table(facts.figures[1]),
        labels=facts.figures and _labels_table(facts.figures[1]),
        about=facts.figures and facts.figures[1]["about"],
        with_package=_fenced(WITH_PACKAGE.format(name=facts.name), "python"),
        as_server=_fenced(AS_SERVER, "sh"),
        prompt=_fenced(json.dumps(with_photo(facts.dialogue.prompt), indent=1, ensure_ascii=False), "json"),
        code=_fenced(files("lng_kedro.export").joinpath("use.py.txt").read_text(encoding="utf-8"), "python"),
    )


def escaped(value: Any) -> Markup:
    """A value as Markdown shows it, whatever is in it; what is Markdown already stays."""
    if isinstance(value, Markup):
        return value
    line = " ".join(str(value).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    line = re.sub(r"([\\`*_{}\[\]()#!|~$])", r"\\\1", line)
    # "1. ", "- " and "+ " at its start would begin a list; a line of dashes or equal signs makes a heading.
    return Markup(re.sub(r"^(\d+(?=\.(?: |$))|(?=[-+=]))", r"\1\\", line))  # noqa: S704  all of it is escaped


def _front_matter(facts: Facts) -> str:
    spec = facts.vlm.spec
    front: dict[str, Any] = {}
    if not _is_local(spec.checkpoint):
        front["base_model"] = spec.checkpoint
        front["base_model_relation"] = "finetune"
    front |= {"library_name": "transformers", "pipeline_tag": "image-text-to-text"}
    if spec.license:
        named = {"license": "id", "license_name": "name", "license_link": "link"}
        front |= {key: value for key, of in named.items() if (value := getattr(spec.license, of))}
    front |= {"language": ["en"], "tags": ["lng_kedro", "visual-inspection", "object-detection", spec.family]}
    front["tags"] += [stage.stage.lower() for stage in facts.stages]
    return yaml.safe_dump(front, sort_keys=False, allow_unicode=True)


def _is_local(checkpoint: str) -> bool:
    return Path(checkpoint).is_dir()


def _ids(facts: Facts, split: str) -> set[str]:
    return set(facts.splits[split]["photo_id"]) if split in facts.splits else set()


def _data_table(facts: Facts) -> Markup | None:
    """Photos and objects of each label in the splits that it learned from, and was tested on."""
    of_it = [name for name in ("sft", "grpo") if (ids := _ids(facts, name)) and ids <= facts.learned_from]
    tested = facts.figures[1]["about"]["photos"] if facts.figures else None
    if tested == len(_ids(facts, "test")) and not _ids(facts, "test") & facts.learned_from:
        of_it.append("test")
    if not of_it:
        return None
    counts = {}
    for name in of_it:
        samples = facts.splits[name]
        objects = samples["ground_truth"].map(lambda text: len(json.loads(text)))
        label = samples["photo_label"].fillna("no findings")
        counts[f"{SPLITS[name]}: photos"] = label.value_counts()
        counts[f"{SPLITS[name]}: objects"] = objects.groupby(label).sum()
    table = pd.DataFrame(counts).fillna(0).astype(int)
    order = [label for label in facts.dialogue.taxonomy.label_names if label in table.index]
    table = table.loc[[*order, *sorted(set(table.index) - set(order))]]
    rows = [*table.itertuples(name=None), ("all", *table.sum())]
    return _table(["label of the photo", *table.columns], rows)


def _figures_table(document: Document) -> Markup:
    metrics, intervals = document["metrics"], document["intervals"]
    fields = [name.removeprefix("f1_") for name in metrics if name.startswith("f1_") and name != "f1_50"]
    names = DETECTION | {"f1_50": "F1@50 of label and box"}
    for field in fields:
        names |= {f"f1_{field}": f"F1 {field}, micro", f"macro_f1_{field}": f"F1 {field}, macro"}
    rows = [
        (title, _per_cent(metrics[name]), _interval(intervals.get(name), _per_cent))
        for name, title in (names | FORM).items()
        if name in metrics
    ]
    error = intervals.get("count_error")
    count = ("mean error of the number of findings", f"{metrics['count_error']:.2f}")
    rows.append((*count, _interval(error, "{:.2f}".format)))
    return _table(["per cent, the last row aside", "figure", "95 % interval"], rows)


def _labels_table(document: Document) -> Markup:
    intervals = document["intervals"]
    rows = [
        (
            label,
            found["n_true"],
            "no truth" if found["ap_50"] is None else _per_cent(found["ap_50"]),
            _interval(intervals.get(f"ap_50/{label}"), _per_cent),
            _per_cent(found["f1_50"]),
        )
        for label, found in document["labels"].items()
    ]
    return _table(["label", "objects", "AP@50, per cent", "95 % interval", "F1@50, per cent"], rows)


def _per_cent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(ends: Sequence[float] | None, said: Callable[[float], str]) -> str:
    return f"{said(ends[0])} to {said(ends[1])}" if ends else "not known"


def _table(head: Sequence[str], rows: Any) -> Markup:
    lines = [head, ["---"] * len(head)]
    text = [" | ".join(escaped(cell) if cell != "---" else cell for cell in line) for line in [*lines, *rows]]
    return Markup("\n".join(f"| {line} |" for line in text))  # noqa: S704  each cell is escaped


def _fenced(text: str, language: str) -> Markup:
    """A block of code, in a fence longer than any within it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{text.rstrip()}\n{fence}")  # noqa: S704  nothing in it is Markdown
