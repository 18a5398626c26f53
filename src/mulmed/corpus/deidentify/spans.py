"""A stretch of text that identifies someone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Span(NamedTuple):
    """Characters ``start`` to ``end`` (offsets into the text searched), and what they are.

    ``detail`` is what may be told of it without telling it, for the audit.
    """

    start: int
    end: int
    label: str
    detail: str = ""


def without_overlaps(text: str, spans: Iterable[Span], taken: Iterable[tuple[int, int]] = ()) -> list[Span]:
    """Spans in the order of the text; where two overlap the one that was found first stays, and the rest of the other.

    A rest is kept from its first to its last letter or digit, if it has two of them: what a rule found is masked
    to the end, whatever else was found within.
    """
    occupied = list(taken)
    kept: list[Span] = []
    for span in spans:
        if span.start >= span.end:
            continue
        over = sorted((a, b) for a, b in occupied if a < span.end and span.start < b)
        pieces = _rests(text, span, over) if over else (span,)
        occupied += [(piece.start, piece.end) for piece in pieces]
        kept += pieces
    return sorted(kept)


def _rests(text: str, span: Span, over: Iterable[tuple[int, int]]) -> list[Span]:
    rests, at = [], span.start
    for start, end in (*over, (span.end, span.end)):
        signs = [i for i in range(at, start) if text[i].isalnum()]
        if len(signs) > 1:
            rests.append(span._replace(start=signs[0], end=signs[-1] + 1))
        at = max(at, end)
    return rests
