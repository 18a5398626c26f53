"""Literal strings without which a rule cannot apply, found all at once.

Most texts hold no identifier at all. Each family of rules names literals of which one must be there for
any of its rules to match; a single Aho-Corasick pass over the text tells which families to run, and where.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ahocorasick_rs import AhoCorasick, Implementation

#: For each family of rules, where its literals begin, in order.
Hits = Mapping[str, Sequence[int]]


class Triggers:
    """Literals in lower case, by family; they are found whatever the case of the text."""

    def __init__(self, families: Mapping[str, Iterable[str]]) -> None:
        self.families = tuple(families)
        pairs = [(literal, family) for family, literals in families.items() for literal in literals]
        self._family = [family for _, family in pairs]
        self._automaton = AhoCorasick([literal for literal, _ in pairs], implementation=Implementation.DFA)

    def look(self, text: str) -> Hits:
        """Where the literals of each family stand in ``text``; families without any are absent."""
        hits: dict[str, list[int]] = {}
        for index, start, _ in self._automaton.find_matches_as_indexes(_lower(text), overlapping=True):
            hits.setdefault(self._family[index], []).append(start)
        for starts in hits.values():
            starts.sort()
        return hits

    def everywhere(self, text: str) -> Hits:
        """As if every literal stood at every place: what the rules find so, they find with :meth:`look` too."""
        return dict.fromkeys(self.families, range(len(text)))


def _lower(text: str) -> str:
    """The text in lower case with every character where it was ("İ" would become two)."""
    lower = text.lower()
    return lower if len(lower) == len(text) else "".join(c.lower() if c != "İ" else "i" for c in text)


def matches(pattern: re.Pattern[str], text: str, starts: Iterable[int]) -> Iterator[re.Match[str]]:
    """Matches of a pattern that begin at one of ``starts``, the first where two overlap."""
    end = 0
    for start in starts:
        if start >= end and (match := pattern.match(text, start)):
            yield match
            end = max(match.end(), start + 1)
