"""N-grams of many texts at once, as 64-bit hashes: words of English text, characters of Chinese text.

Letter case, width, spaces, punctuation and symbols do not count. A text is Chinese when it has at least as
many Han characters as other words, whatever its record says: corpora call English answers Chinese.

The hash of a stretch is polynomial, sum of h[k] * P**k modulo 2**64 over the hashes h of its words or
characters (Karp and Rabin 1987), taken for any stretch from one running sum. It depends on nothing but the
text, so it is the same in every process and on every machine. Of English text only what happens once a word
is arithmetic; signs are folded and told from letters by tables.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Marks = npt.NDArray[np.uint32]

_P = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2**64
_BLOCK = 1 << 17  # characters whose arrays fit the processor's cache together
_TABLE = 1 << 16
#: What a table of code points tells: the code a sign folds to, whether it is a Han character, and whether
#: its text must be folded as a whole.
_CODE, _HAN, _SPECIAL = (np.uint32(x) for x in ((1 << 22) - 1, 1 << 22, 1 << 23))
_HAN_BLOCKS = ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
#: ASCII letters in lower case and digits; nothing for any other sign. Bytes of other letters stay.
_SIGNS = bytes(c if c > 127 else ord(chr(c).lower()) if chr(c).isalnum() else 0 for c in range(256))
#: Folds to a sign and a letter that together are as long as it is; every other text of a clinic has it.
_CELSIUS = ord("℃")
_WORD = 8  # bytes that are hashed together
#: How far eight bytes are shifted so that only so many of them are left.
_SHIFTS = np.array([0, *(8 * (_WORD - n) for n in range(1, _WORD + 1))], np.uint64)


def folded(text: str) -> str:
    """The text in one width and case: NFKC, case folded, NFKC again."""
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


@dataclass(frozen=True, slots=True)
class Strand:
    """Texts that are counted alike, by words or by characters, one after the other.

    Attributes:
        texts: the index of each text.
        ends: where each one's units end (they begin where the text before ends).
        sums: running sum that the hash of any stretch of units is taken from; one longer than the units.
        han: for each unit and one more, how many of those before it are Han characters; none of words.
    """

    texts: Positions
    ends: Positions
    sums: Hashes
    han: Positions

    @property
    def lengths(self) -> Positions:
        """Number of units of each text."""
        return np.diff(self.ends, prepend=0)

    def windows(self, n: int) -> Hashes:
        """Hash of the ``n`` units from each one on, those that reach into the next text too."""
        hashes = self.sums[n:] - self.sums[: max(len(self.sums) - n, 0)]
        hashes *= _powers(len(self.sums))[1][: len(hashes)]
        return hashes

    def inside(self, starts: Positions, n: int) -> tuple[Positions, Positions]:
        """Which of some windows lie within one text, and which of the strand's texts that is."""
        which = np.searchsorted(self.ends, starts, "right")
        real = np.flatnonzero(starts + n <= self.ends[which])
        return real, which[real]

    def ngrams(self, n: int) -> tuple[Positions, Positions, Hashes]:
        """All n-grams within the texts: the index of each one's text, the position of its first unit, its hash."""
        counts = np.maximum(self.lengths - n + 1, 0)
        before = np.cumsum(counts) - counts
        starts = np.repeat(self.ends - self.lengths - before, counts)
        starts += np.arange(len(starts))
        return np.repeat(self.texts, counts), starts, self.windows(n)[starts]


