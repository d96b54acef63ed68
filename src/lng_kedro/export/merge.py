"""An adapter merged into the weights of its base: a folder that needs no other file, and no PEFT."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lng_kedro.vlm.adapter import (
    DIALOGUE,
    LEARNED_FROM,
    TRAINED,
    adapter_hash,
    stored_dialogue,
)
from lng_kedro.vlm.generate import with_photo
from lng_kedro.vlm.load import Vlm, load_to_merge
from lng_kedro.vlm.merged import ORIGIN, Origin
from lng_kedro.vlm.spec import VlmParams

CARD = "README.md"
PROMPT = "prompt.json"
SHARD = "5GB"
"""Of a file of weights: what is loaded or moved at a time."""


@dataclass(frozen=True)
class Merged:
    """A merged model in memory.

    Attributes:
        vlm: the model without PEFT, in bfloat16, with its processor.
        adapter: folder of the adapter, which says how the model is spoken with and what it learned from.
        origin: what it was made from.
        card: the model card, in Markdown.
    """

    vlm: Vlm
    adapter: Path
    origin: Origin
    card: str

    def save_pretrained(self, folder: str) -> None:
        """Writes all that is needed to use the model, as transformers does, and what it is."""
        self.vlm.model.save_pretrained(folder, max_shard_size=SHARD)
        self.vlm.processor.save_pretrained(folder)
        for name in (DIALOGUE, LEARNED_FROM, TRAINED):
            if (self.adapter / name).is_file():
                shutil.copy(self.adapter / name, folder)
        prompt = with_photo(stored_dialogue(self.adapter).prompt)
        Path(folder, PROMPT).write_text(json.dumps(prompt, indent=1, ensure_ascii=False), encoding="utf-8")
        Path(folder, ORIGIN).write_text(self.origin.model_dump_json(indent=1), encoding="utf-8")
        Path(folder, CARD).write_text(self.card, encoding="utf-8")


def merge_adapter(params: VlmParams, adapter: Path, card: str) -> Merged:
    """Merges a stored adapter into the 16-bit weights of the model in use, on the CPU.

    Takes the memory of the checkpoint and of one layer in 32 bits: 17 GB for a model of 7B.

    Args:
        params: which model.
        adapter: folder of the adapter.
        card: the model card.

    Raises:
        ValueError: the adapter does not say how it is asked, was trained on another base or to speak of boxes
            otherwise than the model's entry says now, or has weights that are no finite numbers.
    """
    stored_dialogue(adapter)  # else refused before anything is loaded
    vlm = load_to_merge(params, adapter)
    model = merged_in_32_bits(vlm.model)
    # So that plain `generate` answers as this project's does.
    model.generation_config.suppress_tokens = list(vlm.barred_ids)
    return Merged(
        vlm=Vlm(model, vlm.processor, vlm.frame, vlm.barred_ids, vlm.backend),
        adapter=adapter,
        origin=Origin(adapter_sha256=adapter_hash(adapter), vlm=params.alone()),
        card=card,
    )


def merged_in_32_bits(model: Any) -> Any:
    """A model of PEFT without PEFT, in bfloat16: each layer is added up in 32 bits and rounded once.

    PEFT's own merge rounds what is added before it adds (docs/experiments.md).
    """
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = [layer for layer in model.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in tqdm(adapted, desc="Merging", unit="layer"):
        weights = layer.get_base_layer().float()
        layer.merge(safe_merge=True)
        weights.to(torch.bfloat16)
    return model.unload().to(torch.bfloat16)
