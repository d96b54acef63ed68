"""What can be set in data_processing."""

from typing import Any, Literal

from pydantic import Field

from lng_kedro.compute import ComputeParams
from lng_kedro.params import Params
from lng_kedro.quarantine import DataError

MadeWith = dict[str, Any]
"""Parameters that a table was made with."""

REVIEWED_DIGEST = "reviewed"
"""Name under which the digest of the corrected photos is kept beside the parameters, if there are any."""

DECIDE = {
    "ingest": ("boxless", "clip_boxes", "optional_fields", REVIEWED_DIGEST),
    "split": ("seed",),
    "images": (
        "per_label",
        "good_share",
        "negative_share",
        "shortfall",
        "near_duplicate_bits",
        "max_pixels",
        "jpeg_quality",
    ),
}
"""Part of the pipeline -> parameters that decide what is in its tables, beside those of earlier parts."""

TAGS = (*DECIDE, "samples", "report")
"""Parts of the pipeline, in order."""


class PerLabel(Params):
    """Photos of each label in each split."""

    sft: int = Field(ge=0)
    grpo: int = Field(ge=0)
    test: int = Field(ge=0)


class DataProcessingParams(Params):
    """See conf/base/parameters/data_processing.yml for what each value means."""

    seed: int
    per_label: PerLabel
    good_share: float = Field(ge=0, le=1)
    negative_share: float = Field(ge=0)
    boxless: Literal["whole_image", "skip"]
    clip_boxes: bool
    optional_fields: tuple[str, ...]
    max_rejected_share: float = Field(ge=0, le=1)
    shortfall: Literal["error", "take_all"]
    near_duplicate_bits: int = Field(ge=0, le=255)
    max_pixels: int = Field(ge=1)
    jpeg_quality: int = Field(ge=1, le=95)
    compute: ComputeParams

    def made_with(self, reviewed: str | None) -> MadeWith:
        """What is kept beside a table; where the work was done is not in it, for it changes nothing.

        Args:
            reviewed: digest of the corrected photos; None where there are none.
        """
        own = self.model_dump(mode="json", exclude={"compute"})
        return own | ({REVIEWED_DIGEST: reviewed} if reviewed else {})

    def check_made_with(self, made_with: MadeWith, part: str, reviewed: str | None) -> None:
        """Refuses a table of another command, which would be taken for one of this command.

        Args:
            made_with: parameters that the table was made with.
            part: of the pipeline that made it.
            reviewed: digest of the corrected photos now.

        Raises:
            ValueError: they are others; the message says which, and what to do.
        """
        own = self.made_with(reviewed)
        parts = TAGS[: TAGS.index(part) + 1]
        others = {n: p for p in parts for n in DECIDE[p] if made_with.get(n) != own.get(n)}
        if others:
            said = "; ".join(f"{name} was {made_with.get(name)} and is {own.get(name)}" for name in others)
            again = TAGS[TAGS.index(next(iter(others.values()))) :]
            raise DataError(
                f"Earlier parts of data_processing ran with other parameters: {said}. Give the same "
                f"--params again, or run --tags {','.join(again)}"
            )
