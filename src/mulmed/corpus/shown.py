"""What the sentences of one text show, found once and put together for any stretch of it.

Weighing a text's sentences, choosing what must be told on, and counting what survived ask the same of the same words.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, chain, pairwise

from mulmed.corpus.salience import placed_signs, signs

#: A stretch of a text.
Span = tuple[int, int]
#: Behind one of these, or white space, no Chinese literal goes on, and no number unless a digit stands before the space.
_MARKS = frozenset('。！？!?；;….，,"”’」』）)】]')


class Shown:
    """The :func:`~mulmed.corpus.salience.signs` of a text and of stretches of it."""

    __slots__ = ("_apart", "_bounds", "_ends", "_found", "_known", "_language", "_text")

    def __init__(self, text: str, language: str) -> None:
        self._text, self._language = text, language
        self._known: dict[Span, list[int]] = {}
        # Of the stretches asked for last: where they end, what all of them show, and up to where each of them does.
        self._ends: Sequence[int] = ()
        self._found: list[int] = []
        self._bounds: list[int] = []
        self._apart = False

    @property
    def apart(self) -> bool:
        """Whether what stretches that were asked for together show is what each of them shows, whichever are left."""
        if not self._ends:
            self.each([len(self._text)])
        return self._apart

    def each(self, ends: Sequence[int]) -> list[list[int]]:
        """The signs of the neighbouring stretches that end at some offsets, the last of them the text's."""
        self._ends, self._apart = ends, self._stand_apart(ends)
        # One look at all Chinese stretches; lower case is as long as the text, but for a Turkish letter.
        if self._apart and self._language == "zh" and "\u0130" not in self._text:
            each: list[list[int]] = [[] for _ in ends]
            for start, bits in placed_signs(self._text):
                each[bisect_right(ends, start)].append(bits)
        else:
            each = [self._of(span) for span in pairwise([0, *ends])]
        self._found = list(chain.from_iterable(each))
        self._bounds = [0, *accumulate(map(len, each))]
        return each

    def between(self, start: int, end: int) -> list[int]:
        """The signs of a stretch, in any order."""
        if not self._apart:
            return self._of((start, end))
        if not start and end == len(self._text):
            return self._found
        first, last = bisect_right(self._ends, start), bisect_left(self._ends, end)
        if first >= last:
            return self._part(last, start, end)
        whole = self._found[self._bounds[first + 1] : self._bounds[last]]
        return [*self._part(first, start, end), *whole, *self._part(last, start, end)]

    def _part(self, number: int, start: int, end: int) -> list[int]:
        """The signs of as much of one stretch as is within another."""
        text, begin, stop = self._text, self._ends[number - 1] if number else 0, self._ends[number]
        low, high = max(begin, start), min(stop, end)
        # White space shows nothing.
        if (low == begin or text[begin:low].isspace()) and (high == stop or text[high:stop].isspace()):
            return self._found[self._bounds[number] : self._bounds[number + 1]]
        return self._of((low, high))

    def _of(self, span: Span) -> list[int]:
        if (found := self._known.get(span)) is None:
            found = self._known[span] = signs(self._text[slice(*span)], self._language)
        return found

    def _stand_apart(self, ends: Sequence[int]) -> bool:
        text = self._text
        if self._language == "zh":
            return (
                "%" not in text
                and "％" not in text
                and all(
                    text[end - 1] in _MARKS or ends_reading(text[max(end - 8, 0) : end]) for end in ends[:-1]
                )
            )
        # Names of diseases have several words, and strengths stand beside a drug.
        return (
            "%" not in text
            and "allergic" not in text.lower()
            and all(text[end - 1].isspace() or text[end].isspace() for end in ends[:-1])
        )


def ends_reading(before: str) -> bool:
    """Whether nothing that Chinese text shows goes on behind what ends so."""
    last = before.rstrip()[-1:]
    return last in _MARKS if before[-1:] == last else bool(last) and not last.isdecimal()
