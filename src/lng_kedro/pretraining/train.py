"""Pretraining of the tiny base model with transformers' Trainer."""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from lng_kedro.params import Params
from lng_kedro.pretraining.samples import PHRASES, GenericSample, generic_samples
from lng_kedro.pretraining.scenes import draw_scene
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.training.run import last_checkpoint, run_folder
from lng_kedro.vlm.tiny import build_model, build_processor

POOL = 16
"""Batches among which samples are sorted by length."""


SCENE_LAYER = 2
"""Layers of the language model behind which `SceneHead` reads the photo's tokens."""

WHITENING_SCENES = 1500
NOISE_FLOOR = 1e-3
"""Variance below which a patch's component is taken for noise."""


class PretrainingParams(Params):
    """Recipe of the base model; see conf/base/parameters/base_model.yml."""

    seed: int
    image_size: int
    vision: tuple[int, int, int]
    text: tuple[int, int, int]
    form_share: float
    reasoning_share: float
    steps: int
    vision_steps: int
    batch_size: int
    learning_rate: float
    muon_learning_rate: float
    warmup_steps: int
    scene_weight: float
    logging_steps: int
    save_steps: int
    work_dir: Path


def pretrain(taxonomy: Taxonomy, params: PretrainingParams) -> tuple[Any, Any, list[dict[str, float]]]:
    """Trains the base model; goes on from the last checkpoint in `work_dir` if there is one.

    Returns:
        The model (weights in bfloat16), its processor, and the log of the training loss.
    """
    import torch

    processor = build_processor(taxonomy, params.image_size, PHRASES)
    model = build_model(processor, params.vision, params.text, params.seed)
    _whiten_patches(model.model.visual.patch_embed, processor, params)
    trainer = _trainer(model, processor, taxonomy, params)
    checkpoint = last_checkpoint(Path(trainer.args.output_dir))
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    del model.scene_head, model.save_pretrained
    history = [entry for entry in trainer.state.log_history if "loss" in entry]
    return model.to(torch.bfloat16), processor, history


def _trainer(model: Any, processor: Any, taxonomy: Taxonomy, params: PretrainingParams) -> Any:
    import torch
    from transformers import Trainer, TrainingArguments

    from lng_kedro.pretraining.losses import BoxLoss, SceneHead

    # A part of the model while it is pretrained, so that optimizer and checkpoints hold it.
    model.scene_head = SceneHead(params.vision[1], params.text[1])
    # The trainer restores weights by their names in the model; by default others are stored.
    model.save_pretrained = partial(model.save_pretrained, save_original_format=False)
    box_loss = BoxLoss(processor.tokenizer)
    _embed_patches_by_matrix(model.model.visual.patch_embed)

    class BaseTrainer(Trainer):
        def compute_loss(self, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            targets = {k: inputs.pop(k) for k in list(inputs) if k.startswith("scene_")}
            labels = inputs.pop("labels")
            if self.state.global_step < params.vision_steps:
                seen = model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
                return model.scene_head.vision_loss(seen.last_hidden_state, targets)
            patches: list[Any] = []
            # What goes into the merger is what comes out of the vision tower.
            hook = model.model.visual.merger.register_forward_pre_hook(lambda _, i: patches.append(i[0]))
            outputs = model(**inputs, output_hidden_states=True)
            hook.remove()
            at_photo = inputs["input_ids"] == model.config.image_token_id
            tokens = outputs.hidden_states[SCENE_LAYER][at_photo]
            scene = model.scene_head.text_loss(tokens, targets)
            scene = scene + model.scene_head.vision_loss(patches[0], targets)
            return box_loss(outputs.logits, labels) + params.scene_weight * scene

    arguments = TrainingArguments(
        output_dir=str(run_folder(params.work_dir, params.model_dump_json(), taxonomy.model_dump_json())),
        max_steps=params.steps,
        per_device_train_batch_size=params.batch_size,
        learning_rate=params.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=params.warmup_steps,
        logging_steps=params.logging_steps,
        save_steps=params.save_steps,
        save_total_limit=1,
        use_cpu=not torch.cuda.is_available(),
        # One process draws scenes while the other trains.
        dataloader_num_workers=1,
        # Dispatching would cut `pixel_values`, which are patches and not photos, at the batch size.
        accelerator_config={"dispatch_batches": False},
        remove_unused_columns=False,
        report_to="none",
        seed=params.seed,
    )
    return BaseTrainer(
        model=model,
        args=arguments,
        train_dataset=_stream(taxonomy, params),
        data_collator=partial(collate, processor=processor),
        optimizers=(_optimizer(model, params), None),
    )


def _optimizer(model: Any, params: PretrainingParams) -> Any:
    from lng_kedro.pretraining.muon import Muon

    parts = (model.model.visual.blocks, model.model.visual.merger, model.model.language_model.layers)
    matrices = [p for part in parts for p in part.parameters() if p.ndim == 2]
    known = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in known]
    rates = {"muon_lr": params.muon_learning_rate, "lr": params.learning_rate}
    return Muon(matrices, others, **rates, betas=(0.9, 0.98), weight_decay=0.01)


