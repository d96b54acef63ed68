"""What answers: a model in this process, or a server. Callers need not know which."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from lng_kedro.inspection.record import MadeBy
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import Answer


@dataclass(frozen=True)
class Failure:
    """Why a photo got no answer, though others may: it becomes an error of that photo alone."""

    detail: str


class InspectionStopped(Exception):  # noqa: N818  it is no error of the program
    """Interrupted, or nothing answers any more; the message says how it goes on. No report is lost."""


class Engine(Protocol):
    """Answers to one question about many photos.

    Attributes:
        dialogue: how the model is spoken with.
        made_by: what its reports are marked with.
    """

    dialogue: Dialogue
    made_by: MadeBy

    def answers(self, photos: Iterable[bytes]) -> Iterator[Answer | Failure]:
        """One answer a photo, in order; no more photos are taken than are being worked on.

        Args:
            photos: processed photos, encoded as JPEG.

        Raises:
            InspectionStopped: nothing answers any more; the photos without an answer are asked again later.
        """
        ...


def question_hash(dialogue: Dialogue, max_new_tokens: int) -> str:
    """SHA-256 of what is asked about every photo, and of where its answer is cut off."""
    return sha256(json.dumps([dialogue.prompt, max_new_tokens]).encode()).hexdigest()
