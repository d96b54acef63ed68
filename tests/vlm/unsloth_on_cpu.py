"""Both stages through Unsloth on a CPU, as far as it goes there: run as a program, in a process of its own.

Usage: unsloth_on_cpu.py FOLDER, which holds `samples.parquet`, `photos`, `{sft,grpo}_params.json` and
`models.json` (name -> VlmParams). Writes `FOLDER/<name>/{sft,grpo}.json`: the figures of each step.
"""

import json
import os
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

# Unsloth asks for a GPU when it is imported, and when it loads a model. It has no kernels of its own here,
# but its loaders, its trainers and all that they change.
os.environ |= {"UNSLOTH_ALLOW_CPU": "1", "TORCHDYNAMO_DISABLE": "1"}
os.environ["UNSLOTH_COMPILE_LOCATION"] = f"{sys.argv[1]}/compiled"

import lng_kedro.vlm.unsloth_model  # noqa: F401  before torch's and transformers' users

del os.environ["UNSLOTH_ALLOW_CPU"]

import pandas as pd
import torch
import unsloth.models.vision
from unsloth import FastLanguageModel
from unsloth.models.rl import PatchFastRL

from lng_kedro.imaging import PhotoFolder
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.params import GrpoParams, SftParams
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm import load
from lng_kedro.vlm.spec import VlmParams
from tests.training.notes import Notes

PatchFastRL(FastLanguageModel=FastLanguageModel)
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

folder = Path(sys.argv[1])
data = pd.read_parquet(folder / "samples.parquet"), PhotoFolder(folder / "photos")
taxonomy = load_taxonomy(Path("conf/base/parameters/taxonomy.yml"))
sft_params, grpo_params = (json.loads((folder / f"{s}_params.json").read_text()) for s in ("sft", "grpo"))
for name, values in json.loads((folder / "models.json").read_text()).items():
    vlm = VlmParams(**values)
    work = folder / name
    notes = Notes()
    model, _ = train_sft(
        *data, taxonomy, vlm, SftParams(**sft_params | {"work_dir": work / "sft_work"}), notes
    )
    (work / "sft.json").write_text(json.dumps(notes.steps))
    model.save_pretrained(work / "sft", selected_adapters=["default"])
    notes = Notes()
    params = GrpoParams(**grpo_params | {"work_dir": work / "grpo_work"})
    model, _ = train_grpo(*data, taxonomy, vlm, params, notes, work / "sft")
    (work / "grpo.json").write_text(json.dumps(notes.steps))
    model.save_pretrained(work / "grpo", selected_adapters=["default"])
