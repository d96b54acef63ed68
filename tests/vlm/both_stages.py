"""Both stages through Unsloth: run as a program, since it has to be imported before all that it patches.

Usage: both_stages.py FOLDER [--without-gpu]. FOLDER holds `samples.parquet`, `photos`, `models.json` (name ->
VlmParams) and `{sft,grpo}_params.json`; `<name>/{sft,grpo}.json`, the figures of each step, and the adapters
in `<name>/{sft,grpo}` are written there.
"""

import gc
import json
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace


def open_unsloth(folder: Path, without_gpu: bool) -> None:
    os.environ["UNSLOTH_COMPILE_LOCATION"] = f"{folder}/compiled"
    if without_gpu:
        os.environ |= {"UNSLOTH_ALLOW_CPU": "1", "TORCHDYNAMO_DISABLE": "1"}
    import lng_kedro.vlm.unsloth_model  # noqa: F401

    if without_gpu:
        pretend_a_gpu()


def pretend_a_gpu() -> None:
    """Unsloth asks for a GPU when it is imported, and when it loads a model.

    It has no kernels of its own then, but its loaders, its trainers and all that they change.
    """
    import torch
    import unsloth.models.vision
    from unsloth.models.rl import PatchFastRL

    from lng_kedro.vlm import load

    del os.environ["UNSLOTH_ALLOW_CPU"]
    PatchFastRL(FastLanguageModel=unsloth.FastLanguageModel)
    gpu = SimpleNamespace(total_memory=24 << 30, name="none", major=9, minor=0, multi_processor_count=1)
    unsloth.models.vision.get_device_stats = lambda: ("", "", 0)
    torch.cuda.get_device_capability = lambda *_: (9, 0)
    torch.cuda.get_device_properties = lambda *_: gpu
    torch.cuda.mem_get_info = lambda *_: (20 << 30, 24 << 30)
    torch.cuda.current_device = lambda: 0
    # Gemma's default, FlexAttention, has no backward pass on a CPU.
    unsloth.FastVisionModel.from_pretrained = partial(
        unsloth.FastVisionModel.from_pretrained, attn_implementation="sdpa"
    )
    load.choose_backend = lambda spec: ("unsloth", "a test")


def train(folder: Path) -> None:
    import pandas as pd

    from lng_kedro.imaging import PhotoFolder
    from lng_kedro.taxonomy import load_taxonomy
    from lng_kedro.training.grpo import train_grpo
    from lng_kedro.training.params import GrpoParams, SftParams
    from lng_kedro.training.sft import train_sft
    from lng_kedro.vlm.spec import VlmParams
    from tests.training.notes import Notes

    gc.freeze()  # Unsloth collects garbage often, and need not go through all that is imported by now
    data = pd.read_parquet(folder / "samples.parquet"), PhotoFolder(folder / "photos")
    taxonomy = load_taxonomy(Path("conf/base/parameters/taxonomy.yml"))
    names = ("models", "sft_params", "grpo_params")
    given = {name: json.loads((folder / f"{name}.json").read_text()) for name in names}
    for name, values in given["models"].items():
        vlm, work = VlmParams(**values), folder / name
        notes = Notes()
        params = SftParams(**given["sft_params"] | {"work_dir": work / "sft_work"})
        adapter, _ = train_sft(*data, taxonomy, vlm, params, notes)
        (work / "sft.json").write_text(json.dumps(notes.steps))
        adapter.save_pretrained(work / "sft", selected_adapters=["default"])
        notes = Notes()
        params = GrpoParams(**given["grpo_params"] | {"work_dir": work / "grpo_work"})
        adapter, _ = train_grpo(*data, taxonomy, vlm, params, notes, work / "sft")
        (work / "grpo.json").write_text(json.dumps(notes.steps))
        adapter.save_pretrained(work / "grpo", selected_adapters=["default"])


if __name__ == "__main__":
    open_unsloth(Path(sys.argv[1]), "--without-gpu" in sys.argv)
    train(Path(sys.argv[1]))
