"""Which side of a split a record falls on: a number drawn from what it asks, and from nothing else."""

from __future__ import annotations

import hashlib
import re
import unicodedata

from mulmed.corpus.record import Split
from mulmed.recipe import Holdout, Source

_WORDS = re.compile(r"[^\W_]+")
#: Neither letters nor digits, whose normal form is another character: they alone make most Chinese texts
#: take the slow way through the normalisation.
_WIDE_MARKS = "，：；！？（）"


def split_of(source: Source, question: str, context: str, seed: int) -> Split:
    """The split that the recipe gives a record of ``source``."""
    if not isinstance(source.split, Holdout):
        return source.split
    drawn = draw(seed, "split", question_key(question, context))
    if drawn < source.split.test:
        return "test"
    return "validation" if drawn < source.split.test + source.split.validation else "train"


def question_key(question: str, context: str) -> str:
    """What two records that ask the same have in common: letters and digits alone, case folded."""
    text = f"{question} {context}"
    spaced = text
    for mark in _WIDE_MARKS:
        spaced = spaced.replace(mark, " ")
    found = _WORDS.findall(unicodedata.normalize("NFKC", spaced).casefold())
    return "".join(found) or unicodedata.normalize("NFKC", text).casefold()


def draw(seed: int, purpose: str, key: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    hashed = hashlib.sha256(f"{seed}\0{purpose}\0{key}".encode()).digest()
    return int.from_bytes(hashed[:6], "big") / 2**48
