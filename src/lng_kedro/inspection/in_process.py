"""A model in this process."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from hashlib import sha256
from io import BytesIO
from itertools import islice
from pathlib import Path

from PIL import Image

from lng_kedro.inspection.engine import Failure, InspectionStopped, question_hash
from lng_kedro.inspection.params import InProcessParams
from lng_kedro.inspection.record import MadeBy
from lng_kedro.taxonomy import Taxonomy
from lng_kedro.vlm.adapter import adapter_hash, stored_dialogue
from lng_kedro.vlm.constraint import Constraint, compile_constraint
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.generate import Answer, answer_batch
from lng_kedro.vlm.load import Vlm, load_vlm
from lng_kedro.vlm.merged import is_merged, stored_origin
from lng_kedro.vlm.spec import VlmParams

logger = logging.getLogger(__name__)


class InProcessEngine:
    """The model in use, with an adapter or bare; it is loaded when the first photo comes."""

    def __init__(
        self,
        vlm_params: VlmParams,
        adapter: Path | None,
        taxonomy: Taxonomy,
        params: InProcessParams,
        max_new_tokens: int,
        constrained: bool,
    ) -> None:
        """Args:
            vlm_params: which model.
            adapter: folder of a stored adapter, which says how it is spoken with; None for a bare model, or
                for one with an adapter merged in, which says it itself.
            taxonomy: what a bare model is asked for.
            params: photos a batch.
            max_new_tokens: where an answer is cut off.
            constrained: nothing but the report schema can be written.

        Raises:
            ValueError: nothing says how the adapter is spoken with.
        """
        self._load = partial(load_vlm, vlm_params, adapter=adapter)
        self._batch_size = params.batch_size
        self._max_new_tokens = max_new_tokens
        self._constrained = constrained
        checkpoint, weights = Path(vlm_params.spec.checkpoint), None
        if adapter:
            self.dialogue, weights = stored_dialogue(adapter), adapter_hash(adapter)
        elif is_merged(checkpoint):
            self.dialogue, weights = stored_dialogue(checkpoint), stored_origin(checkpoint).adapter_sha256
        else:
            self.dialogue = Dialogue(taxonomy=taxonomy, frame=self._vlm.frame, reasoning=False)
        self.made_by = MadeBy(
            model=vlm_params.model,
            adapter_sha256=weights,
            taxonomy_sha256=self.dialogue.taxonomy.digest,
            engine=params.kind,
            constrained=constrained,
            prompt_sha256=question_hash(self.dialogue, max_new_tokens),
            model_sha256=sha256(vlm_params.fingerprint().encode()).hexdigest(),
        )

    def answers(self, photos: Iterable[bytes]) -> Iterator[Answer | Failure]:
        """One answer a photo, in order; see `Engine`."""
        remaining = iter(photos)
        while batch := list(islice(remaining, self._batch_size)):
            yield from self._answer([_decoded(photo) for photo in batch])

    @cached_property
    def _vlm(self) -> Vlm:
        with _stopping():
            return self._load()

    @cached_property
    def _constraint(self) -> Constraint | None:
        if not self._constrained:
            return None
        with _stopping():
            return compile_constraint(self._vlm, self.dialogue, self._max_new_tokens)

    def _answer(self, photos: list[Image.Image]) -> list[Answer]:
        """Answers to a batch; where the GPU's memory does not hold it, to halves of it, also from now on."""
        import torch

        try:
            return answer_batch(
                self._vlm, self.dialogue.prompt, photos, self._max_new_tokens, constraint=self._constraint
            )
        except torch.OutOfMemoryError as error:
            if len(photos) == 1:
                raise InspectionStopped(
                    f"The GPU's memory does not hold one photo's answer ({error}). Free it, or take "
                    "a smaller model or 4 bits; the same command goes on from here."
                ) from error
        torch.cuda.empty_cache()
        self._batch_size = half = len(photos) // 2
        logger.warning(
            "The GPU's memory does not hold %d photos: going on with %d at once", len(photos), half
        )
        return [*self._answer(photos[:half]), *self._answer(photos[half:])]


@contextmanager
def _stopping() -> Iterator[None]:
    """What is wrong with an adapter or a setting is said without a traceback."""
    try:
        yield
    except ValueError as error:
        raise InspectionStopped(str(error)) from error


def _decoded(jpeg: bytes) -> Image.Image:
    with Image.open(BytesIO(jpeg)) as image:
        return image.convert("RGB")
