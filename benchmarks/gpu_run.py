"""A part of gpu.py, in a process of its own: it makes a model, trains one for a few steps, or asks it."""

import faulthandler
import fcntl
import json
import os
import sys
import time
import traceback
from bisect import bisect
from functools import wraps
from itertools import chain, count
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import yaml

from lng_kedro.imaging import PhotoFolder
from lng_kedro.prompts import chat_prompt
from lng_kedro.report import to_json
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.training.memory import CHARACTERS_PER_TOKEN, CONTEXT, GIB
from lng_kedro.training.params import GrpoParams, SftParams
from lng_kedro.vlm.backend import choose_backend
from lng_kedro.vlm.spec import VlmParams

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf/base/parameters"
TAXONOMY = load_taxonomy(CONF / "taxonomy.yml")
STEPS = {"sft": 3, "grpo": 2}
SECONDS = {"sft": 180, "grpo": 420, "ask": 240}
"""Most that a run may take, from when it has the GPU."""
ASKED = 600
"""Tokens of an answer at most."""
CARD = 23.6 * GIB
"""What a card of 24 GB has."""
IDS = {
    "qwen2_5_vl": (151643, 151644, 151645, 151652, 151653, 151655, 151656),
    "gemma3": (0, 1, 2, 3, 105, 106, 255999, 256000, 262144),
    "llava_next": (0, 1, 2, 32000, 32001),
}
"""Of the special tokens in the checkpoints, in the order of tests/checkpoints.py."""
TINY = {"hidden_size": 64, "out_hidden_size": 64, "intermediate_size": 128, "head_dim": 16}
TINY |= {"num_hidden_layers": 2, "depth": 2}
TINY |= {"num_attention_heads": 4, "num_heads": 4, "num_key_value_heads": 2}
PHOTOS = [f"p{i}" for i in range(24)]
FIELDS = {name: TAXONOMY.choices(name)[-1] for name in TAXONOMY.field_names}
OBJECTS = [{"label": label, "bbox": [12, 23, 345, 456], **FIELDS} for label in TAXONOMY.label_names[:8]]
SAMPLES = pd.DataFrame({"photo_id": PHOTOS, "ground_truth": json.dumps(OBJECTS)})


def main(name: str, work: str, result: str, held: bool, tiny: bool) -> None:
    """Does the run, or makes a model, and writes down what it found or how it failed."""
    model, stage, *how = name.split("/")
    try:
        given = Path(work), tiny
        found = (
            make(model, *given)
            if stage == "make"
            else (ask if stage == "ask" else train)(model, stage, how, held, *given)
        )
    except Exception:
        found = {"error": traceback.format_exc()[-1500:]}
        traceback.print_exc()
    if stage != "make":
        found |= memory()
    Path(result).write_text(json.dumps(found))


def parameters(model: str, stage: str, tiny: bool, backend: str = "auto", work: Path = Path()) -> tuple:
    """Of the model, whose checkpoint is in `work`, and of the stage, as conf/base has them."""
    spec = yaml.safe_load((CONF / "models.yml").read_text())["vlm"]["models"][model]
    spec |= {"checkpoint": str(work / model), "revision": "main", "backend": backend}
    values = yaml.safe_load((CONF / "sft_training.yml").read_text())["table_1"]
    values = yaml.safe_load((CONF / f"{stage}_training.yml").read_text())[f"{stage}_training"] | values
    values |= {"logging_steps": 1, "save_steps": 1000, "epochs": 1, "work_dir": work}
    if tiny:
        for part in ("text_config", "vision_config"):
            known = spec["architecture"][part]
            spec["architecture"][part] = {name: TINY.get(name, value) for name, value in known.items()}
        spec |= {"device": "cpu", "precision": "32bit"}
        values |= {"optimizer": "adamw_torch", "bf16": False, "gradient_checkpointing": False}
        values |= {"max_completion_length": 24} if stage == "grpo" else {}
    vlm = VlmParams(model=model, frame="native", models={model: spec})
    return vlm, (GrpoParams if stage == "grpo" else SftParams)(**values)


