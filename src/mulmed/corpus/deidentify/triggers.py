"""Literal strings without which a rule cannot apply, found all at once in all texts of a record.

Most texts hold no identifier at all, and a dialogue has a dozen of them. The texts of a record are joined and
looked through twice, each time by one automaton (Aho-Corasick) over bytes:

- as *words*: letters in lower case, everything else a space. A literal with a space before it begins with a word.
- as *shapes*: letters in lower case, every digit ``0``, every white space a space, all else as it is.

Each family of rules names literals of which one must be there for any of its rules to match. What is found
tells which families to run on which text, and where. A literal may stand for more than its rule, never for less.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ahocorasick_rs import BytesAhoCorasick, Implementation

#: For each family of rules, where its literals begin, in order.
Hits = Mapping[str, Sequence[int]]

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_CAPITALS = _LETTERS.upper()
_SPACES = b"\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f"
#: Bytes of a text as words and as shapes. The byte 0 parts the texts of a record.
_WORDS = bytes(c if c in _LETTERS or c == 0 else c + 32 if c in _CAPITALS else 32 for c in range(256))
_SHAPES = bytes(
    c + 32 if c in _CAPITALS else 48 if c in b"0123456789" else 32 if c in _SPACES else c for c in range(256)
)
_BETWEEN = " \0 "
#: White space beyond ASCII: replaced before the look, so that literals need name one kind of space only.
_ODD_SPACE = re.compile("[\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_ODD_SPACES = tuple("\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000") + tuple(map(chr, range(0x2000, 0x200B)))


class Triggers:
    """Literals by family, of words and of shapes."""

    def __init__(self, words: Mapping[str, Iterable[str]], shapes: Mapping[str, Iterable[str]]) -> None:
        self.families = tuple({**words, **shapes})
        self._words = _Automaton(words, 1)
        self._shapes = _Automaton({**shapes, "": _ODD_SPACES}, 0)

    def look(self, texts: Sequence[str]) -> list[dict[str, list[int]]]:
        """For each text, where the literals of each family stand in it; families without any are absent."""
        joined = _BETWEEN.join(("", *texts, ""))
        raw = joined.encode("utf-8", "surrogatepass")
        found = self._shapes.look(raw.translate(_SHAPES))
        if any(not family for _, family in found):
            joined = _ODD_SPACE.sub(" ", joined)
            raw = joined.encode("utf-8", "surrogatepass")
            found = self._shapes.look(raw.translate(_SHAPES))
        found += self._words.look(raw.translate(_WORDS))
        hits: list[dict[str, list[int]]] = [{} for _ in texts]
        if not found:
            return hits
        found.sort()
        if len(raw) != len(joined):
            found = _characters(found, raw)
        # Where each text begins and ends with what parts it from the next.
        index, first = 0, len(_BETWEEN)
        last = first + len(texts[0])
        for place, family in found:
            while place >= last + len(_BETWEEN):
                index += 1
                if index == len(texts):  # the space behind the last text
                    return hits
                first = last + len(_BETWEEN)
                last = first + len(texts[index])
            # A literal may begin with the space before the text.
            start = place - first if place > first else 0
            some = hits[index]
            if family not in some:
                some[family] = [start]
            elif some[family][-1] != start:
                some[family].append(start)
        return hits

    def everywhere(self, text: str) -> dict[str, Sequence[int]]:
        """As if every literal stood at every place: what the rules find so, they find with :meth:`look` too."""
        return dict.fromkeys(self.families, range(len(text)))


def _characters(found: list[tuple[int, str]], raw: bytes) -> list[tuple[int, str]]:
    """Places in bytes, in order, as places in characters."""
    counted = []
    byte = character = 0
    for place, family in found:
        character += len(raw[byte:place].decode("utf-8", "surrogatepass"))
        byte = place
        counted.append((character, family))
    return counted


class _Automaton:
    """``skip``: a space at the beginning of a literal is no part of what it announces."""

    def __init__(self, families: Mapping[str, Iterable[str]], skip: int) -> None:
        pairs = {(literal, family) for family, literals in families.items() for literal in literals}
        ordered = sorted(pairs)
        self._shifts = [skip if literal[0] == " " else 0 for literal, _ in ordered]
        self._families = [family for _, family in ordered]
        self._automaton = BytesAhoCorasick(
            [literal.encode() for literal, _ in ordered], implementation=Implementation.DFA
        )

    def look(self, text: bytes) -> list[tuple[int, str]]:
        """Where each literal stands, without the space before its first word, and its family."""
        shifts, families = self._shifts, self._families
        return [
            (start + shifts[index], families[index])
            for index, start, _ in self._automaton.find_matches_as_indexes(text, overlapping=True)
        ]


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
