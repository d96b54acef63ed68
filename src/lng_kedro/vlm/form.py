"""What a grammar cannot say of an answer: the order of a box's numbers, and that it ends in time.

The form of an answer is a chain of pieces: a fixed text, one of the values of a field, a number, the
reasoning. Its states are the ways of having begun a piece. Of each is known how many tokens suffice to end
the answer from there, whatever the pieces to come say, as long as they are cut into the longest tokens that
there are. A token is allowed if what it leads to still fits. So what room is left decides how many findings
there are and into which tokens a text is cut, never what it says.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import NamedTuple

from lng_kedro.report import ANSWER_CLOSE, ANSWER_OPEN, THINK_CLOSE, THINK_OPEN
from lng_kedro.taxonomy import BBOX, LABEL
from lng_kedro.vlm.dialogue import Dialogue
from lng_kedro.vlm.grammar import coordinates

_FOLLOWING = {
    **dict.fromkeys(range(0xC2, 0xE0), 1),
    **dict.fromkeys(range(0xE0, 0xF0), 2),
    **dict.fromkeys(range(0xF0, 0xF5), 3),
}
"""First byte of a character in UTF-8 -> bytes that follow it."""

_SEVERAL_NUMBERS = re.compile(rb",\d")
"""In a token that does not end with the number, or the mark, that it begins with."""


class Place(NamedTuple):
    """Where a text is.

    Attributes:
        state: of the form.
        low: the numbers of its box so far that others have to exceed: ranks of x_min and y_min.
    """

    state: int
    low: tuple[int, ...] = ()


class Piece(NamedTuple):
    """A part of an answer.

    Attributes:
        texts: what it may be -> the piece that follows.
        again: the same, of what need not be said: another finding.
        axis: of a number: 0 to 3, which of a box's.
        free: any text without "<" before it: the reasoning.
    """

    texts: Mapping[str, int]
    again: Mapping[str, int] = {}
    axis: int | None = None
    free: bool = False


class Form:
    """The form of the answers of a dialogue, cut into the tokens of a vocabulary.

    Attributes:
        start: where an answer begins.
        least_room: tokens that an answer with one finding may take, whatever it says.
        most: no place needs more tokens than so many.
        ordered: of each state, whether the order of a box's numbers bars tokens.
    """

    def __init__(self, dialogue: Dialogue, tokens: Collection[bytes], lead: bool = False) -> None:
        """Lays out the states.

        Args:
            dialogue: how the model is spoken with.
            tokens: all that can be written at once.
            lead: a space may come first.

        Raises:
            ValueError: something of the form cannot be written with the tokens.
        """
        self._tokens = tokens
        self._count = cache(self._count_tokens)
        pieces = _pieces(dialogue)
        end = len(pieces)
        self._worst = [0] * end + [1]  # the end token
        for k in reversed(range(end)):
            self._worst[k] = max(self._cost(text, after) for text, after in pieces[k].texts.items())
        # Of each state: the next one for each byte; which of a box's numbers it is in; the rank of a number
        # that is whole; and of each text that goes through it the rank, and the tokens that are left to the
        # end. The first states begin the pieces.
        self._steps: list[dict[int, int]] = [{} for _ in range(end + 1)]
        self._axis = [piece.axis for piece in pieces] + [None]
        self._rank = [-1] * (end + 1)
        self._ways: list[list[tuple[int, int]]] = [*([] for _ in range(end)), [(0, 1)]]
        self._free: set[int] = set()
        wholes = [whole for k in range(end) for whole in self._lay_out(k, pieces[k])]
        for state, after in wholes:
            self._steps[state] |= self._steps[after]
        if lead:
            self._steps[0][ord(" ")] = 0
        self.start = Place(0)
        self.least_room = self._worst[0] + lead
        self.most = max(tokens for ways in self._ways for _, tokens in ways)
        self._shortest = [min(tokens for _, tokens in ways) for ways in self._ways]
        self._greatest = [max(rank for rank, _ in ways) for ways in self._ways]
        self._shortest_above = cache(self._find_shortest_above)
        spanning = any(_SEVERAL_NUMBERS.search(token) for token in tokens)
        reached = [{state, *steps.values()} for state, steps in enumerate(self._steps)]
        self.ordered = [any(self._axis[s] in (2, 3) for s in states) for states in reached]
        if spanning:  # they may reach such a number from anywhere but the reasoning
            self.ordered = [state not in self._free for state in range(len(self._steps))]

    def after(self, place: Place, token: bytes) -> Place | None:
        """The place behind a token; None where no answer goes on so."""
        state, low = place
        for byte in token:
            following = self._steps[state].get(byte)
            if following is None:
                return None
            axis = self._axis[state]
            if axis is not None and self._axis[following] is None:  # a number is whole
                rank = self._rank[state]
                if axis >= 2 and rank <= low[axis - 2]:
                    return None
                low = (*low, rank) if axis < 2 else low if axis == 2 else ()
            state = following
        axis = self._axis[state]
        if axis is not None and axis >= 2 and self._greatest[state] <= low[axis - 2]:
            return None
        return Place(state, low)

    def room(self, place: Place) -> int:
        """Tokens that suffice from a place to the end, with the end token."""
        axis = self._axis[place.state]
        if axis is None or axis < 2:
            return self._shortest[place.state]
        return self._shortest_above(place.state, place.low[axis - 2])

    def _find_shortest_above(self, state: int, rank: int) -> int:
        return min(tokens for other, tokens in self._ways[state] if other > rank)

    def _cost(self, text: str, after: int) -> int:
        return self._count(text) + self._worst[after]

    def _count_tokens(self, text: str) -> int:
        """Tokens of a text, the longest that fits taken each time."""
        data, count, start = text.encode(), 0, 0
        while start < len(data):
            end = next((e for e in range(len(data), start, -1) if data[start:e] in self._tokens), None)
            if end is None:
                raise ValueError(f"its tokenizer has no token for {text[start]!r}, which reports need")
            start, count = end, count + 1
        return count

    def _lay_out(self, k: int, piece: Piece) -> Iterator[tuple[int, int]]:
        """Makes the states of a piece, `k` the first; those where a text is whole, and the next piece."""
        first = 1 if piece.axis in (2, 3) else 0  # x_max and y_max begin one above x_min and y_min
        for rank, (text, after) in enumerate([*piece.texts.items(), *piece.again.items()], first):
            state = k
            for i, letter in enumerate(text):
                self._ways[state].append((rank, self._cost(text[i:], after)))
                state = self._step(state, ord(letter), piece.axis)
            self._ways[state].append((rank, self._worst[after]))
            self._rank[state] = rank
            yield state, after
        if piece.free:
            self._lay_out_free(k)

    def _step(self, state: int, byte: int, axis: int | None) -> int:
        if byte not in self._steps[state]:
            self._steps[state][byte] = self._new_state(axis)
        return self._steps[state][byte]

    def _new_state(self, axis: int | None) -> int:
        self._steps.append({})
        self._axis.append(axis)
        self._rank.append(-1)
        self._ways.append([])
        return len(self._steps) - 1

    def _lay_out_free(self, k: int) -> None:
        """Any character leads back to `k`; one of several bytes by way of states that want the rest of it."""
        wanting = [k]
        for missing in (1, 2, 3):
            state = self._new_state(None)
            self._ways[state] = [(0, missing + self._ways[k][0][1])]
            self._steps[state] = dict.fromkeys(range(0x80, 0xC0), wanting[-1])
            wanting.append(state)
        for byte in range(0x80):
            self._steps[k].setdefault(byte, k)
        self._free |= set(wanting)
        self._steps[k] |= {byte: wanting[missing] for byte, missing in _FOLLOWING.items()}


def _pieces(dialogue: Dialogue) -> list[Piece]:
    taxonomy = dialogue.taxonomy
    fields = taxonomy.field_names
    close = ANSWER_CLOSE if dialogue.reasoning else ""
    pieces = []
    if dialogue.reasoning:
        pieces += [Piece({THINK_OPEN: 1}), Piece({THINK_CLOSE + ANSWER_OPEN: 2}, free=True)]
    label = len(pieces) + 1
    values = [[json.dumps(value)[1:-1] for value in taxonomy.choices(name)] for name in (LABEL, *fields)]
    numbers = [[json.dumps(number) for number in axis] for axis in coordinates(dialogue.frame)]
    said = [(values[0], None), *zip(numbers, range(4), strict=True), *((v, None) for v in values[1:])]
    keys = [f'{json.dumps(name)}:"' for name in fields]
    glue = [f'","{BBOX}":[', ",", ",", ",", *(('"' if i else "]") + "," + key for i, key in enumerate(keys))]
    end = label + len(said) + len(glue) + 1
    pieces.append(Piece({f"[]{close}": end, f'[{{"{LABEL}":"': label}))
    for i, (texts, axis) in enumerate(said):
        pieces.append(Piece(dict.fromkeys(texts, len(pieces) + 1), axis=axis))
        if i < len(glue):
            pieces.append(Piece({glue[i]: len(pieces) + 1}))
    last = '"}' if fields else "]}"
    pieces.append(Piece({f"{last}]{close}": end}, again={f'{last},{{"{LABEL}":"': label}))
    return pieces
