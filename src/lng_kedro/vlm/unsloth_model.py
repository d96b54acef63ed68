"""The one place that imports Unsloth, which patches transformers, PEFT and TRL: import it before them.

Each setting that it would choose otherwise is given: it takes its own copy of a checkpoint, without the
revision, unless told to take the name as it is; it loads in 4 bit; it cuts samples at 2,048 tokens.
"""

import os
import sys
from pathlib import Path
from typing import Any

from lng_kedro.processes import rank
from lng_kedro.vlm.backend import device_of
from lng_kedro.vlm.fits import check_fits
from lng_kedro.vlm.spec import LoraParams, ModelSpec

if "unsloth" not in sys.modules and (early := {"transformers", "peft", "trl"} & sys.modules.keys()):
    raise ImportError(f"Unsloth must be imported before {', '.join(sorted(early))}, which it patches")

# Else it writes code into the working directory, and asks a server to count its users.
os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(Path.home() / f".cache/lng_kedro/unsloth_{rank()}"))
os.environ.setdefault("UNSLOTH_DISABLE_STATISTICS", "1")

from unsloth import FastVisionModel

MAX_LENGTH = 32768
"""Tokens of a sample; what the checkpoints can take. Unsloth cuts what is longer, without a word."""


def load_unsloth(
    spec: ModelSpec,
    adapter: Path | None,
    new_adapter: LoraParams | None,
    trainable: bool,
    seed: int,
    gradient_checkpointing: bool,
) -> tuple[Any, Any]:
    """As `lng_kedro.vlm.load.load_vlm`; (model, processor)."""
    import torch
    from peft import PeftModel

    # Offloads what is kept for the backward pass to the computer's memory.
    checkpointing = "unsloth" if gradient_checkpointing else False
    model, processor = FastVisionModel.from_pretrained(
        spec.checkpoint,
        revision=spec.revision,
        use_exact_model_name=True,
        dtype=torch.float32 if spec.precision == "32bit" else torch.bfloat16,
        load_in_4bit=spec.precision == "4bit",
        load_in_16bit=spec.precision == "16bit",
        max_seq_length=MAX_LENGTH,
        use_gradient_checkpointing=checkpointing,
        device_map={"": device_of(spec)},
    )
    if adapter is not None:
        check_fits(adapter, model)
        # Given the adapter's folder, Unsloth would load the base without its revision.
        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
        if trainable:
            model = FastVisionModel.post_patch_model(model, checkpointing)
    elif new_adapter is not None:
        model = FastVisionModel.get_peft_model(
            model,
            r=new_adapter.rank,
            lora_alpha=new_adapter.alpha,
            lora_dropout=new_adapter.dropout,
            target_modules=spec.adapted_layers,
            use_gradient_checkpointing=checkpointing,
            random_state=seed,
        )
    (FastVisionModel.for_training if trainable else FastVisionModel.for_inference)(model)
    return model, processor


def keep_reference(model: Any) -> None:
    """Copies the adapter as the frozen one that TRL takes for the reference policy, in place.

    Unsloth takes out the lines by which TRL does it: the reference would be the base model.
    """
    model.add_adapter("ref", model.peft_config["default"])
    for name, weight in model.named_parameters():
        if ".default." in name:
            model.get_parameter(name.replace(".default.", ".ref.")).data.copy_(weight.data)
