"""What MLflow holds of a training run beside kedro-mlflow's own records."""

import logging
import os
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from platform import python_version
from typing import Any

import pandas as pd

from lng_kedro.detectors.params import BaselinesParams, DetectorParams
from lng_kedro.imaging import PhotoFolder
from lng_kedro.processes import rank, world_size
from lng_kedro.registry import new_version
from lng_kedro.results import data_hash
from lng_kedro.training.params import TrainingParams
from lng_kedro.training.run import Tracker
from lng_kedro.vlm.spec import VlmParams

logger = logging.getLogger(__name__)

PACKAGES = (
    *("lng_kedro", "torch", "transformers", "trl", "peft", "accelerate", "unsloth", "bitsandbytes"),
    "ultralytics",
)
"""Their versions are told, as far as they are installed."""


def track_stage(
    stage: str, samples: pd.DataFrame, photos: PhotoFolder, vlm: VlmParams, params: TrainingParams
) -> Tracker:
    """Tells the active run what a stage starts from, and returns what tells it how the stage goes on.

    A run that is continued is told all of it twice: parameters are the same then, by the same command; what
    may differ (versions, the commit, the data) is a tag, whose last value stays.

    Args:
        stage: prefix of every name, since the stages of a whole run share one MLflow run.
        samples: of the stage; columns photo_id and ground_truth.
        photos: the processed photos.
        vlm: which model.
        params: of the stage, Table I among them.

    Returns:
        What tells the run, or nobody: on other processes than the first, or where MLflow is switched off.

    Raises:
        OSError: a sample's photo cannot be read.
    """
    return _track(stage, samples, photos, _settings(vlm, params))


def track_detector(
    name: str, samples: pd.DataFrame, photos: PhotoFolder, params: BaselinesParams, chosen: DetectorParams
) -> Tracker:
    """The same of a detector.

    Args:
        name: prefix of every name, since all detectors of a run share one MLflow run.
        samples: of all training splits; columns photo_id and ground_truth.
        photos: the processed photos.
        params: of all detectors.
        chosen: which detector.

    Returns:
        As `track_stage`.

    Raises:
        OSError: a sample's photo cannot be read.
    """
    return _track(name, samples, photos, params.model_dump(mode="json") | chosen.model_dump(mode="json"))


def _track(stage: str, samples: pd.DataFrame, photos: PhotoFolder, settings: dict[str, Any]) -> Tracker:
    run = _active_run()
    if run is None:
        return _Nobody()
    import mlflow

    # The table of candidates is read each time that it grows, whose bar would break the trainer's.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    mlflow.log_params({f"{stage}.{name}": value for name, value in settings.items()})
    about = {"data_sha256": data_hash(samples, photos), "processes": world_size()}
    mlflow.set_tags({f"{stage}.{name}": value for name, value in about.items()} | _versions() | _commit())
    return _Stage(stage, photos, run.info.run_id)


def register_adapter(dataset_name: str) -> None:
    """Makes a stored adapter of the active run a version of ``lng_kedro.<model>.<stage>``, once a run.

    Args:
        dataset_name: ``<stage>_adapter``; the artifact lies under this name.
    """
    run = _active_run()
    if run is None:
        return
    import mlflow

    client = mlflow.MlflowClient()
    told = client.get_run(run.info.run_id).data  # the active run knows only what it was opened with
    stage = dataset_name.removesuffix("_adapter")
    name = f"lng_kedro.{told.params[f'{stage}.model']}.{stage}"
    tags = {
        "stage": stage,
        "data_sha256": told.tags[f"{stage}.data_sha256"],
        "base_checkpoint": told.params[f"{stage}.model_checkpoint"],
        "base_revision": told.params[f"{stage}.model_revision"],
    }
    source = f"{run.info.artifact_uri}/adapters/{dataset_name}"
    new_version(name, source, run.info.run_id, tags)


