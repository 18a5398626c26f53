"""What the red flags are made of, read from data: words of each language, and rules that combine them.

``lexicons/LANGUAGE.yaml`` lists phrases under the names of concepts (``chest``, ``pain``, ``negation``); ``lexicons/rules.yaml``
says which concepts together mean which kind of danger, for all languages at once, so that "chest 很痛" is
understood as well. A language is added by one more file of phrases.

How phrases are written is told in :mod:`.phrases`. They are searched for all at once (Aho-Corasick), so that time
grows with the length of a message and never with what is in it.
"""

from __future__ import annotations

import functools
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import ahocorasick_rs
import yaml

from mulmed.corpus.deidentify.lexicon import ordinary
from mulmed.errors import MulmedError
from mulmed.safety.phrases import segments

LANGUAGES = ("en", "zh")


@dataclass(frozen=True, slots=True)
class Rule:
    """Concepts that together mean danger.

    Attributes:
        kind: the kind of danger.
        needs: each a choice of concepts, of which one must be found; the first is where the flag stands.
        within: ``clause``, ``sentence`` or ``message``: how close together they must be.
        unless: concepts that speak against it, anywhere in the sentence (``within`` a message: in the message).
        unless_anywhere: concepts that speak against it anywhere in the message.
        even: what does not speak against it: ``asked``, ``past``, ``if``, ``negated``, ``told`` (see :mod:`.context`).
        possible: it may also be something harmless.
    """

    kind: str
    needs: tuple[frozenset[str], ...]
    within: str
    unless: frozenset[str]
    unless_anywhere: frozenset[str]
    even: frozenset[str]
    possible: bool

    @property
    def name(self) -> str:
        """What was found, in the names of the concepts."""
        return "+".join("|".join(sorted(need)) for need in self.needs)


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Phrases of one or several languages, ready to be searched for."""

    automaton: Any
    concepts: tuple[tuple[str, ...], ...]  # of each string searched for
    parts: tuple[tuple[tuple[int, int], ...], ...]  # the broken phrases it is a part of, and which part
    broken: tuple[tuple[tuple[str, ...], str], ...]  # the gaps of each broken phrase, and its concept
    spellings: dict[str, tuple[str, ...]]  # a word with one letter left out: the words it may have been
    vocabulary: frozenset[str]

    def find(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and concept of each phrase in :class:`~mulmed.safety.normalize.Words`' text, overlapping ones too."""
        parts: dict[int, dict[int, list[tuple[int, int]]]] = {}
        for which, start, end in self.automaton.find_matches_as_indexes(text, overlapping=True):
            for concept in self.concepts[which]:
                yield start, end, concept
            for phrase, part in self.parts[which]:
                parts.setdefault(phrase, {}).setdefault(part, []).append((start, end))
        for phrase, found in parts.items():
            gaps, concept = self.broken[phrase]
            if len(found) > len(gaps):
                for start, end in _joined(text, [sorted(found[i]) for i in range(len(gaps) + 1)], gaps):
                    yield start, end, concept

    def spelled(self, word: str) -> str | None:
        """The word of the lexicon that ``word`` is a misspelling of: one letter more, less, other or in another place."""
        return _spelled(self.vocabulary, self.spellings, word)


@functools.cache
def lexicon(language: str | None = None) -> Lexicon:
    """The phrases of one language, or of all.

    Raises:
        MulmedError: there are none for ``language``.
    """
    if language is not None and language not in LANGUAGES:
        raise MulmedError(
            f"There are no red flags for the language {language!r}",
            where="safety",
            remedy=f"use one of {', '.join(LANGUAGES)}, or leave the language out",
        )
    concepts: dict[str, set[str]] = defaultdict(set)
    parts: dict[str, set[tuple[int, int]]] = defaultdict(set)
    broken: list[tuple[tuple[str, ...], str]] = []
    for name in (language,) if language else LANGUAGES:
        for concept, phrases in _document(name).items():
            for phrase in phrases.split(";"):
                readings, gaps = segments(phrase)
                if gaps:
                    broken.append((tuple(gaps), concept))
                for part, forms in enumerate(readings):
                    for form in forms:
                        if gaps:
                            parts[form].add((len(broken) - 1, part))
                        else:
                            concepts[form].add(concept)
    known = sorted({*concepts, *parts})
    vocabulary = frozenset(w for p in known if p.isascii() for w in p.split() if len(w) >= 5 and w.isalpha())
    spellings: dict[str, set[str]] = defaultdict(set)
    for word in vocabulary:
        for shorter in _shorter(word):
            spellings[shorter].add(word)
    return Lexicon(
        ahocorasick_rs.AhoCorasick(known, matchkind=ahocorasick_rs.MatchKind.Standard),
        tuple(tuple(sorted(concepts.get(p, ()))) for p in known),
        tuple(tuple(sorted(parts.get(p, ()))) for p in known),
        tuple(broken),
        {shorter: tuple(sorted(words)) for shorter, words in spellings.items()},
        vocabulary,
    )