def make(model: str, work: Path, tiny: bool) -> dict:
    """Writes a checkpoint, and an adapter for it."""
    import torch
    from transformers import AutoConfig, AutoModelForImageTextToText

    from lng_kedro.vlm.load import add_adapter

    vlm, params = parameters(model, "sft", tiny)
    config = AutoConfig.for_model(vlm.spec.family, **vlm.spec.architecture)
    text = config.text_config
    if vlm.spec.family == "qwen2_5_vl":
        width = text.hidden_size // text.num_attention_heads
        text.rope_parameters["mrope_section"] = [width // 8, 3 * width // 16, 3 * width // 16]
    if vlm.spec.family == "llava_next":
        text.sliding_window = None  # as its checkpoint, unlike what transformers takes for one
    with torch.device("meta"):
        filled = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    filled.to_empty(device="cpu").tie_weights()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    for name, weight in filled.named_parameters():
        if weight.ndim == 1:
            weight.data.fill_(not name.endswith("bias"))
        else:
            weight.data.copy_(torch.empty_like(weight, device=device).normal_(std=0.02))
    filled.save_pretrained(work / model)
    numbers = sum(weight.numel() for weight in filled.parameters())
    processor(vlm.spec.family, config).save_pretrained(work / model)
    add_adapter(filled, vlm.spec, params.lora).save_pretrained(work / f"{model}-adapter")
    return {"parameters": numbers}


def processor(family: str, config):
    """The family's, with its ids and sizes, and a text has as many tokens as the prediction assumes."""
    from tokenizers import pre_tokenizers, trainers

    sys.path.append(str(ROOT))
    from tests.checkpoints import TOKENS, byte_level, make_processor, make_tokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    prompt, answer = chat_prompt(TAXONOMY, reasoning=True), to_json(OBJECTS[:1], TAXONOMY)
    said = "".join(message["content"] for message in prompt) + answer
    learnt = byte_level(letters)
    learnt.train_from_iterator([said], trainers.BpeTrainer(show_progress=False, initial_alphabet=letters))
    merges = [tuple(pair) for pair in json.loads(learnt.to_str())["model"]["merges"]]

    def tokens(number: int) -> list[str]:
        return [*letters, *dict.fromkeys(a + b for a, b in merges[:number])]

    def characters(number: int) -> float:
        return len(said) / len(byte_level(tokens(number), merges[:number]).encode(said).ids)

    number = bisect(range(len(merges)), CHARACTERS_PER_TOKEN, key=characters)
    special = dict(zip(IDS[family], TOKENS[family][0], strict=True))
    others = chain(tokens(number), (f"<{i}>" for i in count()))  # random weights speak of all that they know
    vocabulary = [special.get(i) or next(others) for i in range(config.text_config.vocab_size)]
    tokenizer = make_tokenizer(family, byte_level(vocabulary, merges[:number]))
    side = getattr(config.vision_config, "image_size", 504)
    photo_tokens, shapes = (getattr(config, n, ()) for n in ("mm_tokens_per_image", "image_grid_pinpoints"))
    return make_processor(family, tokenizer, side, photo_tokens, shapes)


class Clock:
    """A tracker that knows how long a step took, and in GRPO the generation of its answers."""

    def __init__(self) -> None:
        self.times, self.generations, self.logs = [], [], []

    def configuration(self, _) -> None:
        """Training begins."""
        self.times.append(now())

    def figures(self, values, _) -> None:
        """A step has ended."""
        if "loss" in values:
            self.times.append(now())
            self.logs.append(values)

    def candidates(self, _) -> None:
        """Nobody reads them here."""

    def timed(self, generate):
        """The trainer's method, with its time noted."""

        @wraps(generate)
        def generate_timed(*args, **options):
            begun = now()
            answers = generate(*args, **options)
            self.generations.append(now() - begun)
            return answers

        return generate_timed


def now() -> float:
    """When the GPU is done with what it was told."""
    import torch

    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


def train(model: str, stage: str, how: list[str], held: bool, work: Path, tiny: bool) -> dict:
    """Seconds of each step, of which the first is slower, and tokens a second of the last."""
    vlm, params = parameters(model, stage, tiny, how[0], work)
    # Of its own: a run with the same parameters would go on from its checkpoints.
    params = params.model_copy(update={"work_dir": Path(mkdtemp(dir=work))})
    if choose_backend(vlm.spec)[0] == "unsloth":
        import lng_kedro.vlm.unsloth_model  # noqa: F401  before all that it patches
    from lng_kedro.training import grpo, sft, trainers

    clock, trainer = Clock(), trainers.OrderedGrpoTrainer
    trainer._generate_single_turn = clock.timed(trainer._generate_single_turn)
    sft.check_gpu = grpo.check_gpu = lambda *_: None  # a prediction must not stop what it is compared with
    each = params.photos_per_step if stage == "grpo" else params.samples_per_step
    data = SAMPLES[: STEPS[stage] * each], PhotoFolder(work / "photos"), TAXONOMY, vlm, params, clock
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH if held and "alone" not in how else fcntl.LOCK_EX)
        faulthandler.dump_traceback_later(SECONDS[stage], exit=True)
        if held and vlm.spec.device == "cuda":
            hold()
        grpo.train_grpo(*data, work / f"{model}-adapter") if stage == "grpo" else sft.train_sft(*data)
        faulthandler.cancel_dump_traceback_later()
    seconds, generation = np.diff(clock.times).tolist(), clock.generations[-1:] or [0]
    # The first is GRPO's; of SFT's logs, Unsloth leaves it out.
    name = "num_tokens" if stage == "grpo" else "num_input_tokens_seen"
    read = np.diff([0, *(log[name] for log in clock.logs)]).tolist()[-1]
    found = {"seconds": seconds, "tokens": read, "losses": [log["loss"] for log in clock.logs]}
    found |= {"training_rate": read / (seconds[-1] - generation[-1])}
    if stage == "grpo":
        answered = clock.logs[-1]["completions/mean_length"] * params.samples_per_step
        found |= {"generation": generation[-1], "generation_rate": answered / generation[-1]}
    return found


