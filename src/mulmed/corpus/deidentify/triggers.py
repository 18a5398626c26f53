"""Literal strings without which a rule cannot apply, found all at once in the texts of many records.

Most texts hold no identifier at all. Many are joined and looked through twice, each time by one automaton
(Aho-Corasick) over bytes:

- as *words*: letters in lower case, everything else a space. A literal with a space before it begins with a word.
- as *shapes*: letters in lower case, every digit ``0``, every white space a space, all else as it is.

Each family of rules names literals of which one must be there for any of its rules to match. What is found
tells which families to run on which text, and where. A literal may stand for more than its rule, never for less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate

import numpy as np
from ahocorasick_rs import BytesAhoCorasick, Implementation
from numpy.typing import NDArray

#: For each family of rules, where its literals begin, in order.
Hits = Mapping[str, Sequence[int]]

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_CAPITALS = _LETTERS.upper()
_SPACES = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
#: Bytes of a text as words and as shapes. The byte 0 parts the texts.
_WORDS = bytes(c if c in _LETTERS or c == 0 else c + 32 if c in _CAPITALS else 32 for c in range(256))
_SHAPES = bytes(
    c + 32 if c in _CAPITALS else 48 if c in b"0123456789" else 32 if c in _SPACES else c for c in range(256)
)
_BETWEEN = " \0 "
#: White space beyond ASCII: replaced before the look, so that literals need name one kind of space only.
_ODD_SPACE = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_ODD_SPACES = tuple("\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") + tuple(map(chr, range(0x2000, 0x200B)))


class Joined:
    """Texts put together for one look at all of them, and what tells in which of them a place is.

    Attributes:
        raw: the texts in UTF-8, with :data:`_BETWEEN` between them and at both ends.
        codes: its bytes.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._joined = _BETWEEN.join(("", *texts, ""))
        self.raw = self._joined.encode("utf-8", "surrogatepass")
        self.codes: NDArray[np.uint8] = np.frombuffer(self.raw, np.uint8)
        self._starts = np.fromiter(
            accumulate((len(text) + len(_BETWEEN) for text in texts), initial=len(_BETWEEN)), np.int64
        )[:-1]
        self._characters: NDArray[np.int64] | None = None

    def without_odd_space(self) -> bytes:
        """``raw`` with a space for each character that is white space beyond ASCII: other bytes, the same characters."""
        self._joined = _ODD_SPACE.sub(" ", self._joined)
        self.raw = self._joined.encode("utf-8", "surrogatepass")
        self.codes = np.frombuffer(self.raw, np.uint8)
        self._characters = None
        return self.raw

    def within(self, places: NDArray[np.int64]) -> tuple[list[int], list[int]]:
        """For places in bytes, in order: the position of the text that each is in, and where it is in that text.

        The space before a text is taken for its beginning.
        """
        if len(self.raw) != len(self._joined):
            # Every character has one byte that goes on with none.
            if self._characters is None:
                self._characters = np.cumsum(self.codes & 0xC0 != 0x80)
            places = self._characters[places] - 1
        texts = np.searchsorted(self._starts, places + 1, "right") - 1
        return texts.tolist(), np.maximum(places - self._starts[texts], 0).tolist()


class Triggers:
    """Literals by family, of words and of shapes."""

    def __init__(self, words: Mapping[str, Iterable[str]], shapes: Mapping[str, Iterable[str]]) -> None:
        self.families = tuple({**words, **shapes})
        numbers = {family: number for number, family in enumerate(("", *self.families))}
        self._names = tuple(numbers)
        self._words = _Automaton(words, 1, numbers)
        self._shapes = _Automaton({**shapes, "": _ODD_SPACES}, 0, numbers)

    def look(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """For each text, where the literals of each family stand in it; families without any are absent."""
        return self.look_at(Joined(texts), len(texts))

    def look_at(self, joined: Joined, count: int) -> list[dict[str, list[int]]]:
        """The same of ``count`` texts that are put together already."""
        hits: list[dict[str, list[int]]] = [{} for _ in range(count)]
        found = self._shapes.look(joined.raw.translate(_SHAPES))
        if not found[1].all():
            found = self._shapes.look(joined.without_odd_space().translate(_SHAPES))
        more = self._words.look(joined.raw.translate(_WORDS))
        size = len(self._names)
        order = np.unique(np.concatenate([places * size + families for places, families in (found, more)]))
        texts, starts = joined.within(order // size)
        names = self._names
        for text, start, family in zip(texts, starts, (order % size).tolist(), strict=True):
            some, name = hits[text], names[family]
            if name not in some:
                some[name] = [start]
            elif some[name][-1] != start:
                some[name].append(start)
        return hits

    def everywhere(self, text: str) -> dict[str, Sequence[int]]:
        """As if every literal stood at every place: what the rules find so, they find with :meth:`look` too."""
        return dict.fromkeys(self.families, range(len(text)))


class _Automaton:
    """``skip``: a space at the beginning of a literal is no part of what it announces. ``numbers``: of the families."""

    def __init__(self, families: Mapping[str, Iterable[str]], skip: int, numbers: Mapping[str, int]) -> None:
        pairs = {(literal, family) for family, literals in families.items() for literal in literals}
        ordered = sorted(pairs)
        self._shifts = np.array([skip if literal[0] == " " else 0 for literal, _ in ordered], np.int64)
        self._families = np.array([numbers[family] for _, family in ordered], np.int64)
        self._automaton = BytesAhoCorasick(
            [literal.encode() for literal, _ in ordered], implementation=Implementation.DFA
        )

    def look(self, text: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each literal stands, without the space before its first word, and the number of its family."""
        found = self._automaton.find_matches_as_indexes(text, overlapping=True)
        if not found:
            return _NOTHING, _NOTHING
        indexes, starts, _ = (np.array(column, np.int64) for column in zip(*found, strict=True))
        return starts + self._shifts[indexes], self._families[indexes]


_NOTHING = np.zeros(0, np.int64)


def matches(pattern: re.Pattern[str], text: str, starts: Iterable[int]) -> Iterator[re.Match[str]]:
    """Matches of a pattern that begin at one of ``starts``, the first where two overlap."""
    end = 0
    for start in starts:
        if start >= end and (match := pattern.match(text, start)):
            yield match
            end = max(match.end(), start + 1)


def run_starts(text: str, places: Iterable[int]) -> list[int]:
    """Where the digits begin in the middle of which ``places`` are, in order; places without a digit are left out."""
    starts = set()
    for place in places:
        if text[place : place + 1] in _DIGITS and place < len(text):
            while place and text[place - 1] in _DIGITS:
                place -= 1
            starts.add(place)
    return sorted(starts)


_DIGITS = frozenset("0123456789")
