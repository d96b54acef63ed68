"""A trained detector: storing it without a pickle, and what it says about photos."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from PIL.Image import Image
from pydantic import BeforeValidator

from lng_kedro.detectors.params import BaselinesParams
from lng_kedro.detectors.quiet import keep_quiet
from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.params import Params
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy
from lng_kedro.unseen import stored_contents

WEIGHTS = "weights.safetensors"
ABOUT = "detector.json"


class About(Params):
    """All of a detector but its weights."""

    name: str
    field: str
    classes: tuple[str, ...]
    image_size: int
    threshold: float
    learned_from: Annotated[dict[str, str | None], BeforeValidator(stored_contents)]
    architecture: dict[str, Any]

    @property
    def is_rtdetr(self) -> bool:
        """Whether it is an RT-DETR, which ultralytics builds, trains and asks by classes of its own."""
        return is_rtdetr(self.architecture)


@dataclass(frozen=True)
class Detector:
    """A trained model (ultralytics' `DetectionModel`) and what is to be known about it."""

    model: Any
    about: About

    def save_pretrained(self, folder: str) -> None:
        """Writes weights and description into a new folder."""
        from safetensors.torch import save_file

        Path(folder).mkdir()
        weights = {name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        save_file(weights, Path(folder, WEIGHTS))
        Path(folder, ABOUT).write_text(self.about.model_dump_json(indent=1), encoding="utf-8")


def is_rtdetr(architecture: dict[str, Any]) -> bool:
    """Whether ultralytics' description of an architecture ends in RT-DETR's decoder."""
    return bool(architecture["head"][-1][2] == "RTDETRDecoder")


def read_about(folder: Path) -> About:
    """What is to be known about a stored detector."""
    return About.model_validate_json((folder / ABOUT).read_text(encoding="utf-8"))


def weights_hash(folder: Path) -> str:
    """SHA-256 of a stored detector's weights."""
    return sha256((folder / WEIGHTS).read_bytes()).hexdigest()


def load_detector(folder: Path, work_dir: Path) -> Detector:
    """A stored detector.

    Args:
        folder: as the catalog stores it.
        work_dir: the work folder, where ultralytics may write.
    """
    keep_quiet(work_dir)
    from safetensors.torch import load_file

    return build_detector(read_about(folder), load_file(folder / WEIGHTS))


def build_detector(about: About, weights: dict[str, Any]) -> Detector:
    """A detector from its description and its weights by name."""
    from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel

    kind = RTDETRDetectionModel if about.is_rtdetr else DetectionModel
    model = kind(deepcopy(about.architecture), nc=len(about.classes), verbose=False)
    model.load_state_dict(weights)
    return Detector(model.eval(), about)


def detect(
    detector: Detector,
    loaders: Sequence[Callable[[], Image]],
    taxonomy: Taxonomy,
    params: BaselinesParams,
) -> Iterator[list[dict[str, Any]]]:
    """Of each photo all objects above the lowest score, as in a report, with `score`.

    Args:
        detector: trained.
        loaders: load a processed photo each.
        taxonomy: gives the keys; what the detector does not know is None.
        params: lowest score, overlap, device and the like.
    """
    predictor = _predictor(detector, params)
    for start in range(0, len(loaders), params.predict_batch):
        batch = [load() for load in loaders[start : start + params.predict_batch]]
        for result in predictor(batch):
            yield [_object(detector.about, taxonomy, *row) for row in result.boxes.data.tolist()]


def _predictor(detector: Detector, params: BaselinesParams) -> Any:
    from ultralytics.models.rtdetr import RTDETRPredictor
    from ultralytics.models.yolo.detect import DetectionPredictor

    detector.model.names = dict(enumerate(detector.about.classes))
    predictor = (RTDETRPredictor if detector.about.is_rtdetr else DetectionPredictor)(
        overrides={
            "task": "detect",
            "mode": "predict",
            "conf": params.min_score,
            "iou": params.nms_iou,
            "max_det": params.max_detections,
            "imgsz": detector.about.image_size,
            "device": params.one_device,
            "save": False,
            "verbose": False,
            "save_dir": str(params.work_dir),
        }
    )
    predictor.setup_model(detector.model, verbose=False)  # a copy, fused
    return predictor


def _object(about: About, taxonomy: Taxonomy, *row: float) -> dict[str, Any]:
    """`row` is a box in pixels of the processed photo, a score and a class."""
    corners = [round(min(max(value, 0.0), PROCESSED_SIZE), 2) for value in row[:4]]
    said: dict[str, Any] = {LABEL: None, BBOX: corners, **dict.fromkeys(taxonomy.field_names)}
    return said | {about.field: about.classes[int(row[5])], "score": row[4]}