@functools.cache
def rules() -> tuple[Rule, ...]:
    """The rules of all kinds, in the order of the file."""
    return tuple(_rule(kind, entry) for kind, entries in _document("rules").items() for entry in entries)


@functools.cache
def rules_by_concept() -> dict[str, tuple[int, ...]]:
    """The numbers of the rules whose first need a concept meets."""
    found: dict[str, list[int]] = defaultdict(list)
    for number, rule in enumerate(rules()):
        for concept in rule.needs[0]:
            found[concept].append(number)
    return {concept: tuple(numbers) for concept, numbers in found.items()}


def _rule(kind: str, entry: str | dict[str, Any]) -> Rule:
    given = {"need": entry} if isinstance(entry, str) else entry

    def names(key: str) -> frozenset[str]:
        return frozenset(filter(None, str(given.get(key, "")).split("|")))

    return Rule(
        kind,
        tuple(frozenset(need.split("|")) for need in str(given["need"]).split()),
        str(given.get("in", "sentence")),
        names("unless"),
        names("unless_anywhere"),
        names("even"),
        bool(given.get("possible", False)),
    )


def _document(name: str) -> dict[str, Any]:
    text = (files("mulmed.safety") / "lexicons" / f"{name}.yaml").read_text(encoding="utf-8")
    return dict(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _joined(
    text: str, parts: list[list[tuple[int, int]]], gaps: tuple[str, ...]
) -> Iterator[tuple[int, int]]:
    """Where the parts of a broken phrase follow each other with their gaps between."""
    ends = {end: start for start, end in reversed(parts[0])}  # where the phrase so far ends, and began
    for gap, following in zip(gaps, parts[1:], strict=True):
        joined: dict[int, int] = {}
        known = sorted(ends)
        for start, end in following:
            nearest = bisect_right(known, start + 1)
            for before in reversed(known[max(nearest - _TRIES, 0) : nearest]):
                if start - before > _GAP:
                    break
                if _fits(text[before:start], gap):
                    joined[end] = ends[before]
                    break
        ends = joined
    for end, start in ends.items():
        yield start, end


#: How long a gap is at most, in characters; how many places before it are tried, the nearest first.
_GAP, _TRIES = 32, 4


def _fits(between: str, gap: str) -> bool:
    words = between.split()
    if "." in words or "," in words:
        return False
    han = sum(c > "\u2e80" for c in between)
    return len(words) == 1 if gap == "_" else len(words) <= 4 and han <= 8


def _shorter(word: str) -> Iterable[str]:
    return {word[:i] + word[i + 1 :] for i in range(1, len(word))}


def _spelled(vocabulary: frozenset[str], spellings: dict[str, tuple[str, ...]], word: str) -> str | None:
    if not 5 <= len(word) <= 24 or word in vocabulary or word in _ordinary():
        return None
    if word in spellings:
        return spellings[word][0]
    for shorter in sorted(_shorter(word)):
        if shorter in vocabulary:
            return shorter
    for shorter in sorted(_shorter(word)):
        for other in spellings.get(shorter, ()):
            # One letter for another is a slip only in a long word; two letters that changed places in any.
            if len(other) == len(word) and (len(word) >= 8 or sorted(other) == sorted(word)):
                return other
    return None


@functools.cache
def _ordinary() -> frozenset[str]:
    return ordinary()
