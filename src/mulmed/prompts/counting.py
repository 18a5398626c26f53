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

import json
import operator
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

_SPACE = "▁"
#: Marks where a text may be divided.
_MARK = "\0"
#: Spaces that begin a word, where some do not: of byte-level BPE, of BPE with a sign for the space.
_BEFORE_WORD, _SINGLE_SPACE = re.compile(r" (?=\S)"), re.compile(r"(?<! ) (?! )")
_AWKWARD = re.compile(r" \s")
#: A text with fewer characters a space than this is divided into words, which repeat; others into pieces.
_LONG_WORDS = 16
#: Words and pieces remembered at most; a few tens of megabytes.
_REMEMBERED = 300_000
#: Pairs of characters are looked up by so many bits of a hash; two that share them are only counted together.
_HASH_BITS = 22
#: Tokens of several words that a vocabulary may have, if pieces are to be shorter than texts.
_FEW = 16
#: Characters from here on have four bytes, and as many tokens at most.
_PLANE = 0x10000

#: Number of a text, pieces it begins with, words that follow them with a space before each.
_Divided = tuple[int, Sequence[str], Sequence[str]]
_Codes = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Measured:
    """Texts in pieces that are tokenized independently of each other.

    Attributes:
        sizes: number of tokens of each text.
    """

    sizes: list[int]
    _texts: Sequence[str]
    _parts: Sequence[Sequence[int]]  # tokens of each piece of each text; of none where it was counted whole
    _marked: Mapping[int, str]  # texts with marks between their pieces; others are divided before each space
    _before: int  # characters put before the marked ones
    _tokenizer: Tokenizer

    def between(self, number: int, ends: Sequence[int]) -> list[int]:
        """Tokens of the neighbouring stretches of a text that end at some offsets, in order.

        A piece on both sides of an end belongs to the second. If the last end is the text's, the sum is the
        text's size; some of the stretches put together may have a little more or less.
        """
        text, parts = self._texts[number], self._parts[number]
        totals = [0, *accumulate(parts)]
        if number in self._marked:
            pieces = list(accumulate(map(len, self._marked[number].split(_MARK)), initial=-self._before))
            upto = [totals[bisect_right(pieces, end, 1) - 1] for end in ends]
        elif parts:
            # A piece ends before each space: at an end of a stretch, if a space follows that.
            spaces = accumulate(text.count(" ", start + 1, end + 1) for start, end in pairwise([-1, *ends]))
            upto = [totals[-1 if end == len(text) else n] for n, end in zip(spaces, ends, strict=True)]
        else:
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            starts = [start for start, _ in encoding.offsets]
            upto = [bisect_left(starts, end) for end in ends]
        return list(map(operator.sub, upto, [0, *upto]))


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
        self._tokenizer = self._by_piece = _copy(backend, backend.normalizer, added)
        self.kind = _kind(backend, added)
        self._whole: tuple[str, ...] = (_MARK,)  # texts that hold one of these are counted whole
        self._before = ""
        contents = [token.content for token in added]
        if self.kind == "bytes":
            self._whole += tuple(contents)  # they are taken out before the rest is split
        elif self.kind is not None:
            vocabulary = list(backend.get_vocab(with_added_tokens=False))
            self._whole += (_SPACE, *_phrases(vocabulary))
            if self.kind == "prepended":
                # The space is put before what follows each of them, and would be before each piece.
                self._whole += tuple(contents)
                self._before = " "
                self._by_piece = _copy(backend, backend.normalizer[1], added)
            self._joined = _joined([*vocabulary, *contents])
            self._most = _most(vocabulary)
        self._pieces: dict[str, int] = {}  # piece, or word at the beginning of a text -> tokens
        self._words: dict[str, int] = {}  # word -> tokens with the space before it

    def __getstate__(self) -> dict[str, Any]:
        by_piece = None if self._by_piece is self._tokenizer else self._by_piece.to_str()
        serialized = {"_tokenizer": self._tokenizer.to_str(), "_by_piece": by_piece}
        return self.__dict__ | {"_pieces": {}, "_words": {}} | serialized

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._tokenizer = self._by_piece = Tokenizer.from_str(state["_tokenizer"])
        if state["_by_piece"] is not None:
            self._by_piece = Tokenizer.from_str(state["_by_piece"])

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        return self.measure(texts).sizes

    def at_most(self, texts: Sequence[str]) -> list[int]:
        """A number for each text that its number of tokens does not exceed, found without the tokenizer.

        BPE begins with the characters of its vocabulary, or the bytes of others, and only ever joins them.
        """
        if self.kind is None:
            return self(texts)
        before = len(self._before)
        sizes = [before + len(text) for text in texts]
        other = [i for i, text in enumerate(texts) if not text.isascii()]
        if self.kind == "bytes":
            for i in other:
                sizes[i] = len(texts[i].encode("utf-8", "surrogatepass"))
        elif other:
            codes = _codes("".join([texts[i] for i in other]))
            most = np.where(codes < _PLANE, self._most[codes & np.uint32(_PLANE - 1)], np.uint8(4))
            starts = np.cumsum([0, *(len(texts[i]) for i in other[:-1])])
            for i, size in zip(other, np.add.reduceat(most, starts, dtype=np.int64).tolist(), strict=True):
                sizes[i] = before + size
        return sizes

    def measure(self, texts: Sequence[str]) -> Measured:
        """The sizes of the texts, and of stretches of them."""
        if len(self._pieces) + len(self._words) > _REMEMBERED:
            self._pieces.clear()
            self._words.clear()
        everything = "\n".join(texts)
        held = [literal for literal in self._whole if literal in everything]
        whole, in_pieces, marked = list[int](), list[int](), dict[int, str]()
        parts: list[Sequence[int]] = [()] * len(texts)
        unknown: list[_Divided] = []
        piece, word = self._pieces.__getitem__, self._words.__getitem__
        for i, text in enumerate(texts):
            if not text:
                continue
            if self.kind is None or (held and any(literal in text for literal in held)):
                whole.append(i)
            elif self.kind != "bytes" and len(text) >= _LONG_WORDS * (text.count(" ") + 1):
                # Words repeat where spaces part them; elsewhere (Chinese) only pieces do.
                in_pieces.append(i)
            elif self._is_awkward(text):
                begins_word = _BEFORE_WORD if self.kind == "bytes" else _SINGLE_SPACE
                marked[i] = begins_word.sub(f"{_MARK} ", self._before + text)
            else:
                words: Sequence[str] = text.split(" ")
                first, words = ([], words) if self._before else (words[:1], words[1:])
                try:
                    parts[i] = [*map(piece, first), *map(word, words)]
                except KeyError:
                    unknown.append((i, first, words))
        marked.update(
            zip(in_pieces, self._in_pieces([self._before + texts[i] for i in in_pieces]), strict=True)
        )
        for i, text in marked.items():
            pieces = text.split(_MARK)
            try:
                parts[i] = [*map(piece, pieces)]
            except KeyError:
                unknown.append((i, pieces, []))
        self._learn(unknown)
        for i, first, words in unknown:
            parts[i] = [*map(piece, first), *map(word, words)]
        totals = list(map(sum, parts))
        for i, size in zip(whole, self._count(self._tokenizer, [texts[i] for i in whole]), strict=True):
            totals[i] = size
        return Measured(totals, texts, parts, marked, len(self._before), self._tokenizer)

    def _learn(self, divided: Sequence[_Divided]) -> None:
        pieces = {p for _, pieces, _ in divided for p in pieces} - self._pieces.keys()
        self._pieces.update(zip(pieces, self._count(self._by_piece, pieces), strict=True))
        words = {w for _, _, words in divided for w in words} - self._words.keys()
        self._words.update(zip(words, self._count(self._by_piece, [f" {w}" for w in words]), strict=True))

    def _is_awkward(self, text: str) -> bool:
        """Whether not every space begins a word."""
        if self.kind == "bytes":
            return text[-1] == " " or _AWKWARD.search(text) is not None
        return "  " in text or bool(self._before and text[:1] == " ")

    def _in_pieces(self, texts: Sequence[str]) -> list[str]:
        """The texts with a mark between any two characters that are never joined."""
        codes = _codes("".join(texts))
        if not len(codes):
            return list(texts)
        signs = np.where(codes == ord(" "), np.uint32(ord(_SPACE)), codes)
        marks = np.flatnonzero(~self._joined[_hashed(signs[:-1], signs[1:])]) + 1
        ends = np.cumsum([len(text) for text in texts])
        marks = marks[~np.isin(marks, ends)]
        joined = np.insert(codes, marks, 0).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        ends += np.searchsorted(marks, ends)
        return [joined[a:b] for a, b in zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True)]

    @staticmethod
    def _count(tokenizer: Tokenizer, texts: Iterable[str]) -> list[int]:
        return [len(e) for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _codes(text: str) -> _Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _hashed(left: _Codes, right: _Codes) -> _Codes:
    """Multiplicative hashes of pairs of characters."""
    return (left * np.uint32(0x9E3779B1) ^ right * np.uint32(0x85EBCA77)) >> np.uint32(32 - _HASH_BITS)


def _joined(tokens: Iterable[str]) -> npt.NDArray[np.bool_]:
    """By hash, whether two characters may stand beside each other in one of some tokens."""
    table = np.zeros(1 << _HASH_BITS, np.bool_)
    codes = _codes("\n".join(tokens))
    # A line break stands between tokens and inside some; where one token ends in it and the next begins with
    # it, a pair too many is no harm.
    table[_hashed(codes[:-1], codes[1:])] = True
    return table


def _most(vocabulary: Iterable[str]) -> npt.NDArray[np.uint8]:
    """By code point, how many tokens a character is at most: one, or its bytes."""
    table = np.full(_PLANE, 3, np.uint8)
    table[:0x800] = 2
    table[:0x80] = 1
    single = [ord(token) for token in vocabulary if len(token) == 1 and ord(token) < _PLANE]
    table[single] = 1
    table[ord(" ")] = table[ord(_SPACE)]
    return table


def _phrases(vocabulary: Iterable[str]) -> tuple[str, ...]:
    """What tokens of several words stand for."""
    return tuple(t.replace(_SPACE, " ") for t in vocabulary if _SPACE in t.lstrip(_SPACE))


def _copy(backend: Tokenizer, normalizer: Any, added: list[AddedToken]) -> Tokenizer:
    copy = Tokenizer(backend.model)
    if normalizer is not None:
        copy.normalizer = normalizer
    if backend.pre_tokenizer is not None:
        copy.pre_tokenizer = backend.pre_tokenizer
    copy.add_tokens(added)
    return copy


def _kind(backend: Tokenizer, added: Sequence[AddedToken]) -> str | None:
    """:attr:`TokenCounter.kind` of a tokenizer."""
    model = backend.model
    split, normalizer = _layout(backend.pre_tokenizer), _layout(backend.normalizer)
    if not isinstance(model, BPE) or model.dropout or model.continuing_subword_prefix:
        return None
    if model.end_of_word_suffix:
        return None
    if any(" " in token.content or token.lstrip or token.rstrip or token.single_word for token in added):
        return None
    if normalizer is None and split is not None and split["type"] == "ByteLevel":
        return "bytes" if split["use_regex"] and not split["add_prefix_space"] else None
    # A pre-tokenizer that splits at spaces finds none once they are replaced.
    if split is not None and not (split["type"] == "Split" and split["pattern"] == {"String": " "}):
        return None
    steps = normalizer["normalizers"] if normalizer and normalizer["type"] == "Sequence" else [normalizer]
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE}
    kind = {1: "signs", 2: "prepended"}.get(len(steps))
    if steps[-1] != replace or (len(steps) == 2 and steps[0] != {"type": "Prepend", "prepend": _SPACE}):
        return None
    if len(_phrases(backend.get_vocab(with_added_tokens=False))) > _FEW or model.ignore_merges:
        return None
    return kind if model.byte_fallback else None


def _layout(part: Any) -> dict[str, Any] | None:
    """What a tokenizer.json says of a normalizer or a pre-tokenizer."""
    return None if part is None else json.loads(part.__getstate__())
