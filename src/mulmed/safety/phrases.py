"""Phrases as the lexicons write them, opened into plain strings.

``(a|b)`` is either, ``(a|)`` and ``(a)?`` may be left out, ``(a|b)*`` stands at most twice, ``x?`` is a letter that may be
left out, ``_`` is any one word, and ``...`` is at most four words. Phrases have no other patterns, so that all of
them can be searched for at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from mulmed.errors import MulmedError

GAPS = ("_", "...")


def expand(phrase: str) -> Iterator[str]:
    """Each reading of a phrase, with one space between words.

    Raises:
        MulmedError: a bracket is not closed.
    """
    readings, end = _alternatives(phrase, 0)
    if end != len(phrase):
        raise MulmedError(
            f"The phrase {phrase!r} has a bracket too many", where="safety lexicon", remedy="balance it"
        )
    yield from dict.fromkeys(" ".join(reading.split()) for reading in readings)


def _alternatives(phrase: str, at: int) -> tuple[list[str], int]:
    """The readings of ``a|b|c`` from ``at`` to the bracket that closes it, and where that is."""
    found: list[str] = []
    parts: list[list[str]] = []
    while True:
        char = phrase[at] if at < len(phrase) else ""
        if char in ("", ")", "|"):
            found += map("".join, itertools.product(*parts))
            if char != "|":
                return found, at
            parts, at = [], at + 1
            continue
        if char == "(":
            inner, at = _alternatives(phrase, at + 1)
            if at >= len(phrase):
                raise MulmedError(
                    f"The phrase {phrase!r} has an open bracket", where="safety lexicon", remedy="close it"
                )
        else:
            inner = [char]
        at += 1
        follows = phrase[at] if at < len(phrase) else ""
        if follows == "?":
            inner, at = ["", *inner], at + 1
        elif follows == "*":
            inner, at = ["", *inner, *(a + b for a, b in itertools.permutations(inner, 2))], at + 1
        parts.append(inner)


def padded(phrase: str) -> str:
    """A phrase as it stands in a row of words: Latin words have a space on either side."""
    plain = phrase.replace("'", "").replace("’", "").replace("-", " ")
    if "/" in plain:
        plain = (
            plain.replace("/", " / ") if plain[plain.index("/") - 1].isdigit() else plain.replace("/", " ")
        )
    plain = " ".join(plain.split())
    if not plain:
        return ""
    return (" " if plain[0].isascii() else "") + plain + (" " if plain[-1].isascii() else "")


def segments(phrase: str) -> tuple[list[list[str]], list[str]]:
    """The parts of a phrase between gaps, each as all its readings with spaces, and the gaps (:data:`GAPS`).

    Gaps stand outside of brackets, never first or last.
    """
    parts: list[str] = [""]
    gaps: list[str] = []
    depth = 0
    for word in phrase.replace("...", " ... ").split():
        if word in GAPS and not depth:
            gaps.append(word)
            parts.append("")
        else:
            parts[-1] += f" {word}"
            depth += word.count("(") - word.count(")")
    if not all(parts) or any(gap in part for part in parts for gap in GAPS):
        raise MulmedError(
            f"The phrase {phrase!r} has a gap at an end or in a bracket",
            where="safety lexicon",
            remedy="write the alternatives as phrases of their own",
        )
    return [[form for reading in expand(part) if (form := padded(reading))] for part in parts], gaps