def _active_run() -> Any:
    if rank() > 0:
        return None
    import mlflow

    return mlflow.active_run()


class _Nobody:
    def configuration(self, values: dict[str, Any]) -> None:
        pass

    def figures(self, values: dict[str, float], step: int) -> None:
        pass

    def candidates(self, rows: pd.DataFrame) -> None:
        pass


class _Stage:
    """Tells one run of one stage; by the run's id, since the active run is a thread's own."""

    def __init__(self, stage: str, photos: PhotoFolder, run_id: str) -> None:
        self._stage = stage
        self._photos = photos
        self._run_id = run_id
        self._gpu_is_told = False

    def configuration(self, values: dict[str, Any]) -> None:
        """As a file beside the candidates."""
        import mlflow

        mlflow.log_dict(values, f"{self._stage}/arguments.json", run_id=self._run_id)

    def figures(self, values: dict[str, float], step: int) -> None:
        """As metrics; one that is no finite number is a gap in its curve."""
        import mlflow

        metrics = {f"{self._stage}/{name}": value for name, value in values.items()}
        mlflow.log_metrics(metrics, step=step, run_id=self._run_id)
        if not self._gpu_is_told:
            for name, value in _gpu().items():
                mlflow.MlflowClient().set_tag(self._run_id, name, value)
            self._gpu_is_told = True

    def candidates(self, rows: pd.DataFrame) -> None:
        """Adds to one table; a photo is stored once, whatever number of rows and steps shows it."""
        import mlflow

        folder = f"{self._stage}/photos"
        for photo_id in rows["photo"].unique():
            mlflow.log_artifact(str(self._photos.path(photo_id)), folder, run_id=self._run_id)
        # No ids: MLflow reads the table to add to it, and takes 1102_11_7 for a number. Rewards are float32.
        files = rows["photo"].map(lambda photo_id: self._photos.path(photo_id).name)
        shown = rows.round(6).assign(file=files, photo=files.map(lambda file: _image(f"{folder}/{file}")))
        table = f"{self._stage}/candidates.json"
        try:
            mlflow.log_table(shown, table, run_id=self._run_id)
        except ValueError as error:
            logger.warning("%s is begun anew: a power cut left it unreadable (%s).", table, error)
            mlflow.MlflowClient().log_dict(self._run_id, {"columns": list(shown), "data": []}, table)
            mlflow.log_table(shown, table, run_id=self._run_id)


def _image(artifact: str) -> dict[str, str]:
    """Cell of a table that MLflow shows as a picture; `mlflow.Image` would be stored anew for each row."""
    return {"type": "image", "filepath": artifact, "compressed_filepath": artifact}


def _settings(vlm: VlmParams, params: TrainingParams) -> dict[str, Any]:
    own = params.model_dump(mode="json")
    groups = {
        "lora": own.pop("lora"),
        "model": vlm.spec.model_dump(mode="json", exclude={"architecture", "license"}),
    }
    of_groups = {
        f"{group}_{name}": value for group, values in groups.items() for name, value in values.items()
    }
    return {"model": vlm.model, "frame": vlm.frame, **own, **of_groups}


def _versions() -> dict[str, str]:
    found = {"python": python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {f"version.{package}": number for package, number in found.items()}


def _commit() -> dict[str, str]:
    """MLflow itself asks for the commit of the command's folder, .venv, which git ignores."""
    from mlflow.utils.git_utils import get_git_commit

    commit = get_git_commit(__file__)
    if commit is None:
        return {}
    from git import Repo

    changed = Repo(Path(__file__).parent, search_parent_directories=True).is_dirty()
    return {"mlflow.source.git.commit": commit, "version.commit": commit + " with changes" * changed}


def _gpu() -> dict[str, str]:
    """Of a GPU in use: to open it earlier would fix its allocator's settings before Unsloth makes them."""
    import torch

    if not torch.cuda.is_initialized():
        return {}
    return {"version.cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name()}
