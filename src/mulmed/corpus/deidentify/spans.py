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


def without_overlaps(spans: Iterable[Span], taken: Iterable[tuple[int, int]] = ()) -> list[Span]:
    """Spans in the order of the text; where two overlap the one that was found first stays."""
    occupied = list(taken)
    kept: list[Span] = []
    for span in spans:
        if span.start < span.end and all(span.end <= a or span.start >= b for a, b in occupied):
            occupied.append((span.start, span.end))
            kept.append(span)
    return sorted(kept)