@dataclass(frozen=True, slots=True)
class Units:
    """Some texts as words or characters.

    Attributes:
        chinese: for each text, whether its units are characters.
        words: the texts that are counted by words.
        characters: the Chinese texts.
        written: the texts in UTF-8, letters and digits folded, NUL for each byte of all other signs.
        limits: for each text, where it ends there; the next begins one after.
        sizes: for each text, how many bytes its letters and digits have.
    """

    chinese: npt.NDArray[np.bool_]
    words: Strand
    characters: Strand
    written: bytes
    limits: Positions
    sizes: Positions

    @property
    def lengths(self) -> Positions:
        """Number of units of each text."""
        lengths = np.zeros(len(self.chinese), np.int64)
        for strand in (self.words, self.characters):
            lengths[strand.texts] = strand.lengths
        return lengths

    def letters(self, texts: Sequence[int]) -> list[bytes]:
        """Letters and digits of some texts, folded, in UTF-8: equal whatever stands between them."""
        ends = [0, *self.limits.tolist()]
        return [self.written[ends[i] + 1 : ends[i + 1]].translate(None, b"\0") for i in texts]

    def wholes(self, texts: Positions) -> Hashes:
        """Hash of the :meth:`letters` of some texts."""
        letters = self.letters(texts.tolist())
        digests = b"".join([blake2b(text, digest_size=8).digest() for text in letters])
        return np.frombuffer(digests, "<u8").astype(np.uint64)


def units(texts: Sequence[str]) -> Units:
    """The words, or Chinese characters, of some texts; together they should be a block (:func:`blocks`)."""
    written, limits = _written(texts)
    begins, codes = _beyond_ascii(written)
    marks = _marks().take(np.minimum(codes, _TABLE))
    special = np.flatnonzero(marks >= _SPECIAL)
    if len(special):
        # Signs whose folding depends on their neighbours, or is not as long as they are, are rare.
        texts = list(texts)
        for i in np.unique(np.searchsorted(limits, begins[special])):
            texts[i] = folded(texts[i])
        written, limits = _written(texts)
        begins, codes = _beyond_ascii(written)
        marks = _marks().take(np.minimum(codes, _TABLE))
        for i in np.flatnonzero(marks >= _SPECIAL):
            marks[i] = _mark(chr(codes[i]))
    _overwrite(written, begins, codes, marks)
    solid = written != 0
    chinese, characters, of_characters = _chinese(written, solid, limits, begins, marks)
    if chinese.all():
        solid[:] = False
    elif chinese.any():
        solid[:-_WORD] &= np.repeat(~chinese, np.diff(limits, prepend=0))
    edges = np.flatnonzero(solid[1:] != solid[:-1]) + 1
    starts, sizes = edges[::2], edges[1::2] - edges[::2]
    by_words = np.flatnonzero(~chinese)
    ends = np.searchsorted(starts, limits[by_words])
    words = Strand(by_words, ends, _sums(_word_hashes(written, starts, sizes)), _NO_POSITIONS)
    letters = np.zeros(len(texts), np.int64)
    letters[by_words] = np.diff(_running(sizes, np.int64)[ends], prepend=0)
    letters[characters.texts] = of_characters
    return Units(chinese, words, characters, written.tobytes(), limits, letters)


_NO_POSITIONS: Positions = np.zeros(0, np.int64)
_NO_CHARACTERS = Strand(_NO_POSITIONS, _NO_POSITIONS, np.zeros(1, np.uint64), np.zeros(1, np.int64))


def _written(texts: Sequence[str]) -> tuple[Bytes, Positions]:
    """The bytes of the texts with ASCII folded, a NUL before each and some after all, and where each ends."""
    raw = ("\0" + "\0".join(texts)).encode("utf-8", "surrogatepass") + bytes(_WORD)
    limits = np.flatnonzero(np.frombuffer(raw, np.uint8) == 0)[1 : -_WORD + 1]
    if len(limits) > len(texts):
        return _written([text.replace("\0", " ") for text in texts])
    return np.frombuffer(bytearray(raw.translate(_SIGNS)), np.uint8), limits


