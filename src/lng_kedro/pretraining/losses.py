"""What the base model is pretrained by, beside the next token: without it boxes emerge late or never."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss

from lng_kedro.pretraining.backdrop import COLOURS, PATTERNS
from lng_kedro.pretraining.scenes import BARE, MOST_OBJECTS, TEXTURES, Scene
from lng_kedro.pretraining.shapes import SHAPES
from lng_kedro.report import THINK_OPEN
from lng_kedro.vlm.tiny import MERGE, PATCH, number_ids

COLOUR_NAMES, SHAPE_NAMES = tuple(COLOURS), tuple(SHAPES)
PLATE_NAMES = (BARE, *COLOUR_NAMES)
RANKS = tuple(range(MOST_OBJECTS))
NAMES = (COLOUR_NAMES, SHAPE_NAMES, TEXTURES, PLATE_NAMES, RANKS)
"""The kinds of names of an object; the last is its place in the answer, by which a token is found."""
COVERED = 0.4
"""Share of a patch that an object's box must cover for the patch to be the object's."""


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


class Reading(nn.Module):
    """Linear readings off feature vectors."""

    def __init__(self, width: int, sizes: Sequence[int]) -> None:
        super().__init__()
        self.sizes = list(sizes)
        self.read = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, sum(sizes)))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Features (n, width) -> one tensor (n, size) for each size."""
        readings: tuple[Tensor, ...] = self.read(features).split(self.sizes, dim=1)
        return readings


NAME_SIZES = [len(names) for names in NAMES]


def _named(readings: Sequence[Tensor], names: Tensor) -> Tensor:
    """Sum of the cross-entropies of all kinds of names; names (n, kinds)."""
    losses = [cross_entropy(r, names[:, i]) for i, r in enumerate(readings)]
    return torch.stack(losses).sum()


class SceneHead(nn.Module):
    """Reads a scene off the features inside the model; thrown away after pretraining.

    It makes the model tell colours, shapes, textures and places apart from the first steps on, which the
    loss of the next token does only after very many.
    """

    def __init__(self, vision_width: int, text_width: int) -> None:
        super().__init__()
        self.patch = Reading(vision_width, [1, 4, *NAME_SIZES])
        self.object = Reading(vision_width, NAME_SIZES)
        self.token = Reading(text_width, [1, 4, *NAME_SIZES, len(COLOUR_NAMES), len(PATTERNS)])

    def vision_loss(self, patches: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Readings behind the vision tower, which knows relative places only.

        Each patch tells whether it is an object's, how far the sides of its box are, and its names; the
        mean of an object's patches tells the names too: that is learnt long before a patch has found the
        others of its object.

        Args:
            patches: (photos x patches, width).
            targets: from `scene_targets`.
        """
        owner = targets["scene_owner"].flatten()
        owned = owner >= 0
        at = owner[owned]
        there, sides, *names = self.patch(patches)
        loss = binary_cross_entropy_with_logits(there[:, 0], owned.float())
        if not len(at):
            return loss
        loss = loss + 16 * l1_loss(sides[owned], targets["scene_sides"][owned])
        loss = loss + _named([n[owned] for n in names], targets["scene_names"][at])
        total = torch.zeros(len(targets["scene_names"]), patches.shape[1]).index_add(0, at, patches[owned])
        count = torch.bincount(at, minlength=len(total))
        seen = count > 0
        means = total[seen] / count[seen, None]
        return loss + _named(self.object(means), targets["scene_names"][seen])

    def text_loss(self, tokens: Tensor, targets: Mapping[str, Tensor]) -> Tensor:
        """Readings within the language model, where the photo's tokens have absolute places.

        Args:
            tokens: (photos x cells, width).
            targets: from `scene_targets`.
        """
        there, box, *names, background, pattern = self.token(tokens)
        n_photos = len(targets["scene_background"])
        n_cells = len(tokens) // n_photos
        at = targets["scene_photo"] * n_cells + targets["scene_cell"]
        present = torch.zeros(len(tokens))
        present[at] = 1.0
        loss = binary_cross_entropy_with_logits(there[:, 0], present)
        photos = (n_photos, n_cells, -1)
        loss = loss + cross_entropy(background.view(photos).mean(1), targets["scene_background"])
        loss = loss + cross_entropy(pattern.view(photos).mean(1), targets["scene_pattern"])
        if len(at):
            loss = loss + 24 * l1_loss(box[at], targets["scene_box"])
            loss = loss + _named([r[at] for r in names], targets["scene_names"])
        return loss


def scene_targets(scenes: Sequence[Scene]) -> dict[str, Tensor]:
    """What `SceneHead` is to read.

    Returns:
        For each object: scene_photo and scene_cell (the token's cell that holds its centre), scene_box
        (shares of the picture) and scene_names. For each patch, in the order in which the model takes them:
        scene_owner (photos, patches), the object whose box covers it or -1, and scene_sides, how far left,
        top, right and bottom of that box are from the patch's centre, in halves of the picture. For each
        photo: scene_background and scene_pattern.
    """
    side = PATCH * MERGE
    size = scenes[0].image.width
    photos, cells, names, boxes = [], [], [], []
    for i, scene in enumerate(scenes):
        for rank, o in enumerate(scene.objects):
            x, y = (o.bbox[0] + o.bbox[2]) / 2, (o.bbox[1] + o.bbox[3]) / 2
            photos.append(i)
            cells.append(int(y // side) * (size // side) + int(x // side))
            spoken = (o.colour, o.shape, o.texture, o.plate, rank)
            names.append([kind.index(name) for kind, name in zip(NAMES, spoken, strict=True)])
            boxes.append(o.bbox)
    box = torch.tensor(boxes).reshape(-1, 4)
    photo = torch.tensor(photos, dtype=torch.long)
    owner = torch.full((len(scenes), (size // PATCH) ** 2), -1)
    corner = _patch_corners(size)
    inside = torch.minimum(box[:, None, 2:], corner + PATCH) - torch.maximum(box[:, None, :2], corner)
    covered = inside.clamp(min=0).prod(dim=2) / PATCH**2
    # Objects do not overlap, but two may share a patch.
    for i in torch.argsort(covered.sum(1)).tolist():
        owner[photo[i], covered[i] > COVERED] = i
    centre = (corner + PATCH / 2).repeat(len(scenes), 1)
    sides = torch.zeros(len(centre), 4)
    if len(box):
        at = box[owner.flatten().clamp(min=0)]
        sides = torch.cat([centre - at[:, :2], at[:, 2:] - centre], dim=1) / (size / 2)
    return {
        "scene_photo": photo,
        "scene_cell": torch.tensor(cells, dtype=torch.long),
        "scene_names": torch.tensor(names, dtype=torch.long).reshape(-1, len(NAMES)),
        "scene_box": box / size,
        "scene_owner": owner,
        "scene_sides": sides,
        "scene_background": torch.tensor([COLOUR_NAMES.index(s.background) for s in scenes]),
        "scene_pattern": torch.tensor([PATTERNS.index(s.pattern) for s in scenes]),
    }


def _patch_corners(size: int) -> Tensor:
    """Left and top of each patch, in pixels, in the processor's order: cell by cell, row by row."""
    grid = torch.arange(0, size, PATCH)
    corners = torch.stack(torch.meshgrid(grid, grid, indexing="xy"), dim=-1)
    cells = size // PATCH // MERGE
    return corners.view(cells, MERGE, cells, MERGE, 2).transpose(1, 2).reshape(-1, 2)
