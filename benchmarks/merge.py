"""Claim: a merge takes the memory of the checkpoint, and gives the weights that a merge in 32 bits gives.

Peers, each in a process of its own: PEFT's merge of the model in 16 bits, which rounds what is added too; and
in 32 bits. The model is a Qwen2.5-VL of random weights; `--width 3584 --layers 28` is a 7B.

    python benchmarks/merge.py
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

WAYS = ("ours", "peft 16 bits", "peft 32 bits")


def make(folder: Path, width: int, layers: int) -> None:
    from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

    from lng_kedro.vlm.load import add_adapter
    from lng_kedro.vlm.spec import LoraParams

    tiny = "models/tiny_qwen2_5_vl"
    config = AutoConfig.from_pretrained(tiny)
    text = {"hidden_size": width, "intermediate_size": 4 * width, "num_hidden_layers": layers}
    text |= {"num_attention_heads": width // 32, "num_key_value_heads": width // 32}
    for name, value in text.items():
        setattr(config.text_config, name, value)
    config.text_config.layer_types = ["full_attention"] * layers
    config.text_config.max_window_layers = layers
    config.vision_config.out_hidden_size = width
    torch.manual_seed(0)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder / "base")
    AutoProcessor.from_pretrained(tiny).save_pretrained(folder / "base")
    adapted = add_adapter(model, params(folder).spec, LoraParams(rank=16, alpha=32, dropout=0.0))
    for name, weight in adapted.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.01)
    adapted.save_pretrained(folder / "adapter")


def params(folder: Path):
    import yaml

    from lng_kedro.vlm.spec import VlmParams

    models = yaml.safe_load(Path("conf/base/parameters/models.yml").read_text())["vlm"]["models"]
    spec = models["tiny_qwen2_5_vl"] | {"checkpoint": str(folder / "base")}
    spec |= {"lora_targets": "language_attention"}
    return VlmParams(model="m", frame="native", models={"m": spec})


def merge(folder: Path, way: str) -> None:
    """Prints seconds and the most memory of this process, beyond that of its packages."""
    from peft import PeftModel
    from transformers import AutoModelForImageTextToText

    from lng_kedro.export.merge import SHARD, merged_in_32_bits
    from lng_kedro.vlm.load import load_to_merge

    before, start = peak(), time.perf_counter()
    if way == "ours":
        model = merged_in_32_bits(load_to_merge(params(folder), folder / "adapter").model)
    else:
        dtype = torch.float32 if "32" in way else torch.bfloat16
        base = AutoModelForImageTextToText.from_pretrained(folder / "base", dtype=dtype)
        adapted = PeftModel.from_pretrained(base, folder / "adapter")
        model = adapted.merge_and_unload(safe_merge=True).to(torch.bfloat16)
    model.save_pretrained(folder / way, max_shard_size=SHARD)
    print(json.dumps([time.perf_counter() - start, peak() - before]))


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def error(folder: Path, way: str) -> float:
    """Mean distance of the merged weights of one layer from their sums in 32 bits."""
    lora = load_file(folder / "adapter/adapter_model.safetensors")
    found = next(name for name in lora if "lora_A" in name)
    place = found.removeprefix("base_model.model.").partition(".lora_")[0]
    added = lora[found.replace("lora_A", "lora_B")] @ lora[found] * 2
    name = place.replace("model.language_model", "model") + ".weight"
    base, merged = (read(folder / part, name) for part in ("base", way))
    return float((merged.float() - (base.float() + added)).abs().mean())


def read(folder: Path, name: str) -> torch.Tensor:
    from safetensors import safe_open

    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            for known in weights.keys():  # noqa: SIM118
                if known.endswith(name.removeprefix("model.")):
                    return weights.get_tensor(known)
    raise KeyError(name)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=int, default=1536)
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--way")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.way == "make":
        make(asked.folder, asked.width, asked.layers)
        return
    if asked.way:
        merge(asked.folder, asked.way)
        return
    with tempfile.TemporaryDirectory() as place:
        given = ["--folder", place, "--width", str(asked.width), "--layers", str(asked.layers)]
        command = [sys.executable, __file__, *given, "--way"]
        subprocess.run([*command, "make"], check=True, capture_output=True)
        size = sum(file.stat().st_size for file in Path(place, "base").glob("*.safetensors")) / 1e9
        print(f"checkpoint {size:.2f} GB")
        for way in WAYS:
            done = subprocess.run([*command, way], check=True, capture_output=True, text=True)
            seconds, memory = json.loads(done.stdout.splitlines()[-1])
            off = error(Path(place), way)
            print(
                f"{way:13} {seconds:6.1f} s  {memory:5.2f} GB = {memory / size:.2f} x  mean error {off:.2e}"
            )


if __name__ == "__main__":
    main()