def ask(model: str, stage: str, how: list[str], held: bool, work: Path, tiny: bool) -> dict:
    """Seconds of a batch of answers, free and constrained to reports, and how many are reports."""
    from lng_kedro.vlm.constraint import compile_constraint
    from lng_kedro.vlm.dialogue import Dialogue
    from lng_kedro.vlm.generate import answer_batch
    from lng_kedro.vlm.load import load_vlm

    spec, _ = parameters(model, "sft", tiny, how[0], work)
    with (work / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        faulthandler.dump_traceback_later(SECONDS[stage], exit=True)
        if held and spec.spec.device == "cuda":
            hold()
        vlm = load_vlm(spec, work / f"{model}-adapter")
        dialogue = Dialogue(taxonomy=TAXONOMY, frame=vlm.frame, reasoning=False)
        photos = [PhotoFolder(work / "photos").load(name) for name in PHOTOS[:8]]
        begun = now()
        constraint, found = compile_constraint(vlm, dialogue, ASKED), {}
        found["compiled"] = now() - begun
        for kind, mask in (("free", None), ("constrained", constraint)) * 2:  # the first time is slower
            begun = now()
            answers = answer_batch(vlm, dialogue.prompt, photos, ASKED, mask)
            steps = max(answer.n_tokens for answer in answers)
            found[kind] = (now() - begun) / steps
            found[f"{kind}_true"] = sum(dialogue.read(a.text)[0].schema_true for a in answers)
            found[f"{kind}_steps"] = steps
        faulthandler.cancel_dump_traceback_later()
    return found | {"ratio": found["constrained"] / found["free"], "answers": len(photos)}


def hold() -> None:
    """Holds PyTorch to a card of 24 GB, and Unsloth, which cuts its work to fit what is free."""
    import torch

    most, total = int(CARD - CONTEXT), torch.cuda.mem_get_info()[1]
    torch.cuda.set_per_process_memory_fraction(most / total)
    torch.cuda.mem_get_info = lambda device=None: (most - torch.cuda.memory_reserved(device), total)


def memory() -> dict:
    """Peaks in bytes: what PyTorch's allocator gave out and held; and what the process takes beside that."""
    import torch

    if not torch.cuda.is_initialized():
        return {}
    found = {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    try:
        import pynvml

        pynvml.nvmlInit()
        device = pynvml.nvmlDeviceGetHandleByIndex(torch.cuda.current_device())
        taken = {p.pid: p.usedGpuMemory for p in pynvml.nvmlDeviceGetComputeRunningProcesses(device)}
        return found | {"beside": taken[os.getpid()] - torch.cuda.memory_reserved()}
    except Exception as error:  # not every machine tells
        return found | {"beside": None, "why": repr(error)}


if __name__ == "__main__" and len(sys.argv) > 1:  # alone it has nothing to do
    main(**json.loads(sys.argv[1]))
