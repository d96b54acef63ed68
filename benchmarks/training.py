"""A training step through the project against a bare TRL script, and what encoding a photo once brings.

Wanted: SFT and GRPO at most 1.05 of the bare script's time; each photo decoded and processed once a run; the
speed-up of GRPO at eight candidates, with equal losses. The shipped tiny model, LoRA on its language model's
attention, so that the vision tower is frozen.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from PIL import Image, ImageFile
from transformers import AutoModelForImageTextToText, AutoProcessor, PrinterCallback, TrainerCallback
from trl import GRPOConfig, GRPOTrainer, SFTConfig, SFTTrainer

from lng_kedro.imaging import PhotoFolder
from lng_kedro.prompts import chat_completion, chat_prompt
from lng_kedro.report import to_json
from lng_kedro.rewards import build_rewards
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.training.grpo import train_grpo
from lng_kedro.training.order import SimilarLengths
from lng_kedro.training.params import GrpoParams, SftParams
from lng_kedro.training.sft import train_sft
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.photos_once import encode_photos_once
from lng_kedro.vlm.spec import VlmParams

ROOT = Path(__file__).parents[1]
PHOTOS, CANDIDATES, STEPS, WARM_UP = 48, 8, 12, 2
TAXONOMY = load_taxonomy(ROOT / "conf/base/parameters/taxonomy.yml")


def main() -> None:
    """Each pair in turn, so that neither has the machine's better minutes."""
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        data = make_data(work)
        for stage, ours, bare in (("SFT", our_sft, bare_sft), ("GRPO", our_grpo, bare_grpo)):
            found = [(ours(data, work / f"{stage}{i}"), bare(data)) for i in range(2)]
            mine, theirs = (
                statistics.median(t for pair in found for t in pair[k]["seconds"]) for k in (0, 1)
            )
            print(
                f"{stage}: {mine:.3f} s a step, bare TRL {theirs:.3f} s; "
                f"ratio {mine / theirs:.3f} (wanted 1.05)"
            )
            ours_, bare_ = found[0]
            print(
                f"  of {ours_['photos']} photos met, the project decoded {ours_['decoded']}, "
                f"bare TRL {bare_['decoded']} times"
            )
        plain, once = bare_grpo(data), bare_grpo(data, encode_once=True)
        difference = max(abs(a - b) for a, b in zip(plain["losses"], once["losses"], strict=True))
        seconds = [statistics.median(run["seconds"]) for run in (plain, once)]
        print(
            f"encoded once for {CANDIDATES} candidates: {seconds[0] / seconds[1]:.2f} times as fast as TRL "
            f"({seconds[1]:.3f} s for {seconds[0]:.3f} s a step); the tower saw {once['encoded']} photos for "
            f"{plain['encoded']}; losses differ by at most {difference:.1e} (wanted 1e-5)"
        )


def make_data(work: Path) -> tuple[pd.DataFrame, PhotoFolder, VlmParams]:
    """Noise with one finding each: the time of a step knows no content."""
    rng = np.random.default_rng(0)
    folder = work / "photos"
    folder.mkdir()
    rows = []
    for i in range(PHOTOS):
        pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((512, 512)).save(folder / f"p{i}.jpg")
        finding = {
            "label": TAXONOMY.label_names[i % 15],
            "bbox": [100, 60, 240, 260],
            **{name: TAXONOMY.choices(name)[0] for name in TAXONOMY.field_names},
        }
        rows.append({"photo_id": f"p{i}", "ground_truth": json.dumps([finding])})
    models = yaml.safe_load((ROOT / "conf/base/parameters/models.yml").read_text())["vlm"]["models"]
    spec = models["tiny_qwen2_5_vl"] | {
        "checkpoint": str(ROOT / "models/tiny_qwen2_5_vl"),
        "lora_targets": "language_attention",
    }
    return pd.DataFrame(rows), PhotoFolder(folder), VlmParams(model="t", frame="native", models={"t": spec})


def values(work_dir: Path) -> dict:
    base = yaml.safe_load((ROOT / "conf/base/parameters/grpo_training.yml").read_text())["grpo_training"]
    table_1 = yaml.safe_load((ROOT / "conf/base/parameters/sft_training.yml").read_text())["table_1"]
    return (
        base
        | table_1
        | {
            "optimizer": "adamw_torch",
            "bf16": False,
            "gradient_checkpointing": False,
            "batch_size": 4,
            "gradient_accumulation": 4,
            "num_generations": CANDIDATES,
            "max_completion_length": 64,
            "logging_steps": 1,
            "save_steps": 1000,
            "work_dir": work_dir,
        }
    )


class Watch(TrainerCallback):
    """Times of steps, for a bare trainer."""

    def __init__(self) -> None:
        self.figures_of, self.times = [], []

    def on_log(self, _, state, __, logs=None, **_options) -> None:
        self.figures(logs, state.global_step)

    def figures(self, values, _) -> None:
        """Of a `Tracker` too."""
        self.times.append(time.perf_counter())
        self.figures_of.append(values)

    def candidates(self, rows) -> None:
        pass

    def configuration(self, values) -> None:
        pass

    def result(self, decoded: int, photos: int, encoded: int = 0) -> dict:
        seconds = np.diff(self.times)[WARM_UP : STEPS - 1].tolist()
        losses = [v["loss"] for v in self.figures_of if "loss" in v]
        return {
            "seconds": seconds,
            "losses": losses,
            "decoded": decoded,
            "photos": photos,
            "encoded": encoded,
        }


