"""GRPO by torchrun: run as a program. Usage: grpo_on_processes.py FOLDER NAME; writes FOLDER/NAME.json."""

import json
import sys
from pathlib import Path

import pandas as pd

from lng_kedro.imaging import PhotoFolder
from lng_kedro.processes import rank
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.params import GrpoParams
from lng_kedro.vlm.spec import VlmParams
from tests.training.notes import Notes

folder, name = Path(sys.argv[1]), sys.argv[2]
given = json.loads((folder / "given.json").read_text())
notes = Notes()
train_grpo(
    pd.read_parquet(folder / "samples.parquet"),
    PhotoFolder(folder / "photos"),
    load_taxonomy(Path("conf/base/parameters/taxonomy.yml")),
    VlmParams(**given["vlm"]),
    GrpoParams(**given["grpo"] | {"work_dir": folder / name}),
    notes,
    None,
)
if rank() == 0:
    (folder / f"{name}.json").write_text(json.dumps(notes.steps))
