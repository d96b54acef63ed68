"""Models registered in MLflow: adapters, and merged models that `mlflow.pyfunc` loads."""

import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from pathlib import Path
from typing import Any

import lng_kedro
from lng_kedro.vlm.merged import Origin

SERVED = Path(lng_kedro.__file__).parent / "export" / "served.py"
"""What MLflow runs when it loads a merged model."""

ARTIFACT = "merged"
"""The merged folder among the artifacts of a model."""

NEEDED = (
    *("mlflow", "accelerate", "joblib", "numpy", "pandas", "pillow", "pydantic", "pyyaml", "safetensors"),
    *("torch", "torchvision", "tqdm", "transformers", "xgrammar"),
)
"""Packages with which a merged model is loaded; of this project its own code is stored beside the model."""


def merged_name(model: str) -> str:
    """Under which name a merged model is registered."""
    return f"lng_kedro.{model}.merged"


def new_version(
    name: str, source: str, run_id: str, tags: dict[str, str], model_id: str | None = None
) -> Any:
    """The version of a registered model that a run has made; a run makes one, however often it goes on.

    Args:
        name: of the registered model.
        source: where it lies.
        run_id: of the run.
        tags: of the version.
        model_id: of the logged model, where it is one.
    """
    import mlflow

    client = mlflow.MlflowClient()
    if found := client.search_model_versions(f"name = '{name}' and run_id = '{run_id}'"):
        return found[0]
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    return client.create_model_version(name, source, run_id, tags=tags, model_id=model_id)


def register_merged(folder: Path, origin: Origin, config: dict[str, Any]) -> dict[str, Any]:
    """Stores a merged folder as a model of `mlflow.pyfunc` in the active run, and registers it.

    In a store on the disk of the folder it takes no room: its files are the folder's, by a second name each.
    Elsewhere they are copied or sent once.

    Args:
        folder: of the merged model.
        origin: what it was made from.
        config: what the model is told when it is loaded.

    Returns:
        Name, version and address of the registered model; empty where no run is active.
    """
    import mlflow

    run = mlflow.active_run()
    if run is None:
        return {}
    # The folder's few files are copied first, whose bar would say nothing.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    spec = origin.vlm.spec
    tags = {
        "adapter_sha256": origin.adapter_sha256,
        "base_checkpoint": spec.checkpoint,
        "base_revision": spec.revision,
    }
    logged = mlflow.initialize_logged_model(ARTIFACT, source_run_id=run.info.run_id, tags=tags)
    try:
        _store(folder, logged, config)
    except BaseException:
        mlflow.finalize_logged_model(logged.model_id, "FAILED")
        raise
    mlflow.finalize_logged_model(logged.model_id, "READY")
    name = merged_name(origin.vlm.model)
    address = f"models:/{logged.model_id}"
    made = new_version(name, address, run.info.run_id, tags, logged.model_id)
    return {"name": name, "version": str(made.version), "model": address, "run": run.info.run_id, **tags}


def _store(folder: Path, logged: Any, config: dict[str, Any]) -> None:
    """Puts the model together beside its folder, where files can have a second name, and stores it.

    `mlflow.pyfunc.log_model` would copy the weights twice, and load them to try the example.
    """
    import mlflow
    from mlflow.models import Model
    from mlflow.utils.file_utils import local_file_uri_to_path
    from mlflow.utils.uri import is_local_uri

    with tempfile.TemporaryDirectory(dir=folder.parent) as place:
        whole, described = Path(place, "model"), Path(place, ARTIFACT)
        shutil.copytree(folder, described, ignore=shutil.ignore_patterns("*.safetensors"))
        mlflow.pyfunc.save_model(
            whole,
            python_model=str(SERVED),
            artifacts={ARTIFACT: str(described)},
            signature=_signature(),
            input_example=_example(),
            model_config=config,
            pip_requirements=_requirements(),
            code_paths=[str(Path(lng_kedro.__file__).parent)],
            mlflow_model=Model(
                artifact_path=logged.artifact_location,
                run_id=logged.source_run_id,
                model_uuid=logged.model_id,
                model_id=logged.model_id,
            ),
        )
        for file in folder.glob("*.safetensors"):
            _second_name(file, whole / "artifacts" / ARTIFACT / file.name)
        model = Model.load(str(whole))
        model.model_size_bytes = sum(file.stat().st_size for file in whole.rglob("*") if file.is_file())
        model.save(str(whole / "MLmodel"))
        if is_local_uri(logged.artifact_location):
            target = local_file_uri_to_path(logged.artifact_location)
            shutil.copytree(whole, target, copy_function=_second_name, dirs_exist_ok=True)
        else:
            mlflow.MlflowClient().log_model_artifacts(logged.model_id, str(whole))


def _second_name(source: str | Path, target: str | Path) -> None:
    """A file that is never written to again under another name too; copied where the disk is another."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema

    return ModelSignature(
        inputs=Schema([ColSpec("binary", "photo"), ColSpec("string", "name", required=False)]),
        outputs=Schema([ColSpec("string", "report")]),
    )


def _example() -> Any:
    """A grey photo: an example that shows nobody's tank."""
    import pandas as pd
    from PIL import Image

    buffer = BytesIO()
    Image.new("RGB", (64, 48), "grey").save(buffer, "JPEG")
    return pd.DataFrame({"photo": [buffer.getvalue()], "name": ["grey.jpg"]})


def _requirements() -> list[str]:
    """The versions that are installed here; a build's suffix, as that of a CPU's PyTorch, is no version."""
    found = []
    for package in NEEDED:
        try:
            found.append(f"{package}=={version(package).partition('+')[0]}")
        except PackageNotFoundError:
            continue
    return found
