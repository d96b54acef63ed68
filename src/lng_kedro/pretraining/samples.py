"""Chat samples of generic scenes: the two forms that the base model learns to fill in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from lng_kedro.geometry import Box, Frame
from lng_kedro.pretraining.backdrop import COLOURS, PATTERNS
from lng_kedro.pretraining.scenes import BARE, TEXTURES, Scene, draw_scene, mirrored
from lng_kedro.pretraining.shapes import SHAPES, Random
from lng_kedro.prompts import Message, chat_completion, chat_prompt
from lng_kedro.report import to_json
from lng_kedro.taxonomy import BBOX, LABEL, Taxonomy
from lng_kedro.vlm.generate import with_photo

SHAPES_PROMPT = (
    "Find the shapes in this picture.\n"
    "The answer is a JSON array with one object for each shape, [] if there is none.\n"
    'Each object has the keys "label", "bbox", "texture", "plate", "background" and "pattern".'
)

PHRASES = (
    *SHAPES_PROMPT.splitlines(keepends=True),
    '],"texture":"',
    '","plate":"',
    '","background":"',
    '","pattern":"',
    *COLOURS,
    *TEXTURES,
    *PATTERNS,
    BARE,
    *(f" {shape}" for shape in SHAPES),
)
"""Words of the generic tasks, for the tokenizer."""


@dataclass(frozen=True)
class GenericSample:
    """One picture and a whole conversation about it."""

    scene: Scene
    messages: list[Message]

    @property
    def length(self) -> int:
        """Characters of the answer, by which samples are put into batches."""
        return len(self.messages[-1]["content"])


def generic_samples(
    taxonomy: Taxonomy, size: int, seed: int, form_share: float, reasoning_share: float
) -> Iterator[GenericSample]:
    """An endless stream of samples; the same seed gives the same stream.

    Args:
        taxonomy: the inspection report's schema.
        size: side of the pictures in pixels, which is also the frame of the boxes.
        seed: of the stream.
        form_share: share of samples that fill in the inspection report. The shapes mean nothing in it,
            so its values are drawn at random: the model learns the form and knows no label.
        reasoning_share: share of samples answered with ``<think>`` and ``<answer>``.
    """
    rng = np.random.default_rng(seed)
    frame = Frame(size, size)
    for scene in _scenes(rng, size):
        reasoning = bool(rng.random() < reasoning_share)
        if rng.random() < form_share:
            objects = _random_report(rng, scene, taxonomy)
            prompt = chat_prompt(taxonomy, frame, reasoning)
            report = to_json(objects, taxonomy, frame, size)
        else:
            objects = _shapes(scene, size)
            prompt = chat_prompt(taxonomy, frame, reasoning)
            prompt[-1] = {"role": "user", "content": SHAPES_PROMPT}
            report = json.dumps(objects, separators=(",", ":"))
        yield GenericSample(scene, with_photo(prompt) + chat_completion(report, objects, reasoning))


def _scenes(rng: Random, size: int) -> Iterator[Scene]:
    """Each scene comes twice, the second time mirrored: drawing costs as much as learning."""
    while True:
        scene = draw_scene(rng, size)
        yield scene
        yield mirrored(scene)


def _shapes(scene: Scene, size: int) -> list[dict[str, Any]]:
    return [
        {
            LABEL: f"{o.colour} {o.shape}",
            BBOX: _integers(o.bbox, size),
            "texture": o.texture,
            "plate": o.plate,
            "background": scene.background,
            "pattern": scene.pattern,
        }
        for o in scene.objects
    ]


def _random_report(rng: Random, scene: Scene, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    def pick(field: str) -> str:
        return str(rng.choice(taxonomy.choices(field)))

    return [
        {LABEL: pick(LABEL), BBOX: o.bbox, **{field: pick(field) for field in taxonomy.field_names}}
        for o in scene.objects
    ]


def _integers(box: Box, size: int) -> list[float]:
    return list(Frame(size, size).encode(box, size))
