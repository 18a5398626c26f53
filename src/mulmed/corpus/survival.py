"""How many mentions of drugs, doses, negations and allergies records had, kept, and would have kept if cut at the right."""

from __future__ import annotations

from collections.abc import Sequence

from mulmed.corpus.salience import mentions, signs
from mulmed.corpus.shorten import Part, Text
from mulmed.corpus.shown import ends_reading

#: What is counted: the texts as given, as they are left, and as the published code cuts them.
_WHEN = ("before", "kept", "cut at the right")


class Survival:
    """The counts of some records that were shortened.

    Attributes:
        records: how many.
    """

    def __init__(self) -> None:
        self.records = 0
        self._seen: dict[str, list[int]] = {when: [] for when in _WHEN}

    def add(
        self,
        texts: Sequence[Text],
        kept: Sequence[Sequence[Part]],
        left: Sequence[str],
        first: int,
        later: int,
    ) -> None:
        """Count a record.

        Args:
            texts: its context and turns as given, without what need not fit.
            kept: what each of those left is made of.
            left: these texts, put together.
            first: tokens that the texts of one round may have.
            later: tokens that the template adds for each further round.
        """
        self.records += 1
        before, after, cut = (self._seen[when] for when in _WHEN)
        for one in texts:
            before += one.shown.between(0, len(one.text))
        base = texts[0].number
        for parts, text in zip(kept, left, strict=True):
            after += _of_parts(parts, text, texts, base)
        whole, end = cut_at_the_right(texts, first, later)
        for one in texts[:whole]:
            cut += one.shown.between(0, len(one.text))
        for one in texts[whole : whole + 1]:
            cut += one.shown.between(0, end)

    def counts(self) -> dict[str, int]:
        """``KIND before``, ``KIND kept`` and ``KIND cut at the right`` of each kind, and ``records``."""
        found = {f"{kind} {when}": n for when in _WHEN for kind, n in mentions(self._seen[when]).items()}
        return found | {"records": self.records}


def _of_parts(parts: Sequence[Part], text: str, texts: Sequence[Text], base: int) -> list[int]:
    """The signs of a text that is made of parts of others."""
    stretches = [part for part in parts if not isinstance(part, str)]
    if len(parts) == len(stretches) == 1:
        number, start, end = stretches[0]
        return texts[number - base].shown.between(start, end)
    sources = [texts[number - base] for number, *_ in stretches]
    if not all(one.shown.apart for one in sources):
        return signs(text, texts[0].language)
    if texts[0].language == "zh" and len(stretches) < len(parts):
        # White space of our own stands behind some of them.
        tails = (
            one.text[max(a, b - 8) : b] + "\n" for one, (_, a, b) in zip(sources, stretches, strict=True)
        )
        if not all(map(ends_reading, tails)):
            return signs(text, "zh")
    return [
        bits
        for one, (_, start, end) in zip(sources, stretches, strict=True)
        for bits in one.shown.between(start, end)
    ]


def cut_at_the_right(texts: Sequence[Text], first: int, later: int) -> tuple[int, int]:
    """What the published code keeps: how many texts whole, and how many characters of the next, which is right
    to within a few words.

    Args:
        first: tokens that the texts of one round may have.
        later: tokens that the template adds for each further round.
    """
    left = first
    for i, whole in enumerate(texts):
        if i > 1 and i % 2:
            left -= later
        text, size = whole.text, whole.size
        if size > left:
            if left <= 0:
                return i, 0
            end = len(text) * left // size
            (taken,) = whole.between([end])
            if taken > left:
                end = end * left // taken
            else:
                end += (len(text) - end) * (left - taken) // (size - taken)
            # Not within a word.
            while 0 < end < len(text) and text[end - 1 : end + 1].isalnum() and text[end].isascii():
                end -= 1
            return i, end
        left -= size
    return len(texts), 0
