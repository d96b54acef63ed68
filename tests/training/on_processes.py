"""A stage by torchrun: run as a program. Usage: on_processes.py FOLDER STAGE NAME [STEP].

FOLDER holds `samples.parquet`, `photos` and `given.json` (vlm, sft, grpo -> parameters). Figures of each step
are written to FOLDER/NAME.json; at STEP the first process ends, as if it were killed.
"""

import json
import os
import sys
from pathlib import Path

import pandas as pd
import torch

from lng_kedro.imaging import PhotoFolder
from lng_kedro.processes import rank
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.params import GrpoParams, SftParams
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm.spec import VlmParams
from tests.training.notes import Notes

# The device of one of several processes is cpu:0; transformers asks torch to load the optimizer there, which
# knows cpu alone.
torch.serialization.register_package(
    0, lambda storage: None, lambda storage, location: storage if location.startswith("cpu:") else None
)

folder, stage, name = Path(sys.argv[1]), *sys.argv[2:4]
last = int(sys.argv[4]) if len(sys.argv) > 4 else None
given = json.loads((folder / "given.json").read_text())


def cut(step: int) -> None:
    if step == last:
        os._exit(1)


notes = Notes(cut)
data = (
    pd.read_parquet(folder / "samples.parquet"),
    PhotoFolder(folder / "photos"),
    load_taxonomy(Path("conf/base/parameters/taxonomy.yml")),
    VlmParams(**given["vlm"]),
)
own = given[stage] | {"work_dir": folder / name}
if stage == "sft":
    train_sft(*data, SftParams(**own), notes)
else:
    train_grpo(*data, GrpoParams(**own), notes, None)
if rank() == 0:
    (folder / f"{name}.json").write_text(json.dumps(notes.steps))
