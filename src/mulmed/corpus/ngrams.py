"""N-grams of many texts at once, as 64-bit hashes: words of English text, characters of Chinese text.

Letter case, width, spaces, punctuation and symbols do not count. A text is Chinese when it has at least as
many Han characters as other words, whatever its record says: corpora call English answers Chinese. Of English
text only what happens once a word is arithmetic (:mod:`~mulmed.corpus.hashes`); signs are folded and told from
letters by tables (:mod:`~mulmed.corpus.folding`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from mulmed.corpus import folding
from mulmed.corpus.folding import CELSIUS, CODE, HAN, SPECIAL, Marks
from mulmed.corpus.hashes import BLOCK, WORD, Bytes, Hashes, Positions, running, sums, windows, word_hashes

#: ASCII letters in lower case and digits; nothing for any other sign. Bytes of other letters stay.
_SIGNS = bytes(c if c > 127 else ord(chr(c).lower()) if chr(c).isalnum() else 0 for c in range(256))


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
        return windows(self.sums, n)

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
    marks = folding.marks(codes)
    special = np.flatnonzero(marks >= SPECIAL)
    if len(special):
        # Signs whose folding depends on their neighbours, or is not as long as they are, are rare.
        texts = list(texts)
        for i in np.unique(np.searchsorted(limits, begins[special])):
            texts[i] = folding.folded(texts[i])
        written, limits = _written(texts)
        begins, codes = _beyond_ascii(written)
        marks = folding.marks(codes)
        for i in np.flatnonzero(marks >= SPECIAL):
            marks[i] = folding.mark(chr(codes[i]))
    _overwrite(written, begins, codes, marks)
    solid = written != 0
    chinese, characters, of_characters = _chinese(written, solid, limits, begins, marks)
    if chinese.all():
        solid[:] = False
    elif chinese.any():
        solid[:-WORD] &= np.repeat(~chinese, np.diff(limits, prepend=0))
    edges = np.flatnonzero(solid[1:] != solid[:-1]) + 1
    starts, sizes = edges[::2], edges[1::2] - edges[::2]
    by_words = np.flatnonzero(~chinese)
    ends = np.searchsorted(starts, limits[by_words])
    words = Strand(by_words, ends, sums(word_hashes(written, starts, sizes)), _NO_POSITIONS)
    letters = np.zeros(len(texts), np.int64)
    letters[by_words] = np.diff(running(sizes, np.int64)[ends], prepend=0)
    letters[characters.texts] = of_characters
    return Units(chinese, words, characters, written.tobytes(), limits, letters)


_NO_POSITIONS: Positions = np.zeros(0, np.int64)
_NO_CHARACTERS = Strand(_NO_POSITIONS, _NO_POSITIONS, np.zeros(1, np.uint64), np.zeros(1, np.int64))


def _written(texts: Sequence[str]) -> tuple[Bytes, Positions]:
    """The bytes of the texts with ASCII folded, a NUL before each and some after all, and where each ends."""
    raw = ("\0" + "\0".join(texts)).encode("utf-8", "surrogatepass") + bytes(WORD)
    limits = np.flatnonzero(np.frombuffer(raw, np.uint8) == 0)[1 : -WORD + 1]
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
    changed = np.flatnonzero((marks & CODE) != codes)
    for i in changed[marks[changed] > 0].tolist():
        sign = chr(marks[i] & CODE).encode()
        written[begins[i] : begins[i] + len(sign)] = np.frombuffer(sign, np.uint8)
    for i in np.flatnonzero(codes == CELSIUS).tolist():
        written[begins[i] + 2] = ord("c")


def _chinese(
    written: Bytes, solid: npt.NDArray[np.bool_], limits: Positions, begins: Positions, marks: Marks
) -> tuple[npt.NDArray[np.bool_], Strand, Positions]:
    """Which texts are Chinese, their characters, and how many bytes the characters of each have."""
    han = begins[marks >= HAN]
    of_han = np.diff(np.searchsorted(han, limits), prepend=0)
    if not len(han):
        return of_han > 0, _NO_CHARACTERS, _NO_POSITIONS
    # Words as they would be without the Han characters between them.
    other = solid & (written < 0x80)
    letters = begins[(marks > 0) & (marks < HAN)]
    for k, least in enumerate((0, 0, 0xE0, 0xF0)):
        other[letters[written[letters] >= least] + k] = True
    begun = np.diff(np.searchsorted(np.flatnonzero(other[1:] & ~other[:-1]) + 1, limits), prepend=0)
    chinese = (of_han > 0) & (of_han >= begun)
    inside = np.repeat(chinese, np.diff(limits, prepend=0))
    first = solid[:-WORD] & inside
    first &= (written[:-WORD] & 0xC0) != 0x80
    places = np.flatnonzero(first)
    codes = written[places].astype(np.uint32)
    codes[codes >= 0xC0] = marks[(marks > 0) & inside[begins]]
    ends = np.searchsorted(places, limits[chinese])
    of_han = running(codes >= HAN, np.int64)
    codes &= CODE
    width = np.ones(len(codes), np.int64)
    for beyond in (0x7F, 0x7FF, 0xFFFF):
        width += codes > beyond
    sizes = np.diff(running(width, np.int64)[ends], prepend=0)
    return chinese, Strand(np.flatnonzero(chinese), ends, sums(codes.astype(np.uint64)), of_han), sizes


def blocks(lengths: Sequence[int]) -> Iterator[slice]:
    """Slices of a sequence whose items have these lengths in characters, each as large as is fast."""
    start = size = 0
    for i, length in enumerate(lengths):
        if size and size + length > BLOCK:
            yield slice(start, i)
            start, size = i, 0
        size += length
    if start < len(lengths):
        yield slice(start, len(lengths))
