"""Text as the safety layer matches it: disguises taken off, offsets kept.

A message is written in many ways that mean the same: full-width letters, letters of other scripts that look Latin,
zero-width characters inside words, traditional characters, ``k1ll``, ``s u i c i d e``, 自 杀. Here they become one form,
so that neither a keyboard nor an attempt at evasion decides what is found.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import opencc

#: Letters of other scripts that look like Latin ones (after case folding): Cyrillic and Greek.
_LOOKALIKES = dict(
    zip(
        "авеикмнорстухіїјѕԁԛԝһѵӏαβεικνορτυχϲյօ",
        "abeukmhopctyxiijsdqwhvlabeikvoptuxcjo",
        strict=True,
    )
)
#: Signs that stand for a letter between two letters.
_LEET = str.maketrans("013457@$!", "oieastasi")
_LEET_INSIDE = re.compile(r"(?<=[a-z])[013457@$!](?=[a-z])")


@dataclass(frozen=True, slots=True)
class Folded:
    """A folded text. ``starts[i]`` is where the character ``text[i]`` came from; one more entry ends the text given."""

    text: str
    starts: tuple[int, ...] | None  # None: each character stands where it stood

    def source(self, start: int, end: int) -> tuple[int, int]:
        """Where the characters ``start`` to ``end`` stood in the text as given."""
        if self.starts is None:
            return start, end
        return self.starts[start], max(self.starts[end - 1] + 1, self.starts[start]) if end > start else start


class _Fold(dict[int, str]):
    """Code point to what stands for it, found when first asked. ``odd``: what becomes nothing, or several characters."""

    def __init__(self, known: dict[int, str]) -> None:
        super().__init__(known)
        self.odd: set[str] = set()

    def __missing__(self, code: int) -> str:
        char = chr(code)
        plain = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", char).casefold())
        kept = []
        for c in unicodedata.normalize("NFD", plain):
            category = unicodedata.category(c)
            if category in ("Mn", "Me", "Cf") or c in "\u115f\u1160\u3164\uffa0\u2800":
                continue  # accents and what cannot be seen
            kept.append(_LOOKALIKES.get(c, c))
        joined = unicodedata.normalize("NFC", "".join(kept))
        self[code] = _SIMPLIFIED(joined) if code >= 0x3400 else joined
        if len(self[code]) != 1:
            self.odd.add(char)
        return self[code]


def _simplified() -> functools._lru_cache_wrapper[str]:
    converter = opencc.OpenCC("t2s")

    @functools.cache
    def simplify(char: str) -> str:
        after = converter.convert(char)
        return after if len(after) == len(char) else char

    return simplify


_SIMPLIFIED = _simplified()
_FOLD = _Fold({i: chr(i).lower() for i in range(128)})
_FOLD[ord("’")] = _FOLD[ord("‘")] = _FOLD[ord("`")] = "'"


def fold(text: str) -> Folded:
    """One width, one case, simplified characters, nothing invisible, no look-alikes. Time grows as the length does."""
    if text.isascii():
        plain, starts = text.lower(), None
    else:
        plain, starts = text.translate(_FOLD), None
        if not _FOLD.odd.isdisjoint(text):
            starts = (*(i for i, char in enumerate(text) for _ in _FOLD[ord(char)]), len(text))
    return Folded(_LEET_INSIDE.sub(lambda m: m[0].translate(_LEET), plain), starts)


# --- words in a row ----------------------------------------------------------------------------------

_HAN = "\u3400-\u4dbf\u4e00-\u9fff"
_TOKEN = re.compile(
    rf"[{_HAN}]+|[a-z]+(?:'[a-z]+)*|\d+(?:\.\d+)?|(?<=\d)/(?=\d)|[.!?;。…\n\r|,:()\[\]、%]"
    rf"|(?P<gap>(?<=[{_HAN}])[^{_HAN}a-z\d.!?;。…\n\r|,:()\[\]、%]{{1,3}}(?=[{_HAN}]))|[-–—]{{2,}}|\s-\s"
)
_MARKS = dict.fromkeys(".!?;。…\n\r|", ".") | dict.fromkeys(",:()[]", ",")
Token = tuple[str, int, int]  # and where it stood in the folded text


@dataclass(frozen=True, slots=True)
class Words:
    """A text as words with one space between any two and at both ends; Han characters stand close.

    Attributes:
        text: sentences end in `` . ``, clauses in `` , ``; apostrophes are gone (``cant``), hyphens are spaces.
    """

    text: str
    _tokens: list[Token]
    _folded: Folded

    def source(self, start: int, end: int) -> tuple[int, int]:
        """The stretch of the text as given that the characters ``start`` to ``end`` (not both spaces) came from."""
        while start < end and self.text[start] == " ":
            start += 1
        while end > start and self.text[end - 1] == " ":
            end -= 1
        at = [*accumulate((len(token) + 1 for token, _, _ in self._tokens), initial=1)]
        places = []
        for position, last in ((start, 0), (end, 1)):
            number = min(max(bisect_right(at, position - last) - 1, 0), len(self._tokens) - 1)
            token, begin, stop = self._tokens[number]
            inside = begin + position - at[number]
            places.append(inside if stop - begin == len(token) else stop if last else begin)
        return self._folded.source(*places)


def words(text: str) -> Words:
    """The text's words in one row (see :class:`Words`). Time grows as the length does."""
    folded = fold(text)
    tokens: list[Token] = [
        ("" if m.lastgroup else m[0], m.start(), m.end()) for m in _TOKEN.finditer(folded.text)
    ]
    tokens = _with_spelled(tokens, folded.text)
    row: list[Token] = []
    for token, start, end in _without_gaps(tokens):
        if (mark := _MARKS.get(token)) is not None:
            row.append((mark, start, end))
        elif "'" in token:
            row.append((token.replace("'", ""), start, end))
        else:
            row.append((token if token[0] not in "-–— \n\t" else ",", start, end))
    return Words(f" {' '.join([token for token, _, _ in row])} ", row, folded)