def _beyond_ascii(written: Bytes) -> tuple[Positions, npt.NDArray[np.uint32]]:
    """Where signs beyond ASCII begin, and their code points."""
    begins = np.flatnonzero(written >= 0xC0)
    lead, second, third = (written.take(begins + k).astype(np.uint32) for k in range(3))
    second &= 63
    codes = np.where(lead < 0xE0, (lead & 31) << 6 | second, (lead & 15) << 12 | second << 6 | third & 63)
    far = np.flatnonzero(lead >= 0xF0)
    if len(far):
        fourth = written[begins[far] + 3].astype(np.uint32) & 63
        codes[far] = (lead[far] & 7) << 18 | second[far] << 12 | (third[far] & 63) << 6 | fourth
    return begins, codes


def _overwrite(written: Bytes, begins: Positions, codes: npt.NDArray[np.uint32], marks: Marks) -> None:
    """Put folded signs in the place of signs beyond ASCII, and NUL where they are no letters or digits."""
    none = np.flatnonzero(marks == 0)
    at, beyond = begins[none], codes[none]
    written[at] = written[at + 1] = 0
    written[at[beyond > 0x7FF] + 2] = 0
    written[at[beyond > 0xFFFF] + 3] = 0
    changed = np.flatnonzero((marks & _CODE) != codes)
    for i in changed[marks[changed] > 0].tolist():
        sign = chr(marks[i] & _CODE).encode()
        written[begins[i] : begins[i] + len(sign)] = np.frombuffer(sign, np.uint8)
    for i in np.flatnonzero(codes == _CELSIUS).tolist():
        written[begins[i] + 2] = ord("c")


def _chinese(
    written: Bytes, solid: npt.NDArray[np.bool_], limits: Positions, begins: Positions, marks: Marks
) -> tuple[npt.NDArray[np.bool_], Strand, Positions]:
    """Which texts are Chinese, their characters, and how many bytes the characters of each have."""
    han = begins[marks >= _HAN]
    of_han = np.diff(np.searchsorted(han, limits), prepend=0)
    if not len(han):
        return of_han > 0, _NO_CHARACTERS, _NO_POSITIONS
    # Words as they would be without the Han characters between them.
    other = solid & (written < 0x80)
    letters = begins[(marks > 0) & (marks < _HAN)]
    for k, least in enumerate((0, 0, 0xE0, 0xF0)):
        other[letters[written[letters] >= least] + k] = True
    begun = np.diff(np.searchsorted(np.flatnonzero(other[1:] & ~other[:-1]) + 1, limits), prepend=0)
    chinese = (of_han > 0) & (of_han >= begun)
    inside = np.repeat(chinese, np.diff(limits, prepend=0))
    first = solid[:-_WORD] & inside
    first &= (written[:-_WORD] & 0xC0) != 0x80
    places = np.flatnonzero(first)
    codes = written[places].astype(np.uint32)
    codes[codes >= 0xC0] = marks[(marks > 0) & inside[begins]]
    ends = np.searchsorted(places, limits[chinese])
    of_han = _running(codes >= _HAN, np.int64)
    codes &= _CODE
    width = np.ones(len(codes), np.int64)
    for beyond in (0x7F, 0x7FF, 0xFFFF):
        width += codes > beyond
    sizes = np.diff(_running(width, np.int64)[ends], prepend=0)
    return chinese, Strand(np.flatnonzero(chinese), ends, _sums(codes.astype(np.uint64)), of_han), sizes


