"""The report page: one self-contained HTML file."""

import base64
import io
import json
from collections.abc import Hashable, Mapping
from importlib.resources import files
from typing import Any

import pandas as pd

from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.imaging import PhotoFolder
from lng_kedro.tables import STAGES
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy

PHOTO_SIZE = 360
"""Side of the photos on the page in pixels."""

CURVES = {
    "sft": {"loss": "SFT: loss"},
    "grpo": {
        "reward": "GRPO: reward, weighted sum",
        "rewards/iou_f1/mean": "GRPO: detection IoU-F1",
        "rewards/attribute_accuracy/mean": "GRPO: attribute accuracy",
        "rewards/format_tag/mean": "GRPO: format tag",
    },
}
"""Stage -> logged figure -> title of its curve."""


def render_page(
    model: str,
    taxonomy: Taxonomy,
    tables: Mapping[str, pd.DataFrame],
    histories: Mapping[str, pd.DataFrame],
    samples: pd.DataFrame,
    predictions: Mapping[str, pd.DataFrame],
    photos: PhotoFolder,
) -> str:
    """HTML of the report page.

    Args:
        model: name of the model.
        taxonomy: gives the labels to filter by.
        tables: title -> table.
        histories: training stage -> its logged steps.
        samples: the test photos to show (photo_id, photo_label, ground_truth).
        predictions: stage -> predictions of all test photos.
        photos: the processed photos.
    """
    from jinja2 import Environment, select_autoescape

    template = Environment(autoescape=select_autoescape(default=True)).from_string(
        files("lng_kedro").joinpath("page.html").read_text(encoding="utf-8")
    )
    return template.render(
        model=model,
        labels=taxonomy.label_names,
        stages={stage: STAGES[stage][0] for stage in predictions},
        tables=tables,
        curves=[
            (title, *_curve(histories[stage], name))
            for stage, wanted in CURVES.items()
            if stage in histories
            for name, title in wanted.items()
            if name in histories[stage] and histories[stage][name].notna().any()
        ],
        photos=[_photo(row, predictions, photos) for row in samples.to_dict("records")],
        side=PROCESSED_SIZE,
        size=PHOTO_SIZE,
    )


def _curve(history: pd.DataFrame, name: str) -> tuple[str, float, float]:
    """Points of an SVG polyline in a box of 100 x 40, and the first and last value."""
    values = history[name].dropna().to_list()
    low, high = min(values), max(values)
    step, spread = 100 / max(len(values) - 1, 1), (high - low) or 1.0
    points = " ".join(f"{i * step:.2f},{40 - 40 * (v - low) / spread:.2f}" for i, v in enumerate(values))
    return points, values[0], values[-1]


def _photo(
    sample: Mapping[Hashable, Any], predictions: Mapping[str, pd.DataFrame], photos: PhotoFolder
) -> dict[str, Any]:
    photo_id = sample["photo_id"]
    said: dict[str, dict[str, Any]] = {}
    for stage, table in predictions.items():
        row = table.loc[table["photo_id"] == photo_id].iloc[0]
        said[stage] = {"boxes": _boxes(row["objects"]), "text": row["text"], "valid": bool(row["valid_json"])}
    buffer = io.BytesIO()
    photos.load(photo_id).resize((PHOTO_SIZE, PHOTO_SIZE)).save(buffer, "JPEG", quality=80)
    return {
        "id": photo_id,
        "label": "" if pd.isna(sample["photo_label"]) else sample["photo_label"],
        "jpeg": base64.b64encode(buffer.getvalue()).decode(),
        "truth": _boxes(sample["ground_truth"]),
        "report": sample["ground_truth"],
        "said": said,
    }


def _boxes(objects: str) -> list[dict[str, Any]]:
    found = [o for o in json.loads(objects) if o[BBOX]]
    return [
        {
            "x": o[BBOX][0],
            "y": o[BBOX][1],
            "w": o[BBOX][2] - o[BBOX][0],
            "h": o[BBOX][3] - o[BBOX][1],
            "name": o[LABEL],
        }
        for o in found
    ]
