"""How many tokens texts have, far faster than by making the tokens.

A tokenizer never joins what stands on the two sides of certain places, so that the count of a text is the sum
of its pieces', and these repeat. Where that holds, the pieces' counts are remembered; where it is not known
to hold, the tokenizer counts the whole text.

- Byte-level BPE (GPT-2 and its kin, SmolLM2): the splitting pattern begins a new piece at every space before
  something else.
- BPE over characters with a sign for the space (LLaMA, Gemma): nothing is split, but a merge makes a token of
  the vocabulary. Two characters that stand beside each other in no token of it are never joined, and what
  stands on the two sides of them is merged independently.
"""

from __future__ import annotations

import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from mulmed.prompts.division import (
    PLANE,
    SPACE,
    copy_of,
    hashed,
    joined_pairs,
    kind_of,
    most_tokens,
    phrases,
)
from mulmed.prompts.pieces import Codes, Numbers, Places, codes_of

#: Before spaces that begin a word, where some do not: of byte-level BPE, of BPE with a sign for the space.
_BEFORE_WORD, _SINGLE_SPACE = re.compile(r"(?= \S)"), re.compile(r"(?<! )(?= (?! ))")
#: By code point, whether a character is white space; none is beyond.
_WHITE = np.array([chr(code).isspace() for code in range(0x3002)])
#: A text with fewer characters a space than this is divided into words, which repeat; others into pieces.
_LONG_WORDS = 16
#: Characters of a text that is not worth dividing.
_SHORT = 24
#: Words and pieces remembered at most; a few tens of megabytes.
_REMEMBERED = 300_000

#: Characters of texts whose pieces are numbered at once: their arrays fit the processor's cache.
_AT_ONCE = 1 << 16

_Marks = npt.NDArray[np.bool_]
#: A stretch of a text by its number, or a text of its own.
Part = tuple[int, int, int] | str


@dataclass(frozen=True)
class _Portion:
    """Some texts, one after another, in pieces.

    Args:
        places: where each piece begins, and the end of the last.
        sums: tokens of the pieces before each of them, and of all.
    """

    places: Places
    sums: Places

    # Looked up one by one, which in a list takes a tenth of the time.
    @cached_property
    def begins(self) -> list[int]:
        places: list[int] = self.places.tolist()
        return places

    @cached_property
    def totals(self) -> list[int]:
        sums: list[int] = self.sums.tolist()
        return sums


@dataclass(frozen=True, slots=True)
class Measured:
    """Texts in pieces that are tokenized independently of each other.

    Attributes:
        sizes: number of tokens of each text.
    """

    sizes: list[int]
    _texts: Sequence[str]
    #: Of each text its portion, where in it the text begins, its first piece and the first of the next; of a
    #: text that was counted whole nothing.
    _places: Sequence[tuple[_Portion, int, int, int] | None]
    _counter: TokenCounter

    def between(self, number: int, ends: Sequence[int]) -> list[int]:
        """Tokens of the neighbouring stretches of a text that end at some offsets, in order.

        A piece on both sides of an end belongs to the second. If the last end is the text's, the sum is the
        text's size; some of the stretches put together may have a little more or less.
        """
        if (place := self._places[number]) is None:
            upto = [0, *self._counter.upto(self._texts[number], ends)]
        else:
            portion, start, first, last = place
            begins, totals = portion.begins, portion.totals
            upto = [totals[first]]
            for end in ends:
                first = bisect_right(begins, start + end, first + 1, last + 1) - 1
                upto.append(totals[first])
        return list(map(operator.sub, upto[1:], upto))

    def joined(self, parts: Sequence[Part]) -> int:
        """Tokens of some stretches of the texts put together, with other texts between them.

        Only what is new where two of them meet is counted: a piece on each side, and what the cut left of others.
        """
        total, seams = 0, list[str]()
        seam = self._counter.before
        for part in parts:
            if isinstance(part, str):
                seam += part
                continue
            number, begin, end = part
            if (place := self._places[number]) is None:
                return self._whole(parts)
            portion, start, first, last = place
            begins = portion.begins
            low = bisect_left(begins, begin + start, first, last + 1)
            # The piece that the end is in, or that begins there.
            high = bisect_right(begins, end + start, low, last + 1) - 1
            text = self._texts[number]
            if high - low < _ON_BOTH_SIDES:
                seam += text[begin:end]
                continue
            seams.append(seam + text[begin : begins[low + 1] - start])
            total += portion.totals[high - 1] - portion.totals[low + 1]
            seam = text[begins[high - 1] - start : end]
        if not seams and seam == self._counter.before:  # nothing at all
            return 0
        more = self._counter.apart([*seams, seam])
        return self._whole(parts) if more is None else total + more

    def _whole(self, parts: Sequence[Part]) -> int:
        texts = (part if isinstance(part, str) else self._texts[part[0]][part[1] : part[2]] for part in parts)
        return self._counter(["".join(texts)])[0]


