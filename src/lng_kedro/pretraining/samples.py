"""Chat samples of generic scenes: the two forms that the base model learns to fill in."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
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

NOTES = "\nNotes:\n"
NOTED_SHARE = 0.1
"""Share of reports whose values are told by notes in the prompt."""

PHRASES = (
    NOTES,
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
        form_share: share of samples that fill in the inspection report. Its values stand for what is seen
            by an arbitrary code, or are copied from notes in the prompt: the model learns the form, and to
            fill it from the picture and from a text, and knows no label.
        reasoning_share: share of samples answered with ``<think>`` and ``<answer>``.
    """
    rng = np.random.default_rng(seed)
    frame = Frame(size, size)
    for scene in _scenes(rng, size):
        reasoning = bool(rng.random() < reasoning_share)
        if rng.random() < form_share:
            noted = bool(rng.random() < NOTED_SHARE)
            objects = _noted_report(rng, scene, taxonomy) if noted else _coded_report(scene, taxonomy)
            prompt = chat_prompt(taxonomy, frame, reasoning)
            if noted:
                prompt[-1] = {"role": "user", "content": prompt[-1]["content"] + _notes(objects, taxonomy)}
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


def _noted_report(rng: Random, scene: Scene, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Values at random, which nothing in the picture tells."""
    names = (LABEL, *taxonomy.field_names)
    return [
        {BBOX: o.bbox, **{name: str(rng.choice(taxonomy.choices(name))) for name in names}}
        for o in scene.objects
    ]


def _notes(report: list[dict[str, Any]], taxonomy: Taxonomy) -> str:
    lines = [", ".join(o[name] for name in (LABEL, *taxonomy.field_names)) for o in report]
    return NOTES + "\n".join(lines)


def _coded_report(scene: Scene, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Values that stand for what is seen, each for something else, by a code that means nothing."""
    background, pattern = tuple(COLOURS).index(scene.background), PATTERNS.index(scene.pattern)
    place = (background, pattern, pattern // 3 * 2 + background // 2 % 2)
    report = []
    for o in scene.objects:
        colour, shape = tuple(COLOURS).index(o.colour), tuple(SHAPES).index(o.shape)
        label = colour % 5 * 3 + shape % 3
        codes = cycle((*place, (BARE, *COLOURS).index(o.plate), TEXTURES.index(o.texture)))
        values = {LABEL: label, **dict(zip(taxonomy.field_names, codes, strict=False))}
        choices = {name: taxonomy.choices(name) for name in values}
        named = {name: choices[name][code % len(choices[name])] for name, code in values.items()}
        report.append({BBOX: o.bbox, **named})
    return report


def _integers(box: Box, size: int) -> list[float]:
    return list(Frame(size, size).encode(box, size))
