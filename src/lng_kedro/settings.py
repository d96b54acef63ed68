"""Kedro's project settings."""

from lng_kedro.hooks import (
    EvaluationHooks,
    PreflightHooks,
    ProgressHooks,
    ReportingHooks,
    StartHooks,
    StopHooks,
    TrainingHooks,
)
from lng_kedro.processes import rank

HOOKS = (
    TrainingHooks(),
    EvaluationHooks(),
    ReportingHooks(),
    ProgressHooks(),
    StartHooks(),
    StopHooks(),
    PreflightHooks(),
)

# Of several training processes one writes.
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow",) if rank() else ()

CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "base",
    # An environment changes single keys and lists only its differences.
    "merge_strategy": {"parameters": "soft", "catalog": "soft", "globals": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*"]},
}
