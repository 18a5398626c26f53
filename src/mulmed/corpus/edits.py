"""Changes to a text that know where they stood in the text as it was given."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

from rapidfuzz.distance import Levenshtein


class Edit(NamedTuple):
    """Characters ``start`` to ``end`` (offsets into the text as given) gave way to ``replacement``.

    ``rule`` names what did it; several rules that touched the same stretch are joined by ``+``.
    """

    start: int
    end: int
    replacement: str
    rule: str
    detail: str = ""


def apply(text: str, edits: Iterable[Edit]) -> str:
    """The text with ``edits`` made, which are in order and do not overlap."""
    pieces, position = [], 0
    for edit in edits:
        pieces += [text[position : edit.start], edit.replacement]
        position = edit.end
    return "".join([*pieces, text[position:]])


def differences(before: str, after: str, rule: str, offset: int = 0) -> Iterator[Edit]:
    """Changes that turn ``before``, which stands at ``offset`` of a text, into ``after``.

    Few and small ones (Levenshtein), with at least one character between any two.
    """
    start = end = first = last = 0
    for step in Levenshtein.opcodes(before, after):
        if step.tag != "equal":
            end, last = step.src_end, step.dest_end
            continue
        if (start, first) != (end, last):
            yield Edit(offset + start, offset + end, after[first:last], rule)
        start = end = step.src_end
        first = last = step.dest_end
    if (start, first) != (end, last):
        yield Edit(offset + start, offset + end, after[first:last], rule)


class Draft:
    """A text that is edited in several passes, each of which sees what the ones before it left.

    Attributes:
        text: the text as it is now.
        edits: what turns the original into ``text``; offsets into the original, in order, not overlapping.
    """

    def __init__(self, text: str) -> None:
        self._original = text
        self.text = text
        self.edits: tuple[Edit, ...] = ()

    def change(self, edits: Iterable[Edit]) -> int:
        """Make one pass: edits with offsets into ``text``, in order, not overlapping. Returns how many.

        Edits that put back what stood there are left out.
        """
        fresh = [e for e in edits if self.text[e.start : e.end] != e.replacement]
        if fresh:
            after = apply(self.text, fresh)
            self.edits = (
                _composed(self._original, self.edits, self.text, fresh) if self.edits else tuple(fresh)
            )
            self.text = after
        return len(fresh)

    def sub(
        self, pattern: re.Pattern[str], replacement: str | Callable[[re.Match[str]], str], rule: str
    ) -> int:
        """``pattern.sub`` as one pass; a string as ``replacement`` stands for itself."""
        if callable(replacement):
            return self.change([Edit(*m.span(), replacement(m), rule) for m in pattern.finditer(self.text)])
        return self.change([Edit(*m.span(), replacement, rule) for m in pattern.finditer(self.text)])


def _composed(original: str, first: Sequence[Edit], between: str, second: Sequence[Edit]) -> tuple[Edit, ...]:
    """One series of edits that does what ``first`` and then ``second`` do.

    Where an edit of the one touches an edit of the other, the two become one.
    """
    # Every edit as a stretch of the text between: (start, end, which series, edit).
    stretches: list[tuple[int, int, int, Edit]] = [(e.start, e.end, 1, e) for e in second]
    shift = 0
    for edit in first:
        start = edit.start + shift
        stretches.append((start, start + len(edit.replacement), 0, edit))
        shift += len(edit.replacement) - (edit.end - edit.start)
    stretches.sort()

    merged: list[Edit] = []
    shift, position = 0, 0  # characters that the first series has added so far
    while position < len(stretches):
        start, end = stretches[position][:2]
        island = [stretches[position]]
        position += 1
        while position < len(stretches):
            low, high = stretches[position][:2]
            if not (low < end or (low == end and (low == high or start == end))):
                break
            island.append(stretches[position])
            end = max(end, high)
            position += 1
        from_ = start - shift
        shift += sum(len(e.replacement) - (e.end - e.start) for _, _, series, e in island if series == 0)
        to = end - shift
        later = [e._replace(start=e.start - start, end=e.end - start) for *_, series, e in island if series]
        replacement = apply(between[start:end], later)
        if original[from_:to] != replacement:
            rules = dict.fromkeys(rule for *_, e in sorted(island, key=_SERIES) for rule in e.rule.split("+"))
            details = dict.fromkeys(e.detail for *_, e in island if e.detail)
            merged.append(Edit(from_, to, replacement, "+".join(rules), "; ".join(details)))
    return tuple(merged)


_SERIES = itemgetter(2)
