"""Structured inspection reports from photos of LNG-tank manufacturing (SFT + GRPO on open LVLMs)."""

import os

__version__ = "0.1.0"

# MLflow asks its makers' server as soon as it is imported. Kedro imports this package before: its entry point
# `kedro.init` in a command, the project's settings elsewhere. Processes that are started inherit it.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("DO_NOT_TRACK", "true")
