"""ultralytics, kept to itself: it writes nowhere but into the work folder, and tells nobody."""

import os
import re
import sys
from contextlib import suppress
from pathlib import Path

from lng_kedro.training.run import TrainingStopped

TELLS = ("sync", "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb", "vscode_msg")
"""Its settings that send or log: usage statistics and integrations, among them one that would write into our
MLflow run."""


def keep_quiet(work_dir: Path) -> None:
    """Imports ultralytics so that it leaves home, working directory and network alone; once a process.

    Args:
        work_dir: where its settings and the weights that it downloads are to lie.
    """
    if "ultralytics" in sys.modules:
        return
    import torch
    from PIL import Image

    home = (work_dir / "ultralytics").resolve()
    home.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ |= {"YOLO_CONFIG_DIR": str(home), "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
    of_all = Image.open, torch.save
    from ultralytics import settings
    from ultralytics.data import utils
    from ultralytics.utils import torch_utils

    # It puts its own in their place, for all of the process: one of them would install a package.
    Image.open, torch.save = of_all
    # Importing it says one thread where nothing is said, and a CPU is given all but one of its cores.
    if before is None:
        del os.environ["OMP_NUM_THREADS"]
    torch_utils.NUM_THREADS = torch.get_num_threads()
    # A font for plots that nobody asked for, downloaded at each start.
    utils.check_font = lambda *_: None
    folders = {f"{name}_dir": str(home / name) for name in ("datasets", "weights", "runs")}
    settings.update(folders | dict.fromkeys(TELLS, False))


def check_weights(weights: str, work_dir: Path) -> None:
    """Checks that a detector's weights or architecture are there, or have a name that ultralytics knows.

    Args:
        weights: as `find_weights` takes them.
        work_dir: the work folder.

    Raises:
        TrainingStopped: there is no such file, and no such name.
    """
    if Path(weights).is_file():
        return
    keep_quiet(work_dir)
    from ultralytics.utils.checks import check_yaml
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES

    try:
        if weights.endswith(".yaml"):
            check_yaml(re.sub(r"(\d)[nsmlx]\.yaml$", r"\1.yaml", weights))  # one file for all sizes
        elif weights not in GITHUB_ASSETS_NAMES:
            raise FileNotFoundError
    except FileNotFoundError as error:
        raise TrainingStopped(
            f"There is no file '{weights}', and ultralytics has none of this name"
        ) from error


def find_weights(weights: str, work_dir: Path) -> str:
    """The file of a detector's weights or architecture.

    Args:
        weights: a file; an architecture that ultralytics has (``yolo11n.yaml``); or the name of weights that
            it publishes (``yolo11m.pt``), which are downloaded once into the work folder.
        work_dir: the work folder.

    Raises:
        TrainingStopped: there is no such file, and it could not be downloaded.
    """
    check_weights(weights, work_dir)
    if Path(weights).is_file() or weights.endswith(".yaml"):
        return weights
    from ultralytics.utils.downloads import attempt_download_asset

    published = work_dir / "ultralytics/weights" / weights
    with suppress(OSError):  # said below
        attempt_download_asset(published)
    if not published.is_file():
        raise TrainingStopped(
            f"ultralytics cannot be reached for '{weights}': "
            "name a file with --params detectors.NAME.weights=PATH."
        )
    return str(published)
