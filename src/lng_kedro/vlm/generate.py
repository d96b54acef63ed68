"""Batched generation of reports, with a confidence for each object."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image
from tqdm import tqdm

from lng_kedro.prompts import Message
from lng_kedro.report import confidence_spans
from lng_kedro.vlm.constraint import Constraint
from lng_kedro.vlm.load import Vlm

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """What a model said about one photo.

    Attributes:
        text: the completion, without the end token.
        n_tokens: tokens generated, the end token included.
        finished: False where the limit of tokens cut the answer off.
        scores: for each object of the report the mean log-probability of its label and box tokens; of none
            where a server does not say.
        cramped: the model would have gone on, and was kept from it for want of room: what it left out, nobody
            knows.
    """

    text: str
    n_tokens: int
    finished: bool
    scores: tuple[float, ...]
    cramped: bool = False


def with_photo(prompt: Sequence[Message]) -> list[Message]:
    """The prompt with a place for the photo before the user's text."""
    # All contents as blocks: some templates take no other, and none of ours minds.
    messages = [{**m, "content": [{"type": "text", "text": m["content"]}]} for m in prompt]
    messages[-1]["content"].insert(0, {"type": "image"})
    return messages


def generate_answers(
    vlm: Vlm,
    prompt: Sequence[Message],
    photos: Sequence[Any],
    batch_size: int,
    max_new_tokens: int,
    constraint: Constraint | None = None,
) -> Iterator[Answer]:
    """Greedy answers to one prompt about many photos, a batch at a time, in order.

    Args:
        vlm: the model; its processor pads on the left.
        prompt: chat messages up to the answer.
        photos: callables that give a decoded photo, so that no more than a batch is in memory.
        batch_size: photos a batch.
        max_new_tokens: where an answer is cut off.
        constraint: of the same model, dialogue and number of tokens; every answer is a whole report.

    Raises:
        ValueError: the constraint is for answers of another length.
    """
    for start in tqdm(range(0, len(photos), batch_size), desc="Answers", unit="batch"):
        batch = [load() for load in photos[start : start + batch_size]]
        yield from answer_batch(vlm, prompt, batch, max_new_tokens, constraint)


def answer_batch(
    vlm: Vlm,
    prompt: Sequence[Message],
    photos: Sequence[Image],
    max_new_tokens: int,
    constraint: Constraint | None = None,
) -> list[Answer]:
    """Greedy answers to one prompt about some photos at once; see `generate_answers`."""
    import torch

    if constraint and constraint.max_new_tokens != max_new_tokens:
        length = constraint.max_new_tokens
        raise ValueError(f"the constraint is for answers of {length} tokens, not of {max_new_tokens}")
    text = vlm.processor.apply_chat_template(with_photo(prompt), tokenize=False, add_generation_prompt=True)
    mask = constraint.processor() if constraint else None
    inputs = vlm.processor(
        text=[text] * len(photos),
        images=[[photo] for photo in photos],
        return_tensors="pt",
        padding=True,
        add_special_tokens=False,  # the template has written them
    ).to(vlm.model.device)
    recorder = _LogProbabilities(inputs["input_ids"].shape[1])
    vlm.model.eval()
    with torch.inference_mode():
        sequences = vlm.model.generate(
            **inputs,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            suppress_tokens=list(vlm.barred_ids),
            logits_processor=[recorder, *([mask] if mask else [])],
        )
    cramped = mask.cramped if mask else set()
    if cramped:
        said = "%d of %d answers are shorter than the model would have them: there is room for %d tokens"
        logger.warning(said, len(cramped), len(photos), max_new_tokens)
    recorder.see(sequences)
    tokens = sequences[:, recorder.prompt_length :].tolist()
    chosen = torch.stack(recorder.chosen, dim=1).tolist()
    ends = set(vlm.model.generation_config.eos_token_id)
    return [_answer(vlm, *row, ends, i in cramped) for i, row in enumerate(zip(tokens, chosen, strict=True))]


class _LogProbabilities:
    """Records the log-probability of each generated token, without keeping the logits of all steps."""

    def __init__(self, prompt_length: int) -> None:
        self.prompt_length = prompt_length
        self.chosen: list[Any] = []
        self._last: Any = None

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Called by `generate` before each token is chosen; the tokens so far are in `input_ids`."""
        self.see(input_ids)
        self._last = scores.float().log_softmax(dim=-1)
        return scores

    def see(self, sequences: Any) -> None:
        """Notes the token that was chosen last."""
        if self._last is not None:
            self.chosen.append(self._last.gather(1, sequences[:, -1:]).squeeze(1))


def _answer(
    vlm: Vlm, tokens: list[int], log_probabilities: list[float], ends: set[int], cramped: bool
) -> Answer:
    length = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    pieces = vlm.processor.tokenizer.batch_decode(
        [[token] for token in tokens[:length]], clean_up_tokenization_spaces=False
    )
    text = vlm.processor.tokenizer.decode(tokens[:length], clean_up_tokenization_spaces=False)
    scores = object_scores(text, pieces, log_probabilities)
    return Answer(text, min(length + 1, len(tokens)), length < len(tokens), scores, cramped)


def object_scores(text: str, pieces: list[str], log_probabilities: list[float]) -> tuple[float, ...]:
    """For each object of the report in `text` the mean log-probability of its label and box tokens.

    Args:
        text: an answer.
        pieces: its tokens, decoded one by one; more may follow.
        log_probabilities: of the tokens.
    """
    return tuple(_span_score(pieces, log_probabilities, spans) for spans in confidence_spans(text))


def _span_score(pieces: list[str], log_probabilities: list[float], spans: list[tuple[int, int]]) -> float:
    """Mean log-probability of the tokens that overlap the spans of text.

    Lengths of decoded tokens locate them; where a character is split over tokens they may lie a little
    off, which such text, never a valid report, can bear.
    """
    total, count, position = 0.0, 0, 0
    for piece, value in zip(pieces, log_probabilities, strict=False):
        end = position + len(piece)
        if any(position < stop and end > start for start, stop in spans):
            total, count = total + value, count + 1
        position = end
    return total / count if count else min(log_probabilities, default=0.0)
