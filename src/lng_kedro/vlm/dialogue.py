"""How a model is spoken with: what it is asked, and how its text is read."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from lng_kedro.geometry import Frame
from lng_kedro.prompts import Message, chat_prompt
from lng_kedro.report import Report, parse_report, to_objects
from lng_kedro.taxonomy import Taxonomy


class Dialogue(BaseModel):
    """What has to be the same when a model is trained, evaluated and used; stored beside an adapter.

    Attributes:
        taxonomy: the report schema.
        frame: the coordinate frame in which boxes are spoken of.
        reasoning: it is asked for ``<think>`` and ``<answer>`` (GRPO), or for the bare report (SFT).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    taxonomy: Taxonomy
    frame: Frame
    reasoning: bool

    @property
    def prompt(self) -> list[Message]:
        """Chat messages up to the answer."""
        return chat_prompt(self.taxonomy, self.frame, self.reasoning)

    def read(self, text: str) -> tuple[Report, list[dict[str, Any]]]:
        """What a model's text says: its report, and its findings as mappings in the processed frame."""
        report = parse_report(text, self.taxonomy, self.frame)
        return report, to_objects(report.findings, self.frame)
