"""N-grams of many texts at once, as 64-bit hashes: words of English text, characters of Chinese text.

Letter case, width, spaces, punctuation and symbols do not count. A text is Chinese when it has at least as
many Han characters as other words, whatever its record says: corpora call English answers Chinese.

The hash of a stretch is polynomial, sum of c[k] * P**k modulo 2**64 (Karp and Rabin 1987), taken for any
stretch from one running sum, then mixed (SplitMix64's finalizer). It depends on nothing but the text, so it
is the same in every process and on every machine.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]

_P = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2**64
_BLOCK = 1 << 16  # characters whose arrays fit the processor's cache together
_TABLE = 1 << 16
#: What a table of code points tells: the code a sign folds to, whether it is a Han character, and whether
#: its text must be folded as a whole.
_CODE, _HAN, _SPECIAL = (np.uint64(x) for x in ((1 << 32) - 1, 1 << 32, 1 << 33))
_HAN_BLOCKS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))


def folded(text: str) -> str:
    """The text in one width and case: NFKC, case folded, NFKC again."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True, slots=True)
class Units:
    """Some texts as words or characters.

    Attributes:
        ends: for each text, where its units end among those of all texts (they begin where the text
            before ends).
        chinese: for each text, whether its units are characters.
        han: for each unit and one more, how many of the units before it are Han characters.
        sums: running sum that the hash of any stretch of units is taken from.
        codes: the letters and digits of all texts, folded, as code points.
        code_ends: for each text, where its letters and digits end among these.
    """

    ends: Positions
    chinese: npt.NDArray[np.bool_]
    han: Positions
    sums: Hashes
    codes: npt.NDArray[np.uint32]
    code_ends: Positions

    @property
    def lengths(self) -> Positions:
        """Number of units of each text."""
        return np.diff(self.ends, prepend=0)

    def stretches(self, starts: Positions, ends: Positions) -> Hashes:
        """Hash of the units from each start to each end."""
        return mixed((self.sums[ends] - self.sums[starts]) * _powers(len(self.sums))[1][starts])

    def wholes(self) -> Hashes:
        """Hash of each text as a whole: equal where all letters and digits are, whatever stands between them."""
        powers, inverses = _powers(len(self.codes) + 1)
        sums = _running(self.codes * powers[: len(self.codes)])
        starts = self.code_ends - np.diff(self.code_ends, prepend=0)
        return mixed((sums[self.code_ends] - sums[starts]) * inverses[starts])

    def ngrams(self, words: int, characters: int) -> tuple[Positions, Positions, Hashes]:
        """All n-grams of so many words, or of so many characters in a Chinese text.

        Returns: for each, the index of its text, the position of its first unit, its hash. A text with
        fewer units has none.
        """
        n = np.where(self.chinese, characters, words)
        counts = np.maximum(self.lengths - n + 1, 0)
        text = np.repeat(np.arange(len(counts)), counts)
        before = np.cumsum(counts) - counts
        starts = np.arange(len(text)) + np.repeat(self.ends - self.lengths - before, counts)
        return text, starts, self.stretches(starts, starts + n[text])


def units(texts: Sequence[str]) -> Units:
    """The words, or Chinese characters, of some texts; together they should be a block (:func:`blocks`)."""
    codes, limits = _codes(texts)
    marks = _marks()[np.minimum(codes, _TABLE)]
    special = np.flatnonzero(marks & _SPECIAL)
    if len(special):
        # Signs whose folding depends on their neighbours, or is longer than one sign, are rare.
        texts = list(texts)
        for i in np.unique(np.searchsorted(limits, special)):
            texts[i] = folded(texts[i])
        codes, limits = _codes(texts)
        marks = _marks()[np.minimum(codes, _TABLE)]
        for i in np.flatnonzero(marks & _SPECIAL):
            marks[i] = _mark(chr(codes[i]))
    solid = marks > 0
    is_han = (marks & _HAN) > 0
    before = np.zeros_like(solid)
    before[1:] = solid[:-1]
    if is_han.any():
        lengths = np.diff(limits, prepend=-1)
        # Words as they would be without the Han characters between them.
        other = solid & ~is_han
        word_starts = other.copy()
        word_starts[1:] &= ~other[:-1]
        begins = limits - lengths + 1
        han = np.add.reduceat(is_han, begins, dtype=np.int64)
        chinese = (han > 0) & (han >= np.add.reduceat(word_starts, begins, dtype=np.int64))
        single = np.repeat(chinese, lengths)
        starts = np.flatnonzero(solid & (single | ~before))
        before[:-1] = solid[1:]
        before[-1] = False
        ends = np.flatnonzero(solid & (single | ~before)) + 1
        han_units = np.zeros(len(starts) + 1, np.int64)
        np.cumsum(is_han[starts], out=han_units[1:])
    else:
        chinese = np.zeros(len(limits), np.bool_)
        borders = np.flatnonzero(solid != before)  # the last sign of all is no letter
        starts, ends = borders[::2], borders[1::2]
        han_units = np.zeros(len(starts) + 1, np.int64)

    powers, inverses = _powers(len(codes) + 1)
    sums = _running((marks & _CODE) * powers[: len(codes)])
    hashes = mixed((sums[ends] - sums[starts]) * inverses[starts])
    letters = (marks[solid] & _CODE).astype(np.uint32)
    counted = np.cumsum(solid, dtype=np.int64)
    return Units(
        codes=letters,
        code_ends=counted[limits],
        ends=np.searchsorted(starts, limits),
        chinese=chinese,
        han=han_units,
        sums=_running(hashes * powers[: len(hashes)]),
    )


