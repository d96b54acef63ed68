"""A copy of this project that a test may run in and spoil."""

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import mlflow
from click.testing import CliRunner, Result
from kedro.framework.cli.cli import KedroCLI
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro_mlflow.framework.hooks.mlflow_hook import mlflow_hook

ROOT = Path(__file__).parents[1]


def copy_project(target: Path) -> Path:
    """Configuration of its own; the source is the installed package."""
    target.mkdir()
    for name in ("pyproject.toml", ".telemetry"):
        shutil.copy(ROOT / name, target)
    shutil.copytree(ROOT / "conf", target / "conf", ignore=shutil.ignore_patterns("local"))
    for name in ("src", "logs"):
        (target / name).mkdir()
    return target


@cache
def _store() -> bytes:
    """An MLflow store that holds nothing; MLflow takes seconds to make one."""
    with tempfile.TemporaryDirectory() as folder:
        mlflow.MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db").search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


def prepare_store(folder: Path) -> None:
    """Puts an empty MLflow store below `folder`, where that project or data folder has its own."""
    (folder / "mlruns").mkdir(parents=True)
    (folder / "mlruns/mlflow.db").write_bytes(_store())


@contextmanager
def session(project: Path, env: str, **runtime_params: Any) -> Iterator[KedroSession]:
    """A session in that project; no MLflow run outlives it."""
    bootstrap_project(project)
    try:
        with KedroSession.create(project_path=project, env=env, runtime_params=runtime_params) as opened:
            yield opened
    finally:
        while mlflow.active_run():
            mlflow.end_run()


def kedro(project: Path, *arguments: str) -> Result:
    """The command line in this process; all that it printed is in `output`."""
    bootstrap_project(project)
    mlflow_hook.run_id = None  # else it opens the run of a project before, if this one has none
    return CliRunner().invoke(KedroCLI(project), list(arguments))


def mlflow_runs(folder: Path) -> int:
    """How many runs the MLflow store below `folder` holds."""
    with sqlite3.connect(folder / "mlruns/mlflow.db") as database:
        return int(database.execute("SELECT count(*) FROM runs").fetchone()[0])
