"""Claim: 200 photos of 1920 x 1080 are inspected at four times the photos a second of a plain loop.

The peer, measured in the same run with the same model: for each photo decode it, squeeze it to the square
that training saw, processor, generate, read the report. Ours is what `kedro run --pipelines inspection` does
once the model is loaded: all checks of the photos, answers constrained to the schema, scores, every report
on disk. It ends with an error where that is less than four times as fast.

    python benchmarks/inspection.py [PHOTOS] [ADAPTER]
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import torch
import yaml
from PIL import Image

from lng_kedro.aihub.render import write_photos
from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.inspection.in_process import InProcessEngine
from lng_kedro.inspection.journal import Reports
from lng_kedro.inspection.params import InspectionParams
from lng_kedro.inspection.photos import NewPhotos
from lng_kedro.inspection.run import inspect_photos
from lng_kedro.report import parse_report
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.vlm.generate import with_photo
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import VlmParams

ROOT = Path(__file__).parents[1]
TAXONOMY = load_taxonomy(ROOT / "conf/base/parameters/taxonomy.yml")
WANTED = 4
"""Times the photos a second of the loop, at least."""
RENDERED = 20
"""Different photos; the others are copies."""
PARAMS = InspectionParams.model_validate(
    {
        "engine": {"kind": "in_process", "batch_size": 40},
        "constrained": True,
        "max_new_tokens": 112,
        "look_ahead": 64,
        "jpeg_quality": 95,
        "max_pixels": 100_000_000,
        "max_bytes": 200_000_000,
        "page_mib": 48,
    }
)


def main(count: int = 200, adapter: str | None = None) -> None:
    models = yaml.safe_load((ROOT / "conf/base/parameters/models.yml").read_text())["vlm"]["models"]
    spec = models["tiny_qwen2_5_vl"] | {"checkpoint": str(ROOT / "models/tiny_qwen2_5_vl")}
    vlm_params = VlmParams(model="tiny", frame="native", models={"tiny": spec})
    place = Path(adapter) if adapter else None
    engine = InProcessEngine(
        vlm_params, place, TAXONOMY, PARAMS.engine, PARAMS.max_new_tokens, PARAMS.constrained
    )
    with tempfile.TemporaryDirectory() as folder:
        photos = make_photos(Path(folder) / "new", count)
        inspect_photos(
            make_photos(Path(folder) / "warm", 2), Reports(Path(folder) / "w/reports.jsonl"), engine, PARAMS
        )
        reports = Reports(Path(folder) / "out/reports.jsonl")
        start = time.perf_counter()
        inspect_photos(photos, reports, engine, PARAMS)
        ours = time.perf_counter() - start
        vlm = load_vlm(vlm_params, place)
        start = time.perf_counter()
        theirs = {name: single(vlm, engine.dialogue, photos.root / name) for name in photos.listing()}
        plain = time.perf_counter() - start
        found = list(reports)
    print(
        f"{count} photos, in batches of {PARAMS.engine.batch_size}: {ours:.1f} s, {count / ours:.1f} photos/s"
    )
    print(
        f"one by one: {plain:.1f} s, {count / plain:.1f} photos/s; ratio {plain / ours:.1f} (wanted {WANTED})"
    )
    print(f"schema-true reports: {sum(r.schema_true for r in found)} of {count}")
    ratio = plain / ours
    equal = sum([f["label"] for f in r.findings] == theirs[r.photo] for r in found)
    print(f"equal labels: {equal} of {count}")
    if ratio < WANTED:
        sys.exit(f"less than {WANTED} times the photos a second of a plain loop")


def make_photos(folder: Path, count: int) -> NewPhotos:
    write_photos(folder, min(count, RENDERED), TAXONOMY, seed=1, difficulty=0.2, n_jobs=2)
    rendered = sorted(folder.iterdir())
    for i in range(len(rendered), count):
        shutil.copy(rendered[i % len(rendered)], folder / f"copy_{i:05}.jpg")
    return NewPhotos.at(str(folder))


def single(vlm, dialogue, path: Path) -> list[str | None]:
    """As the model's documentation shows it."""
    with Image.open(path) as image:
        photo = image.convert("RGB").resize((PROCESSED_SIZE, PROCESSED_SIZE), Image.Resampling.LANCZOS)
    messages = with_photo(dialogue.prompt)
    text = vlm.processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    inputs = vlm.processor(text=[text], images=[photo], return_tensors="pt")
    with torch.inference_mode():
        ids = vlm.model.generate(
            **inputs,
            max_new_tokens=PARAMS.max_new_tokens,
            do_sample=False,
            suppress_tokens=list(vlm.barred_ids),
        )
    said = vlm.processor.batch_decode(ids[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)[0]
    return [finding.label for finding in parse_report(said, dialogue.taxonomy, dialogue.frame).findings]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]), *sys.argv[2:3])
