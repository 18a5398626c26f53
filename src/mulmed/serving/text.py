"""A reply's text while it streams: where it ends, without the blanks around it, in which language.

Whatever the cut, the same text comes out: every filter holds back only what a later piece could change.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

Language = Literal["en", "zh"]
_HAN, _WORD = re.compile("[\u3400-\u9fff]"), re.compile("[A-Za-z]+")


def language_of(texts: Sequence[str]) -> Language:
    """The language of the last text that has any: Chinese where it has at least as many Han characters as Latin words."""
    for text in reversed(texts):
        han, words = len(_HAN.findall(text)), len(_WORD.findall(text))
        if han or words:
            return "zh" if han >= words else "en"
    return "en"


class Until:
    """Text up to where the first of some strings begins.

    Attributes:
        hit: whether one of them came.
    """

    def __init__(self, strings: Sequence[str]) -> None:
        self._strings = [s for s in strings if s]
        self._longest = max(map(len, self._strings), default=0)
        self._begun = ""
        self.hit = False

    def feed(self, piece: str) -> str:
        """What is certain to stand before all of them."""
        if self.hit or not self._strings:
            return "" if self.hit else piece
        text = self._begun + piece
        found = self._first(text)
        certain = len(text) if found is None else found
        for at in range(max(len(text) - self._longest + 1, 0), certain):
            if any(
                s.startswith(text[at:]) for s in self._strings
            ):  # may still become one that begins earlier
                self._begun = text[at:]
                return text[:at]
        self.hit = found is not None
        self._begun = ""
        return text[:certain]

    def finish(self) -> str:
        """What was held back, once no more text comes."""
        text, self._begun = self._begun, ""
        found = self._first(text)
        self.hit = self.hit or found is not None
        return text[:found]

    def _first(self, text: str) -> int | None:
        return min((at for s in self._strings if (at := text.find(s)) >= 0), default=None)


class Trimmed:
    """Text without the blanks before and after it."""

    def __init__(self) -> None:
        self._begun = False
        self._blanks = ""

    def feed(self, piece: str) -> str:
        """What is followed by no blank only."""
        if not self._begun:
            piece = piece.lstrip()
            self._begun = bool(piece)
        text = self._blanks + piece
        end = len(text.rstrip())
        self._blanks = text[end:]
        return text[:end]
