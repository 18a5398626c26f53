"""A message as three words that may be kept: its language, a class of length, and a topic from a fixed list."""

from __future__ import annotations

import functools
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import ahocorasick_rs
import yaml

Language = Literal["en", "zh", "other"]
LANGUAGES: tuple[Language, ...] = ("en", "zh", "other")
#: Lower ends of the classes of length, in characters; the last has no upper end.
LENGTHS = (0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120)
#: Where none of the topics' words stands.
NO_TOPIC = "none"
#: Language and topic are those of so many characters; nobody waits longer for a text of a megabyte.
_LOOKED_AT = 20_000

_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN = re.compile("[A-Za-z\u00c0-\u024f]+")
_FOREIGN = re.compile("[\u0370-\u1fff\u3040-\u30ff\uac00-\ud7af]")  # Greek to Greek extended, kana, hangul
_LETTER = re.compile("[a-z0-9]")


@dataclass(frozen=True, slots=True)
class Shape:
    """What is kept of a message.

    Attributes:
        language: by script: ``zh`` with at least as many Han characters as Latin words and as characters of other scripts, ``en`` for Latin script (a
            text in Spanish counts here), ``other`` for any other and for a text without letters.
        length: the lower end of its class, one of :data:`LENGTHS`.
        topic: the topic with most of its words in the message (of equals the first of the list), or :data:`NO_TOPIC`.
    """

    language: Language
    length: int
    topic: str


def shape_of(text: str) -> Shape:
    """The shape of a message. It forgets everything else."""
    start = text[:_LOOKED_AT]
    return Shape(_language_of(start), LENGTHS[bisect_right(LENGTHS, len(text)) - 1], _topic_of(start))


def topics() -> tuple[str, ...]:
    """All topics, :data:`NO_TOPIC` last."""
    return (*_words(), NO_TOPIC)


def _language_of(text: str) -> Language:
    counts: dict[Language, int] = {
        "zh": sum(1 for _ in _HAN.finditer(text)),
        "en": sum(1 for _ in _LATIN.finditer(text)),
        "other": sum(1 for _ in _FOREIGN.finditer(text)),
    }
    most = max(counts, key=lambda language: counts[language])  # of equals the first
    return most if counts[most] else "other"


def _topic_of(text: str) -> str:
    folded = text.casefold()
    automaton, meanings = _automaton()
    found = Counter[str]()
    for which, start, end in automaton.find_matches_as_indexes(folded):
        topic, open_end, latin = meanings[which]
        cut_before = latin and start > 0 and _LETTER.match(folded[start - 1])
        cut_behind = latin and not open_end and end < len(folded) and _LETTER.match(folded[end])
        if not cut_before and not cut_behind:
            found[topic] += 1
    order = list(_words())
    return min(found, key=lambda topic: (-found[topic], order.index(topic)), default=NO_TOPIC)


@functools.cache
def _automaton() -> tuple[ahocorasick_rs.AhoCorasick, list[tuple[str, bool, bool]]]:
    """All words at once, and of each its topic, whether it is the beginning of words, and whether it is Latin."""
    entries = [(word, topic) for topic, words in _words().items() for word in words]
    automaton = ahocorasick_rs.AhoCorasick(
        [word.rstrip("*") for word, _ in entries], matchkind=ahocorasick_rs.MatchKind.LeftmostLongest
    )
    return automaton, [(topic, word.endswith("*"), word.isascii()) for word, topic in entries]


@functools.cache
def _words() -> Mapping[str, tuple[str, ...]]:
    text = (files("mulmed.monitoring") / "topics.yaml").read_text(encoding="utf-8")
    return {topic: tuple(words.split("|")) for topic, words in yaml.safe_load(text).items()}