#: Pieces of a stretch: one that begins it, one that ends it, one between them.
_ON_BOTH_SIDES = 3


class TokenCounter:
    """Number of tokens of each of some texts, without special tokens put around them. It can be pickled.

    Equal to :meth:`mulmed.prompts.render.Renderer.count_tokens` of the same tokenizer.

    Args:
        tokenizer: a fast Hugging Face tokenizer.

    Attributes:
        kind: how words may be counted apart: ``bytes``, ``signs``, ``prepended`` (with a space put before
            every text), or ``None``.
    """

    def __init__(self, tokenizer: Any) -> None:
        backend = tokenizer.backend_tokenizer
        added = list(backend.get_added_tokens_decoder().values())
        # A copy that shares the vocabulary: the one given may be set to cut or to pad at any time.
        self._tokenizer = self._by_piece = copy_of(backend, backend.normalizer, added)
        self.kind = kind_of(backend, added)
        self._whole: tuple[str, ...] = ("\0",)  # texts that hold one of these are counted whole
        self.before = ""
        contents = [token.content for token in added]
        if self.kind == "bytes":
            self._whole += tuple(contents)  # they are taken out before the rest is split
        elif self.kind is not None:
            vocabulary = list(backend.get_vocab(with_added_tokens=False))
            self._whole += (SPACE, *phrases(vocabulary))
            if self.kind == "prepended":
                # The space is put before what follows each of them, and would be before each piece.
                self._whole += tuple(contents)
                self.before = " "
                self._by_piece = copy_of(backend, backend.normalizer[1], added)
            self._joined = joined_pairs([*vocabulary, *contents])
            self._most = most_tokens(vocabulary)
        self._forget()

    def _forget(self) -> None:
        self._numbers = Numbers()
        self._tokens = np.zeros(0, np.int64)  # of each piece, by its number
        self._seams: dict[str, int] = {}  # piece -> tokens

    def __getstate__(self) -> dict[str, Any]:
        by_piece = None if self._by_piece is self._tokenizer else self._by_piece.to_str()
        state = {k: v for k, v in self.__dict__.items() if k not in ("_numbers", "_tokens", "_seams")}
        return state | {"_tokenizer": self._tokenizer.to_str(), "_by_piece": by_piece}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tokenizer = self._by_piece = Tokenizer.from_str(state["_tokenizer"])
        if state["_by_piece"] is not None:
            self._by_piece = Tokenizer.from_str(state["_by_piece"])
        self._forget()

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return self.measure(texts).sizes

    def at_most(self, texts: Sequence[str]) -> list[int]:
        """A number for each text that its number of tokens does not exceed, found without the tokenizer.

        BPE begins with the characters of its vocabulary, or the bytes of others, and only ever joins them.
        """
        if self.kind is None:
            return self(texts)
        before = len(self.before)
        sizes = [before + len(text) for text in texts]
        other = [i for i, text in enumerate(texts) if not text.isascii()]
        if self.kind == "bytes":
            for i in other:
                sizes[i] = len(texts[i].encode("utf-8", "surrogatepass"))
        elif other:
            codes = codes_of("".join([texts[i] for i in other]))
            most = np.where(codes < PLANE, self._most[codes & np.uint32(PLANE - 1)], np.uint8(4))
            starts = np.cumsum([0, *(len(texts[i]) for i in other[:-1])])
            for i, size in zip(other, np.add.reduceat(most, starts, dtype=np.int64).tolist(), strict=True):
                sizes[i] = before + size
        return sizes

    def measure(self, texts: Sequence[str]) -> Measured:
        """The sizes of the texts, and of stretches of them."""
        if len(self._numbers.hashes) > _REMEMBERED:
            self._forget()
        everything = "\n".join(texts)
        held = [literal for literal in self._whole if literal in everything]
        sizes = [0] * len(texts)
        places: list[tuple[_Portion, int, int, int] | None] = [None] * len(texts)
        whole, in_words, in_pieces = list[int](), list[int](), list[int]()
        for i, text in enumerate(texts):
            if text:
                if self.kind is None or (held and any(literal in text for literal in held)):
                    whole.append(i)
                elif self.kind != "bytes" and len(text) >= _LONG_WORDS * (text.count(" ") + 1):
                    # Words repeat where spaces part them; elsewhere (Chinese) only pieces do.
                    in_pieces.append(i)
                else:
                    in_words.append(i)
        for begin, some in ((self._words, in_words), (self._unjoined, in_pieces)):
            for portion in _portions(some, texts):
                self._divide([texts[i] for i in portion], begin, portion, sizes, places)
        for i, size in zip(whole, self._count(self._tokenizer, [texts[i] for i in whole]), strict=True):
            sizes[i] = size
        return Measured(sizes, texts, places, self)

    def _divide(
        self,
        texts: Sequence[str],
        begin: Callable[[Codes, Places], _Marks],
        numbers: Sequence[int],
        sizes: list[int],
        places: list[tuple[_Portion, int, int, int] | None],
    ) -> None:
        """Some texts in pieces: their sizes and places go where their numbers say."""
        before = self.before
        joined = before + before.join(texts) if before else "".join(texts)
        codes = codes_of(joined)
        starts = np.cumsum([0, *(len(before) + len(text) for text in texts)])
        marks = np.append(begin(codes, starts), True)
        marks[starts] = True
        begins = np.flatnonzero(marks)
        pieces, new = self._numbers.of(codes, begins)
        if len(new):
            a, b = begins[new].tolist(), begins[new + 1].tolist()
            tokens = self._count(self._by_piece, [joined[i:k] for i, k in zip(a, b, strict=True)])
            self._tokens = np.append(self._tokens, tokens)
        totals = np.zeros(len(begins), np.int64)
        np.cumsum(self._tokens[pieces], out=totals[1:])
        portion = _Portion(begins, totals)
        firsts = np.searchsorted(begins, starts)
        of_texts = np.diff(totals[firsts]).tolist()
        bounds = firsts.tolist()
        for k, (number, start) in enumerate(zip(numbers, starts.tolist(), strict=False)):
            sizes[number] = of_texts[k]
            places[number] = portion, start + len(before), bounds[k], bounds[k + 1]

    def _words(self, codes: Codes, starts: Places) -> _Marks:
        """Of each character, whether it is a space that begins a word, wherever the text around it may be.

        Args:
            starts: where texts begin, and the end of the last.
        """
        spaces: _Marks = codes == ord(" ")
        if self.kind == "bytes":
            odd = _WHITE[np.minimum(codes, len(_WHITE) - 1)]
            followed: _Marks = np.append(odd[1:], False)
            followed[starts[1:] - 1] = True  # at the end of a text it begins none
            spaces &= ~followed
            return spaces
        double = spaces[1:] & spaces[:-1]
        double[starts[1:-1] - 1] = False
        spaces[1:] &= ~double
        spaces[:-1] &= ~double
        return spaces

    def _unjoined(self, codes: Codes, _: Places | None = None) -> _Marks:
        """Of each character, whether it is never joined with the one before it."""
        signs = np.where(codes == ord(" "), np.uint32(ord(SPACE)), codes)
        marks = np.empty(len(codes), np.bool_)
        marks[0] = True
        np.logical_not(self._joined[hashed(signs[:-1], signs[1:])], out=marks[1:])
        return marks

    def upto(self, text: str, ends: Sequence[int]) -> list[int]:
        """How many tokens of a text begin before each of some offsets."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        starts = [start for start, _ in encoding.offsets]
        return [bisect_left(starts, end) for end in ends]

    def apart(self, texts: Sequence[str]) -> int | None:
        """Tokens of texts that begin and end where nothing is joined, together; ``None``: that is not known of them.

        Only for texts that were measured in pieces, and stretches of such.
        """
        pieces = list[str]()
        for text in texts:
            if any(literal in text for literal in self._whole):
                return None
            if len(text) <= _SHORT and not text.isascii():  # sooner counted than divided
                pieces.append(text)
                continue
            for word in (_BEFORE_WORD if self.kind == "bytes" else _SINGLE_SPACE).split(text):
                pieces += [word] if self.kind == "bytes" or word.isascii() else self._in_pieces(word)
        known, total = self._seams, 0
        for piece in pieces:
            if (size := known.get(piece)) is None:
                if len(known) > _REMEMBERED:
                    known.clear()
                # One by one: a batch of few wakes more threads than it has texts.
                size = known[piece] = len(self._by_piece.encode(piece, add_special_tokens=False))
            total += size
        return total

    def _in_pieces(self, word: str) -> Iterator[str]:
        begins = np.flatnonzero(self._unjoined(codes_of(word))).tolist()
        return (word[a:b] for a, b in pairwise([*begins, len(word)]))

    @staticmethod
    def _count(tokenizer: Tokenizer, texts: Iterable[str]) -> list[int]:
        return [len(e) for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _portions(numbers: Sequence[int], texts: Sequence[str]) -> Iterator[Sequence[int]]:
    """Numbers of texts in their order, as many together as there is room for."""
    first = size = 0
    for place, number in enumerate(numbers):
        size += len(texts[number])
        if size >= _AT_ONCE:
            yield numbers[first : place + 1]
            first, size = place + 1, 0
    if first < len(numbers):
        yield numbers[first:]