class Decoded:
    """Counts what Pillow decodes."""

    def __enter__(self):
        self.count, self._load = 0, ImageFile.ImageFile.load
        counter = self

        def load(image):
            counter.count += bool(image.tile)
            return counter._load(image)

        ImageFile.ImageFile.load = load
        return self

    def __exit__(self, *_) -> None:
        ImageFile.ImageFile.load = self._load


def our_sft(data, work_dir) -> dict:
    watch = Watch()
    grpo = values(work_dir)
    names = SftParams.model_fields.keys() - {"reasoning_share"}
    params = SftParams(**{k: grpo[k] for k in names}, reasoning_share=0.0).model_copy(
        update={"epochs": STEPS * 16 / PHOTOS}
    )
    with Decoded() as decoded:
        train_sft(data[0], data[1], TAXONOMY, data[2], params, watch)
    return watch.result(decoded.count, PHOTOS)


def our_grpo(data, work_dir) -> dict:
    watch = Watch()
    params = GrpoParams(**values(work_dir) | {"epochs": STEPS * 2 / PHOTOS})
    with Decoded() as decoded:
        train_grpo(data[0], data[1], TAXONOMY, data[2], params, watch, None)
    return watch.result(decoded.count, STEPS * 2)


def bare(data) -> tuple:
    """Model and processor as the project sets them up, by hand."""
    checkpoint = data[2].spec.checkpoint
    torch.manual_seed(42)
    model = AutoModelForImageTextToText.from_pretrained(checkpoint, dtype=torch.float32)
    model = get_peft_model(
        model,
        LoraConfig(r=16, lora_alpha=32, target_modules=data[2].spec.adapted_layers, task_type="CAUSAL_LM"),
    )
    return model, AutoProcessor.from_pretrained(checkpoint)


COMMON = {
    "learning_rate": 2e-5,
    "lr_scheduler_type": "cosine",
    "warmup_steps": 0.03,
    "optim": "adamw_torch",
    "bf16": False,
    "use_cpu": True,
    "gradient_checkpointing": False,
    "dataloader_pin_memory": False,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 4,
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": [],
    "disable_tqdm": True,
    "seed": 42,
    "max_steps": STEPS,
}


def rows_of(data, reasoning: bool) -> dict:
    frame = load_vlm(data[2]).frame
    objects = [json.loads(truth) for truth in data[0]["ground_truth"]]
    reports = [to_json(o, TAXONOMY, frame) for o in objects]
    return {
        "prompt": [chat_prompt(TAXONOMY, frame, reasoning)] * PHOTOS,
        "completion": [chat_completion(r, o, reasoning) for r, o in zip(reports, objects, strict=True)],
        "ground_truth": reports,
        "images": [[str(data[1].path(photo_id))] for photo_id in data[0]["photo_id"]],
    }


def opened(batch: dict) -> dict:
    return {**batch, "images": [[Image.open(path) for path in paths] for paths in batch["images"]]}


def bare_sft(data) -> dict:
    rows, watch = rows_of(data, reasoning=False), Watch()
    model, processor = bare(data)
    dataset = Dataset.from_dict({k: rows[k] for k in ("prompt", "completion", "images")})
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir="unused",
            max_length=None,
            completion_only_loss=True,
            remove_unused_columns=False,
            **COMMON,
        ),
        train_dataset=dataset.with_transform(opened),
        processing_class=processor,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    with Decoded() as decoded:
        trainer.train()
    return watch.result(decoded.count, PHOTOS)


def bare_grpo(data, encode_once: bool = False) -> dict:
    rows, watch = rows_of(data, reasoning=True), Watch()
    model, processor = bare(data)
    tower = model.base_model.model.model.visual
    encoded = []
    tower.register_forward_pre_hook(lambda _, args: encoded.append(len(args[0]) // 64))  # patches of a photo
    if encode_once:
        encode_photos_once(model, keep=2)
    order = SimilarLengths(data[0]["ground_truth"].str.len().tolist(), 2, 42)
    dataset = Dataset.from_dict({k: rows[k] for k in ("prompt", "ground_truth", "images")}).select(
        list(order)
    )
    frame = load_vlm(data[2]).frame
    rewards = build_rewards(TAXONOMY, frame)
    weights = values(Path())["reward_weights"]
    barred = load_vlm(data[2]).barred_ids
    trainer = GRPOTrainer(
        model=model,
        reward_funcs=list(rewards.values()),
        args=GRPOConfig(
            output_dir="unused",
            num_generations=CANDIDATES,
            max_completion_length=64,
            temperature=1.0,
            beta=0.01,
            loss_type="dapo",
            scale_rewards="group",
            shuffle_dataset=False,
            reward_weights=[weights[name] for name in rewards],
            generation_kwargs={"suppress_tokens": list(barred)},
            **COMMON,
        ),
        train_dataset=dataset.with_transform(opened),
        processing_class=processor,
        callbacks=[watch],
    )
    trainer.remove_callback(PrinterCallback)
    with Decoded() as decoded:
        trainer.train()
    return watch.result(decoded.count, STEPS * 2, sum(encoded))


if __name__ == "__main__":
    sys.exit(main())