def _without_gaps(tokens: list[Token]) -> list[Token]:
    """Space and odd signs between Han characters: a pause between phrases (","), a disguise between single ones."""
    if all(token for token, _, _ in tokens):
        return tokens
    joined: list[Token] = []
    position = 0
    while position < len(tokens):
        last = position  # of the tokens that belong together
        while last + 2 < len(tokens) and not tokens[last + 1][0]:
            if min(len(tokens[last][0]), len(tokens[last + 2][0])) > 1:
                break
            last += 2
        parts = tokens[position : last + 1 : 2]
        joined.append(("".join([token for token, _, _ in parts]) or ",", parts[0][1], parts[-1][2]))
        position = last + 1
    return joined


def _with_spelled(tokens: list[Token], text: str) -> list[Token]:
    """Letters set apart (``k i l l``, ``k.i.l.l``) as words; four at least, with one sign between any two."""
    if sum([len(token) == 1 and token.isalpha() for token, _, _ in tokens]) < 4:
        return tokens
    inside = iter([*((m.start(), m.end()) for m in _SPELLED.finditer(text)), (len(text) + 1, len(text) + 1)])
    start, end = next(inside)
    joined: list[Token] = []
    for token in tokens:
        while token[1] >= end:
            start, end = next(inside)
        if token[1] < start:
            joined.append(token)
        elif token[1] == start:
            joined.append((text[start:end:2], start, end))
    return joined


_SPELLED = re.compile(r"(?<![a-z'])[a-z](?:[ .\-_*][a-z](?![a-z'])){3,}")


def clause_ends(text: str) -> list[tuple[int, int, bool]]:
    """Clauses of :class:`Words`' text: where each begins and ends, and whether its sentence ends with it."""
    marks = [(m.start() + 1, m[0] == " ." or m[0] == ". ") for m in _MARK.finditer(text)]
    starts = [0, *(at for at, _ in marks)]
    ends = [*(at for at, _ in marks), len(text)]
    return list(zip(starts, ends, [*(final for _, final in marks), True], strict=True))


_MARK = re.compile(r" [.,](?= )")
