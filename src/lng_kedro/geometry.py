"""Boxes: eqs (1)-(4) of the paper, IoU, and the coordinate frames that model families speak.

A box is ``(x_min, y_min, x_max, y_max)``. On disk every box is in the processed frame, the pixels of
the square photo that `data_processing` writes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Box = tuple[float, float, float, float]

PROCESSED_SIZE = 512
"""Side of a processed photo in pixels (paper, section III.A)."""


def coco_to_corners(box: Sequence[float], width: float, height: float, size: int) -> Box:
    """COCO ``[x, y, w, h]`` in a photo's own pixels -> corners in the processed photo, eqs (1)-(4).

    Args:
        box: x, y, width and height in pixels of the original photo.
        width: width of the original photo; the paper's is 1920, others occur.
        height: height of the original photo; the paper's is 1080.
        size: side of the processed photo, 512 in the paper.
    """
    x, y, w, h = box
    return (
        x / width * size,
        y / height * size,
        (x + w) / width * size,
        (y + h) / height * size,
    )


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Width and height of a photo once it is turned as its EXIF orientation (1 to 8) says."""
    return (height, width) if orientation >= 5 else (width, height)


def upright_box(box: Sequence[float], width: float, height: float, orientation: int) -> Box:
    """COCO ``[x, y, w, h]`` in a photo as it is stored -> the same box once the photo is turned upright.

    Args:
        box: x, y, width and height in pixels; it lies inside the photo.
        width: of the photo as it is stored.
        height: of the photo as it is stored.
        orientation: EXIF's, 1 to 8: what to do to the stored pixels so that they stand upright.
    """
    x, y, w, h = box
    right, below = width - (x + w), height - (y + h)  # what is left of the photo beside and under the box
    return {
        1: (x, y, w, h),
        2: (right, y, w, h),  # mirror
        3: (right, below, w, h),  # half a turn
        4: (x, below, w, h),  # mirror upside down
        5: (y, x, h, w),  # swap the axes
        6: (below, x, h, w),  # a quarter turn clockwise
        7: (below, right, h, w),  # swap the axes and half a turn
        8: (y, right, h, w),  # a quarter turn counterclockwise
    }[orientation]


def stored_box(box: Sequence[float], width: float, height: float, orientation: int) -> Box:
    """COCO ``[x, y, w, h]`` in an upright photo -> in the photo as it is stored: `upright_box` undone.

    Args:
        box: x, y, width and height in pixels of the upright photo; it lies inside.
        width: of the photo as it is stored.
        height: of the photo as it is stored.
        orientation: EXIF's, 1 to 8.
    """
    back = {6: 8, 8: 6}.get(orientation, orientation)  # the others undo themselves
    if orientation >= 5:
        width, height = height, width
    return upright_box(box, width, height, back)


def iou(a: Sequence[float], b: Sequence[float]) -> float:
    """Intersection over union of two corner boxes; 0 where the union has no area."""
    overlap_w = min(a[2], b[2]) - max(a[0], b[0])
    overlap_h = min(a[3], b[3]) - max(a[1], b[1])
    if overlap_w <= 0 or overlap_h <= 0:
        return 0.0
    intersection = overlap_w * overlap_h
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - intersection
    return intersection / union if union > 0 else 0.0


@dataclass(frozen=True)
class Frame:
    """The numbers in which a model speaks of boxes: `width` x `height` units span the photo.

    Qwen2.5-VL speaks pixels of the photo as its own processor resized it (512 becomes 504), others
    speak thousandths or fractions. `decimals` says how numbers are written; 0 means integers.
    """

    width: float = PROCESSED_SIZE
    height: float = PROCESSED_SIZE
    decimals: int = 0

    @property
    def unit(self) -> str:
        """What a number means, for prompts."""
        if self.decimals:
            return "as fractions of the photo's width and height"
        return f"in a frame {self.width:.0f} wide and {self.height:.0f} high"

    def encode(self, box: Sequence[float], size: float = PROCESSED_SIZE) -> Box:
        """A box of the processed frame (`size` x `size`) -> this frame, rounded as it writes them.

        A box thinner than the rounding keeps one unit, so that no target is degenerate.
        """
        scale_x, scale_y = self.width / size, self.height / size
        step = 10.0**-self.decimals
        x_min, y_min = self._round(box[0] * scale_x), self._round(box[1] * scale_y)
        x_max, y_max = self._round(box[2] * scale_x), self._round(box[3] * scale_y)
        x_min, y_min = min(x_min, self._round(self.width - step)), min(y_min, self._round(self.height - step))
        return (x_min, y_min, max(x_max, self._round(x_min + step)), max(y_max, self._round(y_min + step)))

    def decode(self, box: Sequence[float], size: float = PROCESSED_SIZE) -> Box:
        """A box of this frame -> the processed frame (`size` x `size`)."""
        scale_x, scale_y = size / self.width, size / self.height
        return (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)

    def _round(self, value: float) -> float:
        return round(value, self.decimals) if self.decimals else round(value)


PROCESSED = Frame()
"""The paper's reading: every model speaks pixels of the 512 x 512 photo."""
