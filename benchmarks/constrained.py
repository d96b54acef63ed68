"""Constrained answers against free ones: time, figures, and 100,000 random walks.

Wanted: at most 1.15 times the time of free answers, by the tiny model at the demo's batch; every answer and
every walk schema-true. Models and photos are the demo's (`make demo`) where its data are; without them the
base model looks at plain shapes, and there are no figures.
"""

import argparse
import json
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import pandas as pd
import torch
import yaml
from joblib import Parallel, delayed

sys.path += [str(Path(__file__).parents[1])]  # what walks is the tests'

from generation import make_photos

from lng_kedro.geometry import Frame
from lng_kedro.imaging import PhotoFolder
from lng_kedro.metrics import Scores
from lng_kedro.taxonomy import load_taxonomy
from lng_kedro.vlm.constraint import compile_constraint
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import generate_answers
from lng_kedro.vlm.load import load_vlm
from lng_kedro.vlm.spec import VlmParams
from tests.vlm.walks import faults, kinds, vlm_of

ROOT = Path(__file__).parents[1]
BATCH, MAX_NEW_TOKENS, WALKS_AT_ONCE = 120, 112, 500
STAGES = {"base": (None, False), "sft": ("sft_adapter", False), "sft_grpo": ("grpo_adapter", True)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=ROOT / "data", help="data folder of a demo")
    parser.add_argument("--rounds", type=int, default=3, help="of the timed batch; the quickest counts")
    parser.add_argument("--walks", type=int, default=100_000)
    given = parser.parse_args()
    torch.set_num_threads(2)
    taxonomy = load_taxonomy(ROOT / "conf/base/parameters/taxonomy.yml")
    with tempfile.TemporaryDirectory() as folder:
        if (given.data / "05_model_input/test_samples.parquet").exists():
            samples = pd.read_parquet(given.data / "05_model_input/test_samples.parquet")
            photos = PhotoFolder(given.data / "04_feature/photos")
            taxonomy = load_taxonomy(given.data / "03_primary/taxonomy.json")
            loaders = [partial(photos.load, photo_id) for photo_id in samples["photo_id"]]
            truth = samples["ground_truth"].map(json.loads).tolist()
        else:
            photos, truth = make_photos(Path(folder)), None
            loaders = [partial(photos.load, f"p{i}") for i in range(BATCH)]
        adapters = given.data / "06_models/tiny_qwen2_5_vl"
        for name, (adapter, reasoning) in STAGES.items():
            if adapter is None or (adapters / adapter).exists():
                vlm, dialogue = model(taxonomy, adapter and adapters / adapter, reasoning)
                times(name, vlm, dialogue, loaders[:BATCH], given.rounds)
                if truth:
                    figures(vlm, dialogue, loaders, truth)
    walks(taxonomy, given.walks)


def model(taxonomy, adapter, reasoning):
    models = yaml.safe_load((ROOT / "conf/base/parameters/models.yml").read_text())["vlm"]["models"]
    spec = models["tiny_qwen2_5_vl"] | {"checkpoint": str(ROOT / "models/tiny_qwen2_5_vl")}
    vlm = load_vlm(VlmParams(model="t", frame="native", models={"t": spec}), adapter)
    return vlm, Dialogue(taxonomy=taxonomy, frame=vlm.frame, reasoning=reasoning)


def answers(vlm, dialogue, loaders, constraint):
    return list(generate_answers(vlm, dialogue.prompt, loaders, BATCH, MAX_NEW_TOKENS, constraint))


def times(name, vlm, dialogue, loaders, rounds) -> None:
    """Of one batch, turn by turn, so that whatever else the machine does meets both."""
    start = time.perf_counter()
    constraint = compile_constraint(vlm, dialogue, MAX_NEW_TOKENS)
    print(f"{name}: compiled in {time.perf_counter() - start:.2f} s")
    seconds, tokens = {"free": [], "constrained": []}, {}
    for _ in range(rounds):
        for kind, given in (("free", None), ("constrained", constraint)):
            start = time.perf_counter()
            found = answers(vlm, dialogue, loaders, given)
            seconds[kind].append(time.perf_counter() - start)
            tokens[kind] = sum(answer.n_tokens for answer in found)
    best = {kind: min(s) for kind, s in seconds.items()}
    for kind, s in best.items():
        each, token = 1000 * s / len(loaders), 1000 * s / tokens[kind]
        print(f"  {kind}: {s:.2f} s a batch, {each:.1f} ms a photo, {token:.3f} ms a token")
    a_photo = best["constrained"] / best["free"]
    a_token = a_photo * tokens["free"] / tokens["constrained"]
    print(f"  ratio a photo {a_photo:.3f}, a token {a_token:.3f} (wanted: at most 1.15)")


def figures(vlm, dialogue, loaders, truth) -> None:
    constraint = compile_constraint(vlm, dialogue, MAX_NEW_TOKENS)
    texts = {}
    for kind, given in (("free", None), ("constrained", constraint)):
        found = answers(vlm, dialogue, loaders, given)
        texts[kind] = [answer.text for answer in found]
        read = [dialogue.read(answer.text) for answer in found]
        said = [
            [{**o, "score": s} for o, s in zip(objects, answer.scores, strict=False)]
            for (_, objects), answer in zip(read, found, strict=True)
        ]
        also = {
            "valid_json": [report.valid_json for report, _ in read],
            "schema_true": [report.schema_true for report, _ in read],
        }
        all_figures = Scores(said, truth, dialogue.taxonomy, also).figures()
        shown = (f"{f} {100 * all_figures[f]:.1f}" for f in ("map_50", "f1_label", *also))
        print(f"  {kind}, {len(found)} photos, per cent: {', '.join(shown)}")
    same = sum(a == b for a, b in zip(texts["free"], texts["constrained"], strict=True))
    print(f"  the same text: {same} of {len(loaders)}")


def walks(taxonomy, number) -> None:
    """Each kind of vocabulary and dialogue gets a share, half of it drawn towards long numbers."""
    cases = kinds(taxonomy, Frame(128, 128))
    jobs = [(i % len(cases), i) for i in range(number // WALKS_AT_ONCE)]
    start = time.perf_counter()
    done = Parallel(n_jobs=2)(delayed(one_walk)(taxonomy, *job) for job in jobs)
    print(f"{len(jobs) * WALKS_AT_ONCE} random walks, {sum(findings for _, findings in done)} findings")
    print(f"  no canonical, schema-true report in time: {sum(bad for bad, _ in done)} (wanted 0)")
    print(f"  {time.perf_counter() - start:.0f} s")


def one_walk(taxonomy, case, seed):
    torch.set_num_threads(1)
    family, dialogue, room = kinds(taxonomy, Frame(128, 128))[case]
    digits = (1.0, 30.0)[seed // 6 % 2]
    found, findings = faults(vlm_of(family), dialogue, room, WALKS_AT_ONCE, seed, digits)
    return len(found), findings


if __name__ == "__main__":
    sys.exit(main())