def _codes(texts: Sequence[str]) -> tuple[npt.NDArray[np.uint32], Positions]:
    """Code points of the texts, a 0 after each, and where these zeros stand."""
    joined = "\0".join(texts) + "\0"
    codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
    limits = np.flatnonzero(codes == 0)
    if len(limits) > len(texts):
        return _codes([text.replace("\0", " ") for text in texts])
    return codes, limits


def blocks(lengths: Sequence[int]) -> Iterator[slice]:
    """Slices of a sequence whose items have these lengths in characters, each as large as is fast."""
    start = size = 0
    for i, length in enumerate(lengths):
        if size and size + length > _BLOCK:
            yield slice(start, i)
            start, size = i, 0
        size += length
    if start < len(lengths):
        yield slice(start, len(lengths))


class HashSet:
    """Many hashes, to look others up in. It can be pickled.

    Attributes:
        hashes: sorted, each once.
    """

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = np.unique(hashes)
        # Most lookups find nothing: a table of flags, nine in ten of them down, tells so at once.
        bits = min(max(len(self.hashes) * 10, 2).bit_length(), 28)
        self._shift = np.uint64(64 - bits)
        self._flags = np.zeros(1 << bits, np.bool_)
        self._flags[self.hashes >> self._shift] = True

    def find(self, hashes: Hashes) -> tuple[Positions, Positions]:
        """Which of ``hashes`` are in the set (their positions), and where in :attr:`hashes` each is."""
        maybe = np.flatnonzero(self._flags[hashes >> self._shift])
        places = np.searchsorted(self.hashes, hashes[maybe])
        places[places == len(self.hashes)] = 0
        found = self.hashes[places] == hashes[maybe] if len(self.hashes) else np.zeros(len(maybe), np.bool_)
        return maybe[found], places[found]


def mixed(hashes: Hashes) -> Hashes:
    """Numbers whose every bit depends on every bit of those given."""
    hashes = (hashes ^ (hashes >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    hashes = (hashes ^ (hashes >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return hashes ^ (hashes >> np.uint64(31))


def _running(values: Any) -> Hashes:
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum(values, out=sums[1:])
    return sums


def _powers(length: int) -> tuple[Hashes, Hashes]:
    """Powers of P and of its inverse, at least so many."""
    return _power_table(max(length, _BLOCK * 2).bit_length())


@functools.cache
def _power_table(bits: int) -> tuple[Hashes, Hashes]:
    def powers(base: int) -> Hashes:
        factors = np.full(1 << bits, base, np.uint64)
        factors[0] = 1
        return np.multiply.accumulate(factors)

    return powers(_P), powers(pow(_P, -1, 1 << 64))


def _mark(folded_sign: str) -> int:
    """A letter's or digit's code with what else is told about it; 0 for any other sign."""
    if not folded_sign.isalnum():
        return 0
    code = ord(folded_sign)
    return code | int(_HAN) if any(first <= code <= last for first, last in _HAN_BLOCKS) else code


@functools.cache
def _marks() -> npt.NDArray[np.uint64]:
    """For each code point of the basic plane, and one for all beyond: :func:`_mark` of the sign it folds to."""
    marks = np.zeros(_TABLE + 1, np.uint64)
    marks[_TABLE] = _SPECIAL
    for code in range(_TABLE):
        sign = chr(code)
        if sign.isascii():
            marks[code] = _mark(sign.lower())
            continue
        whole = folded(sign)
        joins = unicodedata.combining(sign) or not unicodedata.is_normalized("NFC", "a" + sign)
        if joins or 0x1100 <= code <= 0x11FF:  # vowels and finals of Hangul join what stands before them
            marks[code] = _SPECIAL
        elif len(whole) == 1:
            marks[code] = _mark(whole)
        elif any(map(str.isalnum, whole)):
            marks[code] = _SPECIAL
    return marks
