"""Unsloth or plain transformers with PEFT: which of them loads a model, and why."""

import os
from importlib.util import find_spec
from typing import Literal

from lng_kedro.vlm.spec import ModelSpec

INSTALL_UNSLOTH = "pip install -c constraints.txt -e '.[train,gpu]'"

Backend = Literal["unsloth", "transformers"]


def choose_backend(spec: ModelSpec) -> tuple[Backend, str]:
    """The backend for a model, and the reason.

    Raises:
        ValueError: the backend that is asked for, or the GPU, is not there.
    """
    import torch

    if spec.device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "it needs a CUDA GPU, and PyTorch sees none here (the demo needs none: `kedro run --env demo`)"
        )
    if spec.backend == "transformers":
        return "transformers", "asked for by name"
    if spec.device == "cpu":
        return "transformers", "Unsloth has no vision models on a CPU"
    if find_spec("unsloth") is None:
        if spec.backend == "unsloth":
            raise ValueError(f"backend 'unsloth' is asked for, which is not installed: {INSTALL_UNSLOTH}")
        return "transformers", f"Unsloth, which is faster, is not installed: {INSTALL_UNSLOTH}"
    return "unsloth", "asked for by name" if spec.backend == "unsloth" else "there are a GPU and the package"


def device_of(spec: ModelSpec) -> str:
    """The device of this process: of several, each has the GPU of its own rank."""
    return "cpu" if spec.device == "cpu" else f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
