"""COCO's two files: the truth of a test split, and a stage's results on it.

pycocotools reads both. Boxes are ``[x, y, w, h]`` in pixels of the processed photo, and a category is the
AI-Hub id of the label's defect. What a model said of no label or without a box is in the results too, as
category 0 or as a box without area: it can hit nothing and is a false alarm of its photo.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy

Objects = Sequence[Mapping[str, Any]]


def coco_truth(photo_ids: Sequence[str], truths: Iterable[Objects], taxonomy: Taxonomy) -> dict[str, Any]:
    """A data set: images (their ids are places in `photo_ids`, from 1), annotations and categories.

    Args:
        photo_ids: of the test split, in its order.
        truths: true objects of each photo.
        taxonomy: labels and their ids.
    """
    sides = {"width": PROCESSED_SIZE, "height": PROCESSED_SIZE}
    return {
        "images": [{"id": i, "file_name": f"{name}.jpg", **sides} for i, name in enumerate(photo_ids, 1)],
        "categories": [{"id": label.defective_id, "name": label.name} for label in taxonomy.labels],
        "annotations": [
            {**row, "id": i, "area": row["bbox"][2] * row["bbox"][3], "iscrowd": 0}
            for i, row in enumerate(_rows(truths, taxonomy), 1)
        ],
    }


def coco_results(predictions: Iterable[Objects], taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Results in the order of the photos of `coco_truth`, each with its score.

    Args:
        predictions: predicted objects of each photo, with `score`.
        taxonomy: labels and their ids.
    """
    return list(_rows(predictions, taxonomy))


def _rows(photos: Iterable[Objects], taxonomy: Taxonomy) -> Iterable[dict[str, Any]]:
    ids = {label.name: label.defective_id for label in taxonomy.labels}
    for image_id, objects in enumerate(photos, 1):
        for found in objects:
            x_min, y_min, x_max, y_max = found[BBOX] or (0, 0, 0, 0)
            row = {
                "image_id": image_id,
                "category_id": ids.get(found[LABEL], 0),
                "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
            }
            yield row | ({"score": found["score"]} if "score" in found else {})
