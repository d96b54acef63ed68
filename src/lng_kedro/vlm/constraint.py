"""Answers that cannot but be reports: tokens after which there is no valid answer are barred.

xgrammar says which tokens the grammar of the answers allows; `Form` says which of them keep the order of a
box's numbers and the room that is left (docs/adr/0010-always-a-report.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.form import Form, Place
from lng_kedro.vlm.grammar import report_grammar, report_schema
from lng_kedro.vlm.load import Vlm

__all__ = ["Constraint", "compile_constraint", "missing_means", "report_grammar", "report_schema"]


def missing_means() -> str | None:
    """What has to be installed before an answer can be constrained; None where it is."""
    if find_spec("xgrammar"):
        return None
    return "Constrained answers need the extra `serve`: pip install -c constraints.txt -e '.[train,serve]'"


@dataclass(frozen=True)
class Constraint:
    """What answers of one model in one dialogue may be; serves any number of batches.

    Attributes:
        grammar: compiled for the model's tokenizer.
        form: the same, with the order of a box's numbers and the room that is needed.
        tokens: bytes of each token of the model's vocabulary; nothing for those that must not be written.
        max_new_tokens: every answer has come to its end before.
    """

    grammar: Any
    form: Form
    tokens: Sequence[bytes]
    max_new_tokens: int
    _room: dict[int, dict[int, int | None]] = field(default_factory=dict, repr=False)

    def processor(self) -> Any:
        """A logits processor for one call of `generate`."""
        return _Mask(self)

    def room_after(self, place: Place, token: int) -> int | None:
        """Tokens that suffice to end an answer that goes on with this one; None where none would end it."""
        if not self.tokens[token]:
            return 0  # it is the end
        # Only outside of boxes are there few places.
        known = {} if place.low else self._room.setdefault(place.state, {})
        if token not in known:
            following = self.form.after(place, self.tokens[token])
            known[token] = None if following is None else self.form.room(following)
        return known[token]


def compile_constraint(vlm: Vlm, dialogue: Dialogue, max_new_tokens: int) -> Constraint:
    """Compiles the grammar of a dialogue for a model's tokenizer; takes a second.

    Args:
        vlm: the model.
        dialogue: how it is spoken with.
        max_new_tokens: within which every answer has to end.

    Raises:
        ValueError: they are too few for one finding, or the tokenizer cannot write a report.
    """
    import xgrammar

    size = vlm.model.config.get_text_config().vocab_size
    ends = list(vlm.model.generation_config.eos_token_id)
    tokens = _token_bytes(vlm, size, ends)
    lead = _space_before_answers(vlm.processor)
    form = Form(dialogue, frozenset(filter(None, tokens)), lead)
    if form.least_room > max_new_tokens:
        raise ValueError(
            f"max_new_tokens is {max_new_tokens}, and an answer with one finding may take {form.least_room} "
            "tokens of this model: allow that many at least, or leave its answers unconstrained"
        )
    vocabulary = xgrammar.TokenizerInfo(tokens, vocab_size=size, stop_token_ids=ends)
    grammar = xgrammar.Grammar.from_ebnf(report_grammar(dialogue, lead, thought=None))
    compiled = xgrammar.GrammarCompiler(vocabulary).compile_grammar(grammar)
    return Constraint(compiled, form, tokens, max_new_tokens)


def _token_bytes(vlm: Vlm, size: int, ends: Sequence[int]) -> list[bytes]:
    """What each token of the model writes; nothing for special ones and those past the tokenizer's."""
    import xgrammar

    tokenizer = vlm.processor.tokenizer
    # It knows how byte-level vocabularies and those of SentencePiece spell bytes.
    known = xgrammar.TokenizerInfo.from_huggingface(tokenizer, vocab_size=size, stop_token_ids=list(ends))
    silent = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    silent |= {*tokenizer.all_special_ids, *ends, *vlm.barred_ids}
    return [b"" if i in silent else token for i, token in enumerate(known.decoded_vocab)]


def _space_before_answers(processor: Any) -> bool:
    """Whether the template writes a space before an answer, so that models have learnt to."""
    turns = [{"role": r, "content": [{"type": "text", "text": "?"}]} for r in ("user", "assistant")]
    asked = processor.apply_chat_template(turns[:1], tokenize=False, add_generation_prompt=True)
    answered = processor.apply_chat_template(turns, tokenize=False)
    return bool(answered.startswith(f"{asked} ?"))


class _Mask:
    """Bars tokens in the logits of a batch, in place; `generate` calls it before each token is chosen.

    Attributes:
        cramped: rows in which a token that the model would have chosen was barred for want of room.
    """

    def __init__(self, constraint: Constraint) -> None:
        import xgrammar

        self._constraint = constraint
        self._left = constraint.max_new_tokens
        self._filler = xgrammar.BatchGrammarMatcher()
        self._matchers: list[Any] = []
        self._places: list[Place] = []
        self.cramped: set[int] = set()
        self._open: list[int] = []  # rows whose answers have not ended

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores in which what must not come next is minus infinity."""
        import xgrammar

        if self._matchers:
            self._read(input_ids[:, -1].tolist())
        else:
            self._begin(len(scores))
        matchers = [self._matchers[row] for row in self._open]
        self._filler.batch_fill_next_token_bitmask(matchers, self._mask, self._open)
        for row in self._open:
            place = self._places[row]
            if self._constraint.form.ordered[place.state] or self._left <= self._constraint.form.most:
                self._refine(row, place, scores[row])
        self._left -= 1
        # What follows the end of an answer is padding, whatever is allowed.
        xgrammar.apply_token_bitmask_inplace(scores, self._mask.to(scores.device), indices=self._open)
        return scores

    def _begin(self, rows: int) -> None:
        import xgrammar

        grammar = self._constraint.grammar
        self._matchers = [xgrammar.GrammarMatcher(grammar) for _ in range(rows)]
        self._places = [self._constraint.form.start] * rows
        self._open = list(range(rows))
        self._mask = xgrammar.allocate_token_bitmask(rows, grammar.tokenizer_info.vocab_size)
        self._bits = self._mask.numpy().view("uint8")

    def _read(self, chosen: list[int]) -> None:
        """Takes note of the tokens that were chosen."""
        matchers = [self._matchers[row] for row in self._open]
        self._filler.batch_accept_token(matchers, [chosen[row] for row in self._open])
        self._open = [row for row in self._open if not self._matchers[row].is_terminated()]
        for row in self._open:
            place = self._constraint.form.after(self._places[row], self._constraint.tokens[chosen[row]])
            assert place is not None  # noqa: S101  nothing else was allowed
            self._places[row] = place

    def _refine(self, row: int, place: Place, scores: Any) -> None:
        """Bars those of the grammar's tokens that break the order of a box's numbers or do not fit."""
        import numpy as np

        allowed = np.unpackbits(self._bits[row], bitorder="little")
        tokens = np.flatnonzero(allowed[: len(self._constraint.tokens)]).tolist()
        rooms = [self._constraint.room_after(place, token) for token in tokens]
        in_order = [(token, room) for token, room in zip(tokens, rooms, strict=True) if room is not None]
        fitting = [token for token, room in in_order if room < self._left]
        if len(fitting) < len(in_order):
            wanted = int(scores[[token for token, _ in in_order]].argmax())
            if in_order[wanted][1] >= self._left:
                self.cramped.add(row)
        allowed[:] = 0
        allowed[fitting] = 1
        self._bits[row] = np.packbits(allowed, bitorder="little")
