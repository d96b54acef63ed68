"""What the base model is pretrained by, beside the next token: without it boxes emerge late or never."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss

from lng_kedro.pretraining.scenes import COLOURS, PATTERNS, SHAPES, TEXTURES, Scene
from lng_kedro.report import THINK_OPEN
from lng_kedro.vlm.tiny import MERGE, PATCH, number_ids

COLOUR_NAMES, SHAPE_NAMES = tuple(COLOURS), tuple(SHAPES)


class BoxLoss:
    """Cross-entropy that counts a box's side as nearly right where it is a few pixels off.

    Every coordinate is one of many tokens; with one right token each, nothing tells a near miss from a far
    one.
    """

    sigma = 2.0

    def __init__(self, tokenizer: Any) -> None:
        ids = number_ids(tokenizer)
        self._numbers = torch.tensor(ids)
        self._index = torch.full((len(tokenizer),), -1)
        self._index[self._numbers] = torch.arange(len(ids))
        distance = torch.arange(len(ids))[:, None] - torch.arange(len(ids))
        self._targets = torch.softmax(-((distance / self.sigma) ** 2) / 2, dim=1)
        # The count of objects in a thought is a number too, but no coordinate.
        self._thought = tokenizer.convert_tokens_to_ids(THINK_OPEN)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean over the labels that are not -100; logits (batch, length, vocabulary)."""
        log_probabilities = logits[:, :-1].float().log_softmax(dim=-1)
        wanted, before = labels[:, 1:], labels[:, :-1]
        counted = wanted != -100
        loss = -log_probabilities.gather(-1, wanted.clamp(min=0)[..., None])[..., 0]
        number = self._index[wanted.clamp(min=0)]
        box = counted & (number >= 0) & (before != self._thought)
        soft = self._targets[number[box]] * log_probabilities[box][:, self._numbers]
        loss[box] = -soft.sum(dim=-1)
        return loss[counted].mean()


class SceneHead(nn.Module):
    """Reads off each of the photo's tokens what lies there, and where; thrown away after pretraining.

    Read within the language model, since the vision tower knows relative places only. It makes the model
    tell colours, shapes, textures and places apart from the first steps on, which the loss of the next token
    does only after very many.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.sizes = [
            1,
            4,
            len(COLOUR_NAMES),
            len(SHAPE_NAMES),
            len(TEXTURES),
            len(COLOUR_NAMES),
            len(PATTERNS),
        ]
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(self.sizes)))

    def loss(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Sum of the losses of all readings; tokens (photos x cells, width)."""
        there, box, colour, shape, texture, background, pattern = self.read(tokens).split(self.sizes, dim=1)
        photo, cell = targets["scene_photo"], targets["scene_cell"]
        n_photos = len(targets["scene_background"])
        n_cells = len(tokens) // n_photos
        at = photo * n_cells + cell
        present = torch.zeros(len(tokens))
        present[at] = 1.0
        total = binary_cross_entropy_with_logits(there[:, 0], present)
        total = total + cross_entropy(
            background.view(n_photos, n_cells, -1).mean(1), targets["scene_background"]
        )
        total = total + cross_entropy(pattern.view(n_photos, n_cells, -1).mean(1), targets["scene_pattern"])
        if len(at):
            total = total + 8 * l1_loss(box[at], targets["scene_box"])
            total = total + cross_entropy(colour[at], targets["scene_colour"])
            total = total + cross_entropy(shape[at], targets["scene_shape"])
            total = total + cross_entropy(texture[at], targets["scene_texture"])
        return total


def scene_targets(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """What `SceneHead` is to read: an object belongs to the cell that holds its centre."""
    side = PATCH * MERGE
    rows, boxes = [], []
    for i, scene in enumerate(scenes):
        size = scene.image.width
        for o in scene.objects:
            x, y = (o.bbox[0] + o.bbox[2]) / 2, (o.bbox[1] + o.bbox[3]) / 2
            cell = int(y // side) * (size // side) + int(x // side)
            names = (COLOUR_NAMES.index(o.colour), SHAPE_NAMES.index(o.shape), TEXTURES.index(o.texture))
            rows.append((i, cell, *names))
            boxes.append([c / size for c in o.bbox])
    objects = torch.tensor(rows, dtype=torch.long).reshape(-1, 5)
    keys = ("scene_photo", "scene_cell", "scene_colour", "scene_shape", "scene_texture")
    return {
        **dict(zip(keys, objects.unbind(dim=1), strict=True)),
        "scene_box": torch.tensor(boxes).reshape(-1, 4),
        "scene_background": torch.tensor([COLOUR_NAMES.index(s.background) for s in scenes]),
        "scene_pattern": torch.tensor([PATTERNS.index(s.pattern) for s in scenes]),
    }