def _whiten_patches(embed: Any, processor: Any, params: PretrainingParams) -> None:
    """Starts the patch embedding from the principal components of generic scenes, all made equally strong.

    Neighbouring pixels are nearly the same: from random weights little but a patch's mean colour is seen,
    and shapes not before tens of thousands of photos.
    """
    import torch

    rng = np.random.default_rng(params.seed)
    scenes = [draw_scene(rng, params.image_size).image for _ in range(WHITENING_SCENES)]
    patches = processor.image_processor(scenes, return_tensors="pt")["pixel_values"]
    weight = embed.proj.weight
    # A photo is its own next frame: both halves of a patch are the same.
    patches = patches.view(len(patches), *weight.shape[1:])[:, :, 0].flatten(1)
    strength, components = torch.linalg.eigh(torch.cov(patches.T))
    kept = len(weight)
    rows = (components[:, -kept:] / (strength[-kept:] + NOISE_FLOOR).sqrt()).T.flip(0)
    with torch.no_grad():
        weight.copy_(rows.view(kept, weight.shape[1], 1, *weight.shape[3:]) / weight.shape[2])


def _embed_patches_by_matrix(embed: Any) -> None:
    """The same patch embedding as a matrix product: a CPU's convolution backward takes ten times as long."""
    from torch.nn.functional import linear

    embed.forward = lambda patches: linear(patches, embed.proj.weight.flatten(1))


def _stream(taxonomy: Taxonomy, params: PretrainingParams) -> Any:
    from torch.utils.data import IterableDataset

    class Stream(IterableDataset):
        """Samples in an order that puts answers of similar length into one batch: less padding."""

        def __iter__(self) -> Iterator[GenericSample]:
            samples = generic_samples(
                taxonomy, params.image_size, params.seed, params.form_share, params.reasoning_share
            )
            order = np.random.default_rng(params.seed)
            while True:
                pool = sorted(islice(samples, POOL * params.batch_size), key=lambda s: s.length)
                for start in order.permutation(POOL) * params.batch_size:
                    yield from pool[start : start + params.batch_size]

    return Stream()


def collate(samples: list[GenericSample], processor: Any) -> dict[str, Any]:
    """A batch of whole conversations; the loss counts the assistant's turn only."""
    import torch

    from lng_kedro.pretraining.losses import scene_targets

    texts = [processor.apply_chat_template(s.messages, tokenize=False) for s in samples]
    images = [[s.scene.image] for s in samples]
    batch = processor(text=texts, images=images, return_tensors="pt", padding=True)
    turn = processor.tokenizer.convert_tokens_to_ids("assistant\n")
    ids = batch["input_ids"]
    answered = (ids == turn).int().cumsum(dim=1) - (ids == turn).int()
    ignored = (answered == 0) | (ids == processor.tokenizer.pad_token_id)
    return {**batch, **scene_targets([s.scene for s in samples]), "labels": torch.where(ignored, -100, ids)}
