"""Whether what a phrase says is so now: negation, time, questions, suppositions, reports, figures of speech.

Every phrase found in a message is judged by the cues around it (concepts of the lexicon whose names are used
below). A figure of speech ("dying to know", 笑死) is no phrase at
all. The other reasons why one does not count:

- ``negated``: behind a negation in its clause, up to a "but"; "denies a, b, c" and 无a、b reach over the list.
- ``past``: its sentence tells of the past or of something that is over, and not of now.
- ``asked``: its sentence asks for general knowledge.
- ``if``: its sentence supposes something of nobody in particular, or of the future.
- ``told``: the message is a text to be summarised, homework, a novel.
- ``animal``: it is a pet's.

A third person is no reason: someone else in danger now is in danger.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

from mulmed.safety.normalize import clause_ends

#: How many characters a negation reaches: of words, and of Han characters.
_REACH, _REACH_HAN, _REACH_SHORT = 60, 14, 3


class Hit(NamedTuple):
    """A phrase found: where (in the row of words), what, in which clause and sentence, and why it does not count."""

    start: int
    end: int
    concept: str
    clause: int
    sentence: int
    why_not: frozenset[str]


class Context:
    """The cues of a message and what they mean for a phrase in it."""

    def __init__(self, text: str, found: list[tuple[int, int, str]]) -> None:
        self._text = text
        self._clauses = clause_ends(text)
        self._starts = [start - 1 for start, _, _ in self._clauses]
        self._sentence_of = [0, *accumulate(final for _, _, final in self._clauses)]
        self._idioms = sorted((a, b) for a, b, c in found if c == "idiom")
        self._by_clause: list[set[str]] = [set() for _ in self._clauses]
        self._by_sentence: list[set[str]] = [set() for _ in range(self._sentence_of[-1] + 1)]
        self._places: dict[str, list[tuple[int, int]]] = defaultdict(list)
        self._blocked = sorted((a, b) for a, b, c in found if c == "not_negation")
        for start, end, concept in found:
            if concept in _CUES and self._is_blocked(start, end):
                continue
            if not (self._idioms and self._idiom(start, end) and concept != "idiom"):
                self._places[concept].append((start, end))
                clause = bisect_right(self._starts, start) - 1
                self._by_clause[clause].add(concept)
                self._by_sentence[self._sentence_of[clause]].add(concept)
        self.concepts = self._places.keys()
        self.told = "task" in self.concepts or "role" in self.concepts
        scopes = sorted(self._scopes())
        self._negated_from = [start for start, _ in scopes]
        self._negated_to = [*accumulate((end for _, end in scopes), max)]
        self._hits: dict[str, list[Hit]] = {}
        self._reasons: dict[int, tuple[frozenset[str], frozenset[str]]] = {}

    def around(self, hit: Hit) -> set[str]:
        """The concepts in a hit's sentence."""
        return self._by_sentence[hit.sentence]

    def clause(self, hit: Hit) -> tuple[int, int]:
        """Where a hit's clause begins and ends."""
        start, end, _ = self._clauses[hit.clause]
        return start, end

    def hits(self, concept: str) -> list[Hit]:
        """Where a concept was found, but for figures of speech."""
        if concept not in self._hits:
            self._hits[concept] = [
                self._hit(start, end, concept) for start, end in self._places.get(concept, ())
            ]
        return self._hits[concept]

    def _hit(self, start: int, end: int, concept: str) -> Hit:
        clause = bisect_right(self._starts, start) - 1
        before = bisect_right(self._negated_from, start)
        negated = bool(before) and self._negated_to[before - 1] + 1 >= end
        return Hit(start, end, concept, clause, self._sentence_of[clause], self._why(clause)[negated])

    def _why(self, clause: int) -> tuple[frozenset[str], frozenset[str]]:
        """Why a phrase in a clause does not count: where nothing negates it, and where it is negated."""
        if (known := self._reasons.get(clause)) is not None:
            return known
        here, around = self._by_clause[clause], self._by_sentence[self._sentence_of[clause]]
        why = set()
        if self._is_past(here, around):
            why.add("past")
        if "asked" in around and around.isdisjoint(_PRESENT):
            why.add("asked")
        if "if_general" in here or ("if" in around and ("future" in around or "someone" in around)):
            why.add("if")
        if "animal" in here and "person" not in here:
            why.add("animal")
        if self.told and "now" not in around and not ("task" in self.concepts and "self" in around):
            why.add("told")
        self._reasons[clause] = frozenset(why), frozenset(why | {"negated"})
        return self._reasons[clause]

    @staticmethod
    def _is_past(here: set[str], around: set[str]) -> bool:
        """Whether a clause tells of the past, or its sentence does and of nothing else, or that it is over."""
        if not here.isdisjoint(_PAST) and here.isdisjoint(_PRESENT):
            return True
        if "ongoing" in around:
            return False
        past = not around.isdisjoint(_PAST) and around.isdisjoint(_PRESENT)
        return past or ("over" in around and "again" not in around)

    def _idiom(self, start: int, end: int) -> bool:
        """Whether a phrase lies in a figure of speech, or overlaps one that is at least as long."""
        at = bisect_left(self._idioms, (end, 0))
        near = self._idioms[max(at - _NEAR, 0) : at]
        return any(start < b and b - a >= end - start for a, b in near)

    def _is_blocked(self, start: int, end: int) -> bool:
        """Whether a cue is part of a phrase that only looks like one ("not only", 没这么疼过)."""
        at = bisect_right(self._blocked, (start, len(self._text)))
        return any(end <= b for _, b in self._blocked[max(at - _NEAR, 0) : at])

    def _scopes(self) -> Iterator[tuple[int, int]]:
        """Stretches that are negated."""
        stops = sorted(start for start, _ in self._places.get("but", ()))
        for name, reach in (("negation", 0), ("negation_list", 0), ("negation_short", _REACH_SHORT)):
            for start, end in self._places.get(name, ()):
                clause = bisect_right(self._starts, start) - 1
                limit = self._clauses[clause][1]
                if name == "negation_list":
                    limit = self._list_end(clause, _NEW)
                elif self._lists(clause, end):
                    limit = self._list_end(clause, _NEW | _STRESS)
                elif name == "negation":
                    limit = min(limit, end + (_REACH_HAN if self._text[end - 1] > "\u2e80" else _REACH))
                if reach:
                    limit = min(limit, end + reach)
                at = bisect_left(stops, end - 1)
                yield end - 1, min(limit, stops[at]) if at < len(stops) else limit
        for start, _ in self._places.get("negated_before", ()):  # "chest pain: none", "ruled out"
            yield self._clauses[bisect_right(self._starts, start) - 1][0], start

    def _lists(self, clause: int, position: int) -> bool:
        """Whether "no a, b or c" follows: an ``or`` in this sentence before any verb of its own."""
        last = self._list_end(clause, _NEW | _STRESS)
        if last == self._clauses[clause][1]:
            return False
        known = self._places.get("or", ())
        at = bisect_right(known, (position, len(self._text)))
        return at < len(known) and known[at][0] < last

    def _list_end(self, clause: int, breaks: frozenset[str]) -> int:
        """Where a list that begins in ``clause`` ends: short clauses without a person, a time or a "but"."""
        last = clause
        while (
            last < clause + _LIST
            and last + 1 < len(self._clauses)
            and self._sentence_of[last + 1] == self._sentence_of[clause]
        ):
            start, end, _ = self._clauses[last + 1]
            if end - start > 40 or not self._by_clause[last + 1].isdisjoint(breaks):
                break
            last += 1
        return self._clauses[last][1]


#: Cues that a phrase of not_negation takes away.
_CUES = frozenset({"negation", "negation_list", "negation_short", "past", "over", "asked"})
_PAST = frozenset({"past", "ago", "year"})
_PRESENT = frozenset({"now", "recent"})
#: What no item of a negated list has: a subject or a time of its own; a stress, unless it is denied outright.
_NEW = frozenset({"self", "person", "now", "recent", "but"})
_STRESS = frozenset({"severe", "sudden"})
#: How many items a negated list has at most; how many phrases before a place may still reach it.
_LIST, _NEAR = 20, 12
