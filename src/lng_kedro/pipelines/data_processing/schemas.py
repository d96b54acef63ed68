"""Tables of data_processing, checked by the catalog whenever they are saved or loaded."""

import pandera.pandas as pa
from pandera.typing.pandas import Series

from lng_kedro.aihub.split import SPLITS
from lng_kedro.geometry import PROCESSED_SIZE
from lng_kedro.quarantine import REASONS

BOX_SOURCES = ["label", "segmentation", "image"]
"""Where a box is from."""

ROUNDING = 1e-6
"""Pixels that a box may reach out of the frame after it was turned with its photo."""


class _Schema(pa.DataFrameModel):
    class Config:
        strict = True
        coerce = True  # an empty column, or one read from CSV, has no type of its own


_OWN = "photo_id|photo|label_file|photo_category_id|width|height|category_id|label|"
_OWN += "x|y|w|h|box_source|clipped|filled"
_FIELDS = f"^(?!(?:{_OWN})$).+$"


class Manifest(_Schema):
    """One row an object of the raw dataset; one without label for a photo with nothing to report.

    `photo` and `label_file` are locators below the raw folder. Boxes are COCO's x, y, width and height in
    pixels of the original photo; `clipped` ones were cut to it. `filled` lists what the label did not
    state, with the rule that filled it: ``part:zip,quality:id``.
    """

    photo_id: Series[str]
    photo: Series[str]
    label_file: Series[str]
    photo_category_id: Series[int]
    width: Series[int] = pa.Field(gt=0)
    height: Series[int] = pa.Field(gt=0)
    category_id: Series[int]
    label: Series[str] = pa.Field(nullable=True)
    x: Series[float] = pa.Field(ge=0, nullable=True)
    y: Series[float] = pa.Field(ge=0, nullable=True)
    w: Series[float] = pa.Field(gt=0, nullable=True)
    h: Series[float] = pa.Field(gt=0, nullable=True)
    box_source: Series[str] = pa.Field(isin=BOX_SOURCES, nullable=True)
    clipped: Series[bool]
    filled: Series[str]
    # Whatever fields the taxonomy has: every other column.
    fields: Series[str] | None = pa.Field(alias=_FIELDS, regex=True, nullable=True)

    @pa.dataframe_check(error="a box reaches outside its photo")
    def box_inside(cls, frame: pa.typing.DataFrame) -> Series[bool]:  # noqa: N805
        """A row without a box passes."""
        outside = (frame["x"] + frame["w"] > frame["width"]) | (frame["y"] + frame["h"] > frame["height"])
        return ~outside


class Quarantine(_Schema):
    """One row a photo or object that was left out, and why."""

    file: Series[str]
    reason: Series[str] = pa.Field(isin=list(REASONS))
    detail: Series[str]


class Draw(_Schema):
    """One row a photo that may be taken, by the order in which its pool's photos are taken."""

    pool: Series[str]
    photo_label: Series[str] = pa.Field(nullable=True)
    photo_id: Series[str]
    rank: Series[int] = pa.Field(ge=0)


class Split(_Schema):
    """One row a chosen photo, with what its raw file was found to be.

    `orientation` is EXIF's; width and height are those before it was turned upright. `near_duplicate_of`
    is the first of the chosen photos that look like it.
    """

    photo_id: Series[str] = pa.Field(unique=True)
    split: Series[str] = pa.Field(isin=SPLITS)
    photo_label: Series[str] = pa.Field(nullable=True)
    orientation: Series[int] = pa.Field(ge=1, le=8)
    stored_width: Series[int] = pa.Field(gt=0)
    stored_height: Series[int] = pa.Field(gt=0)
    sha256: Series[str] = pa.Field(unique=True)
    dhash: Series[str]
    near_duplicate_of: Series[str] = pa.Field(nullable=True)


class Objects(_Schema):
    """One row an object of the chosen photos, with its corners in the processed frame.

    Beside these columns it has those of the manifest that are not of the raw photo.
    """

    class Config:
        """Other columns may be there."""

        strict = False
        coerce = True

    photo_id: Series[str]
    split: Series[str] = pa.Field(isin=SPLITS)
    category_id: Series[int]
    label: Series[str]
    box_source: Series[str] = pa.Field(isin=BOX_SOURCES)
    clipped: Series[bool]
    x_min: Series[float] = pa.Field(ge=0)
    y_min: Series[float] = pa.Field(ge=0)
    x_max: Series[float] = pa.Field(le=PROCESSED_SIZE + ROUNDING)
    y_max: Series[float] = pa.Field(le=PROCESSED_SIZE + ROUNDING)

    @pa.dataframe_check(error="a box without width or height: x_max, y_max")
    def has_size(cls, frame: pa.typing.DataFrame) -> Series[bool]:  # noqa: N805
        """Corners in their order."""
        return (frame["x_min"] < frame["x_max"]) & (frame["y_min"] < frame["y_max"])


class SplitCounts(_Schema):
    """One row a pool and split: photos wanted and taken, and objects of its ids that the split shows."""

    pool: Series[str]
    label: Series[str] = pa.Field(nullable=True)
    split: Series[str] = pa.Field(isin=SPLITS)
    wanted: Series[int] = pa.Field(ge=0)
    got: Series[int] = pa.Field(ge=0)
    objects: Series[int] = pa.Field(ge=0)


class Samples(_Schema):
    """One row a photo: the chat that it is shown in, and its true report (processed frame).

    `sha256` is of its raw file; earlier versions did not keep it.
    """

    photo_id: Series[str] = pa.Field(unique=True)
    photo_label: Series[str] = pa.Field(nullable=True)
    prompt: Series[object]
    completion: Series[object]
    ground_truth: Series[str]
    sha256: Series[str] | None = pa.Field(unique=True)
