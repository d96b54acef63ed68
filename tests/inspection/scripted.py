"""An engine whose answers are given."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from lng_kedro.geometry import Frame
from lng_kedro.inspection.engine import Failure
from lng_kedro.inspection.params import InspectionParams
from lng_kedro.inspection.record import MadeBy
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import Answer

PARAMS = InspectionParams.model_validate(
    {
        "engine": {"kind": "in_process", "batch_size": 2},
        "constrained": True,
        "max_new_tokens": 64,
        "look_ahead": 3,
        "jpeg_quality": 95,
        "max_pixels": 10_000_000,
        "max_bytes": 1_000_000,
        "page_mib": 48,
    }
)


def made_by(**changes: object) -> MadeBy:
    about = {"model": "m", "adapter_sha256": "a", "taxonomy_sha256": "t", "engine": "in_process"}
    return MadeBy.model_validate(about | {"constrained": True, "prompt_sha256": "p"} | changes)


def said(text: str = "[]", *scores: float, finished: bool = True) -> Answer:
    return Answer(text, len(text), finished, scores)


@dataclass
class Scripted:
    """Says of each photo what `answer` says of its number among those asked about, a batch at a time."""

    dialogue: Dialogue
    answer: Callable[[int], Answer | Failure] = lambda number: said()
    made_by: MadeBy = field(default_factory=made_by)
    batch: int = 1
    asked: list[bytes] = field(default_factory=list)

    def answers(self, photos: Iterable[bytes]) -> Iterator[Answer | Failure]:
        waiting = 0
        for photo in photos:
            self.asked.append(photo)
            waiting += 1
            if waiting == self.batch:
                yield from self._answered(waiting)
                waiting = 0
        yield from self._answered(waiting)

    def _answered(self, waiting: int) -> Iterator[Answer | Failure]:
        return map(self.answer, range(len(self.asked) - waiting, len(self.asked)))


def dialogue(taxonomy: Taxonomy, width: int = 128, height: int = 128) -> Dialogue:
    return Dialogue(taxonomy=taxonomy, frame=Frame(width, height), reasoning=False)