def _word_hashes(written: Bytes, starts: Positions, sizes: Positions) -> Hashes:
    """Hash of each word, eight bytes at a time. ``written`` goes on for eight bytes after the last word's first."""
    eights = np.ndarray((len(written) - _WORD + 1,), "<u8", written, strides=(1,))
    hashes = mixed(eights[starts] << _SHIFTS.take(np.minimum(sizes, _WORD)))
    done, longer = _WORD, np.flatnonzero(sizes > _WORD)
    while len(longer):
        rest = sizes[longer] - done
        more = eights[starts[longer] + done] << _SHIFTS.take(np.minimum(rest, _WORD))
        hashes[longer] = mixed(hashes[longer] * np.uint64(_P) + more)
        done += _WORD
        longer = longer[rest > _WORD]
    return hashes


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
        self.hashes = distinct(hashes)
        # Most lookups find nothing: two bits of a table (Bloom 1970), of which one in sixteen is up, tell so.
        bits = min(max(len(self.hashes) * 16, 8).bit_length(), 31)
        self._shift = np.uint64(64 - bits)
        flags = np.zeros(1 << bits, np.bool_)
        flags[self.hashes >> self._shift] = True
        flags[self._second(self.hashes)] = True
        self._flags = np.packbits(flags, bitorder="little")

    def __reduce__(self) -> tuple[type[HashSet], tuple[Hashes]]:
        return HashSet, (self.hashes,)

    def _second(self, hashes: Hashes) -> Hashes:
        return (hashes << np.uint64(32)) >> self._shift

    def _up(self, places: Hashes) -> Positions:
        flags = self._flags.take((places >> np.uint64(3)).view(np.int64))
        flags >>= places.astype(np.uint8) & np.uint8(7)
        flags &= np.uint8(1)
        return np.flatnonzero(flags.view(np.bool_))

    def find(self, hashes: Hashes) -> tuple[Positions, Positions]:
        """Which of ``hashes`` are in the set (their positions), and where in :attr:`hashes` each is."""
        maybe = self._up(hashes >> self._shift)
        maybe = maybe[self._up(self._second(hashes[maybe]))]
        places = np.searchsorted(self.hashes, hashes[maybe])
        places[places == len(self.hashes)] = 0
        found = self.hashes[places] == hashes[maybe] if len(self.hashes) else np.zeros(len(maybe), np.bool_)
        return maybe[found], places[found]


def distinct(hashes: Hashes) -> Hashes:
    """Hashes in ascending order, each once. (``np.unique`` makes a table of them first, which takes ten times as long.)"""
    hashes = np.sort(hashes)
    new = np.ones(len(hashes), np.bool_)
    new[1:] = hashes[1:] != hashes[:-1]
    return hashes[new]


def mixed(hashes: Hashes) -> Hashes:
    """Numbers whose every bit depends on every bit of those given (SplitMix64's finalizer)."""
    hashes = hashes ^ (hashes >> np.uint64(30))
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes


def _sums(hashes: Hashes) -> Hashes:
    return _running(hashes * _powers(len(hashes) + 1)[0][: len(hashes)], np.uint64)


def _running(values: npt.NDArray[Any], kind: type[np.integer[Any]]) -> npt.NDArray[Any]:
    sums = np.zeros(len(values) + 1, kind)
    np.cumsum(values, out=sums[1:])
    return sums


def _powers(length: int) -> tuple[Hashes, Hashes]:
    """Powers of P and of its inverse, at least so many."""
    return _power_table(max(length, _BLOCK).bit_length())


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
def _marks() -> Marks:
    """For each code point of the basic plane, and one for all beyond: :func:`_mark` of the sign it folds to."""
    marks = np.zeros(_TABLE + 1, np.uint32)
    for first, last in _HAN_BLOCKS[:2]:  # these fold to themselves
        marks[first : last + 1] = np.arange(first, last + 1) | _HAN
    for code in np.flatnonzero(marks[:_TABLE] == 0).tolist():
        sign = chr(code)
        whole = folded(sign)
        joins = unicodedata.combining(sign) or not unicodedata.is_normalized("NFC", "a" + sign)
        if code > 127 and (
            joins or 0x1100 <= code <= 0x11FF
        ):  # Hangul's vowels and finals join what precedes
            marks[code] = _SPECIAL
        elif any(map(str.isalnum, whole)):
            alike = len(whole) == 1 and len(whole.encode()) == len(sign.encode())
            marks[code] = _mark(whole) if alike else _SPECIAL
    marks[_CELSIUS] = 0
    marks[_TABLE] = _SPECIAL
    return marks
