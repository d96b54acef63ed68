"""Answers about a test split in batches against a loop of single `generate` calls, on the shipped tiny model.

Wanted: at least 4 times as fast, with equal greedy answers.
"""

import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
import yaml
from PIL import Image

from lng_kedro.imaging import PhotoFolder
from lng_kedro.prompts import chat_prompt
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.vlm.answers import answer_file, answers_on_disk
from lng_kedro.vlm.generate import with_photo
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import VlmParams

ROOT = Path(__file__).parents[1]
PHOTOS, BATCH, MAX_NEW_TOKENS = 120, 60, 112


def main() -> None:
    torch.set_num_threads(2)
    taxonomy = load_taxonomy(ROOT / "conf/base/parameters/taxonomy.yml")
    models = yaml.safe_load((ROOT / "conf/base/parameters/models.yml").read_text())["vlm"]["models"]
    spec = models["tiny_qwen2_5_vl"] | {"checkpoint": str(ROOT / "models/tiny_qwen2_5_vl")}
    vlm = load_vlm(VlmParams(model="t", frame="native", models={"t": spec}))
    prompt = chat_prompt(taxonomy, vlm.frame)
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder))
        loaders = [partial(photos.load, f"p{i}") for i in range(PHOTOS)]
        start = time.perf_counter()
        file = answer_file(Path(folder), "benchmark")
        ours = [a.text for a in answers_on_disk(file, vlm, prompt, loaders, BATCH, MAX_NEW_TOKENS)]
        batched = time.perf_counter() - start
        start = time.perf_counter()
        theirs = [single(vlm, prompt, load()) for load in loaders]
        one_by_one = time.perf_counter() - start
    equal = sum(a == b for a, b in zip(ours, theirs, strict=True))
    print(f"{PHOTOS} photos in batches of {BATCH}, with scores, on disk: {batched:.1f} s")
    print(f"one by one: {one_by_one:.1f} s; ratio {one_by_one / batched:.1f} (wanted 4)")
    print(f"equal answers: {equal} of {PHOTOS}")


def make_photos(folder: Path) -> PhotoFolder:
    """Plain shapes on noise, so that answers have findings and differ."""
    rng = np.random.default_rng(0)
    for i in range(PHOTOS):
        pixels = rng.integers(90, 130, (512, 512, 3), dtype=np.uint8)
        for _ in range(rng.integers(1, 4)):
            x, y, w, h = *rng.integers(0, 380, 2), *rng.integers(60, 130, 2)
            pixels[y : y + h, x : x + w] = rng.integers(0, 255, 3)
        Image.fromarray(pixels).save(folder / f"p{i}.jpg", quality=90)
    return PhotoFolder(folder)


def single(vlm, prompt, photo) -> str:
    """As the model's documentation shows it."""
    text = vlm.processor.apply_chat_template(with_photo(prompt), tokenize=False, add_generation_prompt=True)
    inputs = vlm.processor(text=[text], images=[photo], return_tensors="pt")
    with torch.inference_mode():
        ids = vlm.model.generate(
            **inputs,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            suppress_tokens=list(vlm.barred_ids),
        )
    return vlm.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]


if __name__ == "__main__":
    sys.exit(main())
