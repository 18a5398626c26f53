"""One text shortened by whole sentences, those kept that matter most (:mod:`mulmed.corpus.salience`).

Nothing is ever cut inside a number with its unit.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple, Protocol

from mulmed.corpus.edits import Edit
from mulmed.corpus.salience import Role, importance, quantities, urgency
from mulmed.corpus.sentences import sentence_ends
from mulmed.corpus.shown import Shown, Span
from mulmed.recipe.language import by_words

#: Number of tokens of each of some texts. Two methods are used where it has them
#: (:class:`mulmed.prompts.counting.TokenCounter`): ``at_most``, upper bounds that are found faster, and
#: ``measure``, by which sentences need not be counted again.
CountTokens = Callable[[Sequence[str]], list[int]]
#: A stretch of a text by the text's number, or a text of its own.
Part = tuple[int, int, int] | str

_WORD = re.compile(r"\S+")
# No list is divided: of "没有药物、食物过敏" the last clause would say the contrary.
_CLAUSE_END = re.compile(r"[，；;,](?:(?<!,)|(?=\s))")
#: Of what stands before the white space inside a number with its unit, the last: a digit, a sign, "to" or 到.
_GOES_ON = re.compile(r"[\d\-–~～/x×*至到o]", re.IGNORECASE)


class Measured(Protocol):
    """Sizes of texts, and of stretches of them: :class:`mulmed.prompts.counting.Measured`."""

    sizes: list[int]

    def between(self, number: int, ends: Sequence[int]) -> list[int]: ...

    def joined(self, parts: Sequence[Part]) -> int: ...


class _Counted:
    """The same by nothing but counting."""

    def __init__(self, texts: Sequence[str], count_tokens: CountTokens) -> None:
        self.sizes = count_tokens(texts)
        self._texts, self._count = texts, count_tokens

    def between(self, number: int, ends: Sequence[int]) -> list[int]:
        return self._count([self._texts[number][a:b] for a, b in pairwise([0, *ends])])

    def joined(self, parts: Sequence[Part]) -> int:
        texts = (part if isinstance(part, str) else self._texts[part[0]][part[1] : part[2]] for part in parts)
        return self._count(["".join(texts)])[0]


class Text:
    """One of some texts that were measured.

    Attributes:
        number: its place among them.
        size: its tokens.
        shown: what it and its sentences are about.
    """

    __slots__ = ("_sentences", "language", "measured", "number", "shown", "size", "text")

    def __init__(self, text: str, language: str, number: int, measured: Measured) -> None:
        self.text, self.language = text, language
        self.number, self.measured = number, measured
        self.size = measured.sizes[number]
        self.shown = Shown(text, language)
        self._sentences: tuple[list[int], list[int]] | None = None

    def sentences(self) -> tuple[list[int], list[int]]:
        """Where its sentences end, and the tokens of each. At a line break between a number and its unit none ends."""
        if self._sentences is None:
            ends = _outside(sentence_ends(self.text, self.language), self.text, self.language)
            self._sentences = ends, self.between(ends)
        return self._sentences

    def between(self, ends: Sequence[int]) -> list[int]:
        """Tokens of its neighbouring stretches that end at some offsets."""
        return self.measured.between(self.number, ends)

    def left_by(self, edits: Sequence[Edit]) -> list[Part]:
        """What some deletions leave of it."""
        if not edits:
            return [(self.number, 0, len(self.text))] if self.text else []
        bounds = [0, *(place for edit in edits for place in edit[:2]), len(self.text)]
        return [(self.number, a, b) for a, b in zip(bounds[::2], bounds[1::2], strict=True) if a < b]


def measure(texts: Sequence[str], count_tokens: CountTokens) -> Measured:
    measure = getattr(count_tokens, "measure", None)
    measured: Measured = measure(texts) if measure else _Counted(texts, count_tokens)
    return measured


def shorten(text: str, budget: int, language: str, role: Role, count_tokens: CountTokens) -> list[Edit]:
    """Deletions that leave at most ``budget`` tokens: the most important sentences, in their order.

    Sentences too long for that give clauses; only when no clause fits is one cut in itself.
    """
    return shortening(Text(text, language, 0, measure([text], count_tokens)), budget, role)[0]


def cut(text: str, budget: int, language: str, count_tokens: CountTokens) -> int:
    """Length of the longest beginning of a text within ``budget`` tokens; English is cut between words.

    Never inside a number with its unit.
    """
    whole = Text(text, language, 0, measure([text], count_tokens))
    return _cut(whole, (0, len(text)), budget, by_words=by_words(language))[0]


def shortening(whole: Text, budget: int, role: Role, *, to_its_end: bool = False) -> tuple[list[Edit], int]:
    """What :func:`shorten` returns, and how many tokens are left of the text.

    Args:
        to_its_end: the last sentence stays before all others, if there is room for it.
    """
    text = whole.text
    if whole.size <= budget:
        return [], whole.size
    if budget <= 0:
        return without(text, []), 0
    ends, sizes = _units(whole, budget)
    spans = list(pairwise([0, *ends]))
    scores = importance(whole.shown.each(ends), role)
    chosen: list[int] = []  # most important first
    room = budget
    least_first = [(-last, -weight) for last, weight in scores]
    order = sorted(range(len(spans)), key=least_first.__getitem__)
    if to_its_end:
        order.sort(key=lambda i: i != len(spans) - 1)
    for i in order:
        if sizes[i] <= room:
            chosen.append(i)
            room -= sizes[i]
    # Sentences joined may be more tokens than the sum of them apart.
    while chosen:
        edits = without(text, [spans[i] for i in sorted(chosen)])
        left = whole.measured.joined(whole.left_by(edits))
        if left <= budget:
            return edits, left
        chosen.pop()
    most = max(range(len(spans)), key=lambda i: (scores[i], -i))
    start = spans[most][0]
    kept, left = _cut(whole, spans[most], budget, by_words=by_words(whole.language))
    return without(text, [(start, start + kept)] if kept else []), left


def _cut(whole: Text, span: Span, budget: int, *, by_words: bool) -> tuple[int, int]:
    """Length of the longest beginning of a stretch of a text within a budget, and its size."""
    start, stop = span
    text = whole.text
    words = (match.end() for match in _WORD.finditer(text, start, stop))
    ends = unparting(words if by_words else range(start + 1, stop + 1), text)
    _, *sizes = whole.between([start, *ends])
    totals = list(accumulate(sizes))
    room = budget
    while (fit := bisect_right(totals, room)) > 0:
        # Apart from what follows it, it may be more.
        size = whole.measured.joined([(whole.number, start, ends[fit - 1])])
        if size <= budget:
            return ends[fit - 1] - start, size
        room = min(totals[fit - 1] - 1, room - (size - budget))
    # One long word: a link, or a text without spaces.
    return _cut(whole, span, budget, by_words=False) if by_words else (0, 0)


def _units(whole: Text, budget: int) -> tuple[list[int], list[int]]:
    """Where sentences end, those that would take half the room for themselves divided into clauses; the size of each."""
    text = whole.text
    ends, sizes = whole.sentences()
    if max(sizes) * 2 > budget:
        clauses = [
            clause.end()
            for (start, end), size in zip(pairwise([0, *ends]), sizes, strict=True)
            if size * 2 > budget
            for clause in _CLAUSE_END.finditer(text, start, end)
        ]
        ends = sorted({*_outside(clauses, text, whole.language), *ends})
        sizes = whole.between(ends)
    return ends, sizes


def _outside(ends: list[int], text: str, language: str) -> list[int]:
    """Those of some ends of sentences and clauses at which no number is parted from its unit."""
    if language in ("en", "zh") and not any(_may_split(text, end) for end in ends):
        return ends
    return unparting(ends, text)


def _may_split(text: str, end: int) -> bool:
    """Whether a number with its unit may stand on both sides of an end of a sentence or clause of our own rules.

    Behind a sign that ends a sentence none goes on, behind a comma only where it stands between digits, and behind white
    space if one of a few characters is before that.
    """
    last = text[end - 1]
    if last == "，":
        return text[end - 2 : end - 1].isdecimal() and text[end : end + 1].isdecimal()
    if not last.isspace():
        return False
    before = text[max(end - 8, 0) : end].rstrip()
    return not before or _GOES_ON.match(before[-1]) is not None


def unparting(ends: Iterable[int], text: str) -> list[int]:
    """Those of some offsets at which no number is parted from its unit."""
    inside = {i for a, b in quantities(text) for i in range(a + 1, b)}
    return [end for end in ends if end not in inside]


class Telling(NamedTuple):
    """A sentence that must be told on: ``rank`` of :func:`mulmed.corpus.salience.urgency`, tokens."""

    span: Span
    rank: int
    size: int


def tellings(whole: Text) -> list[Telling]:
    """Sentences of a text in which a patient tells of an allergy, a drug, a dose, or of what there is not.

    Whole ones: "no allergy to drugs, foods" may not become "allergy to foods".
    """
    ends, sizes = whole.sentences()
    spans = list(pairwise([0, *ends]))
    ranks = [
        urgency(found, whole.text[a:b]) for found, (a, b) in zip(whole.shown.each(ends), spans, strict=True)
    ]
    return [
        Telling(span, rank, size)
        for span, rank, size in zip(spans, ranks, sizes, strict=True)
        if rank is not None
    ]


def without(text: str, kept: Sequence[Span]) -> list[Edit]:
    """Deletions of all but some stretches, and of the white space that would stand at an end for it.

    Two of them that would touch keep a space between them where one stood.
    """
    edits, position = [], 0
    while kept and not text[slice(*kept[0])].strip():
        kept = kept[1:]
    while kept and not text[slice(*kept[-1])].strip():
        kept = kept[:-1]
    for i, (a, b) in enumerate(kept):
        if i == 0 < a:
            a += len(text[a:b]) - len(text[a:b].lstrip())
        if i == len(kept) - 1 and b < len(text):
            b = a + len(text[a:b].rstrip())
        elif i < len(kept) - 1 and b < (after := kept[i + 1][0]):
            # A clause ends before the space that parts it from the next.
            b += text[b].isspace() and not text[b - 1].isspace() and not text[after].isspace()
        if a > position:
            edits.append(Edit(position, a, "", ""))
        position = b
    return [*edits, Edit(position, len(text), "", "")] if position < len(text) else edits
