"""Peak memory and speed of both stages on a GPU: models of full size with random weights, nothing is fetched.

Wanted: every model fits a card of 24 GB in both stages, to which PyTorch is held; and Unsloth's speed against
plain transformers. A run is MODEL/STAGE/BACKEND: a process of its own that trains a few steps by the project
itself, with the parameters of conf/base, eight findings a photo, as many tokens to a text as the prediction
assumes, and in GRPO an adapter to start from. Several runs share the GPU at a time, which changes their speed
but not their memory; those that end in /alone have it for themselves.

    python benchmarks/gpu.py                    # all; wants a card of 80 GB
    python benchmarks/gpu.py --together 1       # a card of 24 GB will do
    python benchmarks/gpu.py qwen2_5_vl_7b/sft/auto/alone qwen2_5_vl_7b/sft/transformers/alone
    python benchmarks/gpu.py --tiny             # small models on a CPU: does this script run?
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from gpu_run import CARD, PHOTOS, SAMPLES, STEPS, TAXONOMY, parameters
from PIL import Image

from lng_kedro.training.memory import CONTEXT, GIB, estimate_lengths, predict

MODELS = ["qwen2_5_vl_7b", "gemma_3_4b", "llava_1_6_mistral_7b", "qwen2_5_vl_3b"]
RUNS = [f"{model}/{stage}/auto" for model in MODELS for stage in ("grpo", "sft")]
RUNS += [f"qwen2_5_vl_3b/{stage}/{b}/alone" for stage in ("sft", "grpo") for b in ("auto", "transformers")]
RUNS += ["qwen2_5_vl_3b/ask/transformers/alone"]


def main() -> None:
    """Makes the models one after the other; the runs of each begin when it is there."""
    asked = arguments()
    if not (asked.tiny or torch.cuda.is_available()):
        return print("There is no GPU here; --tiny tries this script on a CPU")
    with tempfile.TemporaryDirectory(dir=asked.work) as folder, ThreadPoolExecutor(asked.together) as pool:
        work = Path(folder)
        (work / "photos").mkdir()
        for i, name in enumerate(PHOTOS):
            pixels = np.random.default_rng(i).integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((512, 512)).save(work / f"photos/{name}.jpg")
        call = partial(run, asked=asked, work=work, end=time.monotonic() + asked.deadline)
        models = list(dict.fromkeys(name.partition("/")[0] for name in asked.runs))
        waiting: list[str] = []
        for model in models:
            if call(f"{model}/make"):
                waiting += begin(model, asked.runs, pool, call)
        for name in waiting:  # for the GPU to be theirs alone
            pool.submit(call, name)
        predicted = {(model, stage): prediction(model, stage) for model in models for stage in STEPS}
    return report(asked.out, predicted)


def arguments() -> argparse.Namespace:
    """What is asked for."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("runs", nargs="*", default=RUNS)
    parser.add_argument("--out", type=Path, default=Path("gpu.jsonl"), help="what was found, a line a run")
    parser.add_argument("--work", help="a folder with room for the models, 50 GB for all")
    parser.add_argument("--together", type=int, default=3, help="runs at a time")
    parser.add_argument("--deadline", type=float, default=7200, help="seconds for all of it")
    parser.add_argument("--tiny", action="store_true")
    return parser.parse_args()


def begin(model: str, names: list[str], pool: ThreadPoolExecutor, call) -> list[str]:
    """Begins the runs of a model that may share the GPU; the others are returned."""
    own = [name for name in names if name.startswith(f"{model}/")]
    for name in own:
        if not name.endswith("/alone"):
            pool.submit(call, name)
    return [name for name in own if name.endswith("/alone")]


def run(name: str, asked: argparse.Namespace, work: Path, end: float, held: bool = True) -> bool:
    """Runs in a process of its own, and writes down what it found or how it failed; False if it failed."""
    log, result = (work / f"{name.replace('/', '-')}.{kind}" for kind in ("log", "json"))
    given = {"name": name, "work": str(work), "result": str(result), "held": held, "tiny": asked.tiny}
    # Where Unsloth writes code: runs at the same time must not write the same files.
    own = {"HF_HUB_OFFLINE": "1", "UNSLOTH_COMPILE_LOCATION": str(work / f"code_{log.stem}")}
    started, why = time.monotonic(), ""
    with log.open("w") as output:
        try:
            command = [sys.executable, str(Path(__file__).with_name("gpu_run.py")), json.dumps(given)]
            said = {"stdout": output, "stderr": subprocess.STDOUT, "env": os.environ | own}
            subprocess.run(command, **said, timeout=max(end - started, 0.1), check=False)
        except subprocess.TimeoutExpired:
            why = "no time was left; "
    text = log.read_text(errors="replace")
    found = json.loads(result.read_text()) if result.exists() else {"error": why + text[-1500:]}
    result.unlink(missing_ok=True)
    found = {"run": name, "held": held, "wall": time.monotonic() - started} | found
    print(json.dumps(found)[:600], flush=True)
    told = {asked.out: json.dumps(found), asked.out.with_suffix(".log"): f"== {name}\n{text[-20000:]}"}
    for file, line in told.items():
        with file.open("a") as output:
            output.write(f"{line}\n")
    if held and "out of memory" in found.get("error", ""):
        return run(name, asked, work, end, held=False)  # how much does it take?
    return "error" not in found


def prediction(model: str, stage: str) -> dict:
    """What is predicted, in bytes, and for how many tokens."""
    vlm, params = parameters(model, stage, tiny=False)
    lengths = estimate_lengths(vlm, params, TAXONOMY, SAMPLES)
    expected = predict(vlm.spec, params, lengths)
    return {"total": expected.total, "moment": expected.moment, **expected.parts, "prompt": lengths.prompt}


def report(out: Path, predicted: dict) -> None:
    """A table of all runs; GiB, seconds a step, tokens a second."""
    rows = []
    for line in out.read_text().splitlines():
        found = json.loads(line)
        model, stage, *how = found["run"].split("/")
        if stage == "make" or (model, stage) not in predicted:
            continue
        expected = predicted[model, stage]
        row = {"model": model, "stage": stage, "how": " ".join(how) + ("" if found["held"] else " not held")}
        row |= {"predicted": expected["total"] / GIB, "moment": expected["moment"]}
        if "reserved" in found:
            beside = CONTEXT if found["beside"] is None else found["beside"]
            row |= {name: found[name] / GIB for name in ("allocated", "reserved")} | {"beside": beside / GIB}
            row |= {"ratio": (found["reserved"] + beside) / expected["total"]}
            row |= {"fits": "error" not in found and found["reserved"] + beside <= CARD}
        row |= {"step": found["seconds"][-1]} if "seconds" in found else {"error": found["error"][-50:]}
        row |= {name: found[name] for name in ("tokens", "training_rate", "generation_rate") if name in found}
        rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False, float_format="%.2f", na_rep=""))
    for (model, stage), parts in predicted.items():
        sizes = {
            name: round(size / GIB, 2) for name, size in parts.items() if name not in ("moment", "prompt")
        }
        print(f"predicted for {model} {stage}, a prompt of {parts['prompt']} tokens, in GiB: {sizes}")


if __name__ == "__main__":
    sys.exit(main())
