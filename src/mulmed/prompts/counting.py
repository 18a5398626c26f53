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

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

_SPACE = "▁"
#: White space of which not every space begins a word; the spaces that do all the same.
_AWKWARD = re.compile(r" \s")
_BEFORE_WORD = re.compile(r" (?=\S)")
_SINGLE_SPACE = re.compile(r"(?<! ) (?! )")
#: Words or pieces remembered at most; a few tens of megabytes.
_REMEMBERED = 300_000
#: Pairs of characters are looked up by so many bits of a hash; two that share them are only counted together.
_HASH_BITS = 22
#: Tokens of several words that a vocabulary may have, if pieces are to be shorter than texts.
_FEW = 16


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
        self._load(tokenizer.backend_tokenizer.to_str())

    def _load(self, serialized: str) -> None:
        self._serialized = serialized
        self._tokenizer = Tokenizer.from_str(serialized)
        layout = json.loads(serialized)
        model = layout["model"]
        self.kind = _kind(layout)
        self._whole: tuple[str, ...] = ()  # texts that hold one of these are counted whole
        self._before = " " if self.kind == "prepended" else ""
        self._by_piece = self._tokenizer
        added = [token["content"] for token in layout["added_tokens"]]
        if self.kind == "bytes":
            self._whole = tuple(added)  # they are taken out before the rest is split
        if self.kind in _SIGNS:
            self._whole = (_SPACE, "\0", *_phrases(model))
            if self.kind == "prepended":
                # The space is put before what follows each of them, and would be before each piece.
                self._whole += tuple(added)
                layout["normalizer"] = layout["normalizer"]["normalizers"][-1]
                self._by_piece = Tokenizer.from_str(json.dumps(layout))
            self._joined = _joined([*model["vocab"], *added])
        self._first: dict[str, int] = {}  # word at the beginning of a text, or piece -> tokens
        self._later: dict[str, int] = {}  # word with the space before it -> tokens

    def __getstate__(self) -> str:
        return self._serialized

    def __setstate__(self, state: str) -> None:
        self._load(state)

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        if self.kind is None:
            return self._count(texts)
        counts = [0] * len(texts)
        apart = [i for i, text in enumerate(texts) if text and not self._is_whole(text)]
        # Words repeat where spaces part them; elsewhere (Chinese) only pieces do.
        by_words = [i for i in apart if self.kind == "bytes" or texts[i].isascii()]
        by_pieces = [i for i in apart if self.kind != "bytes" and not texts[i].isascii()]
        whole = [i for i, text in enumerate(texts) if text and self._is_whole(text)]
        for which, count in (
            (by_words, self._by_words),
            (by_pieces, self._by_pieces),
            (whole, self._count),
        ):
            for i, number in zip(which, count([texts[i] for i in which]), strict=True):
                counts[i] = number
        if len(self._first) + len(self._later) > _REMEMBERED:
            self._first.clear()
            self._later.clear()
        return counts

    def _by_pieces(self, texts: Sequence[str]) -> list[int]:
        before = self._before
        joined = "".join([before + text for text in texts] if before else texts)
        if not joined:
            return []
        ends = np.cumsum([len(text) + len(before) for text in texts])
        codes = np.frombuffer(joined.encode("utf-32-le", "surrogatepass"), np.uint32)
        codes = np.where(codes == ord(" "), np.uint32(ord(_SPACE)), codes)
        begins = np.empty(len(codes) + 1, np.bool_)
        np.logical_not(self._joined[_hashed(codes[:-1], codes[1:])], out=begins[1:-1])
        begins[0] = True
        begins[ends] = True
        starts = np.flatnonzero(begins[1:-1]) + 1
        separated = np.insert(codes, starts, 0).astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")
        pieces = separated.split("\0")
        known = self._first
        try:
            sizes = np.fromiter(map(known.__getitem__, pieces), np.int64, len(pieces))
        except KeyError:
            self._learn(known, set(pieces), "")
            sizes = np.fromiter(map(known.__getitem__, pieces), np.int64, len(pieces))
        totals = np.concatenate([[0], np.cumsum(sizes)])[np.searchsorted(starts, ends) + 1]
        counts: list[int] = np.diff(totals, prepend=0).tolist()
        return counts

    def _is_whole(self, text: str) -> bool:
        return any(literal in text for literal in self._whole)

    def _by_words(self, texts: Sequence[str]) -> list[int]:
        words = [self._words(text) for text in texts]
        try:
            return self._sums(words)
        except KeyError:
            self._learn(self._first, {w[0] for w in words}, "")
            self._learn(self._later, {v for w in words for v in w[1:]}, " ")
            return self._sums(words)

    def _sums(self, words: Sequence[Sequence[str]]) -> list[int]:
        first, later = self._first, self._later.__getitem__
        return [first[w[0]] + sum(map(later, itertools.islice(w, 1, None))) for w in words]

    def at_most(self, texts: Sequence[str]) -> list[int]:
        """A number for each text that its number of tokens does not exceed, found without the tokenizer.

        BPE begins with the characters of its vocabulary, or the bytes of others, and only ever joins them.
        """
        if self.kind is None:
            return self(texts)
        return [
            1 + (len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")))
            for text in texts
        ]

    def _words(self, text: str) -> list[str]:
        """The words of a text without the space before each."""
        if self.kind == "bytes":
            awkward = text.endswith(" ") or _AWKWARD.search(text)
            return _BEFORE_WORD.split(text) if awkward else text.split(" ")
        text = self._before + text
        words = _SINGLE_SPACE.split(text) if "  " in text else text.split(" ")
        # The space put before a text.
        return [" " + words[1], *words[2:]] if not words[0] else words

    def _learn(self, known: dict[str, int], words: Iterable[str], before: str) -> None:
        new = [word for word in words if word not in known]
        counts = self._count([before + word for word in new], self._by_piece)
        known.update(zip(new, counts, strict=True))

    def _count(self, texts: Sequence[str], tokenizer: Tokenizer | None = None) -> list[int]:
        if not texts:
            return []
        tokenizer = tokenizer or self._tokenizer
        return [len(e) for e in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


def _hashed(left: npt.NDArray[np.uint32], right: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Multiplicative hashes of pairs of characters."""
    return (left * np.uint32(0x9E3779B1) ^ right * np.uint32(0x85EBCA77)) >> np.uint32(32 - _HASH_BITS)


def _joined(tokens: Iterable[str]) -> npt.NDArray[np.bool_]:
    """By hash, whether two characters may stand beside each other in one of some tokens."""
    table = np.zeros(1 << _HASH_BITS, np.bool_)
    pairs = "".join({token[i : i + 2] for token in tokens for i in range(len(token) - 1)})
    codes = np.frombuffer(pairs.encode("utf-32-le", "surrogatepass"), np.uint32)
    table[_hashed(codes[::2], codes[1::2])] = True
    return table


_SIGNS = ("signs", "prepended")


def _phrases(model: dict[str, Any]) -> tuple[str, ...]:
    """What tokens of several words stand for."""
    return tuple(t.replace(_SPACE, " ") for t in model["vocab"] if _SPACE in t.lstrip(_SPACE))


def _kind(layout: dict[str, Any]) -> str | None:
    """:attr:`TokenCounter.kind` of a tokenizer.json."""
    model, split, normalizer = layout["model"], layout["pre_tokenizer"], layout["normalizer"]
    if model["type"] != "BPE" or model.get("dropout") or model.get("continuing_subword_prefix"):
        return None
    if model.get("end_of_word_suffix") or layout["truncation"] or layout["padding"]:
        return None
    if any(
        " " in t["content"] or t["lstrip"] or t["rstrip"] or t["single_word"] for t in layout["added_tokens"]
    ):
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
    if len(_phrases(model)) > _FEW or model.get("ignore_merges"):
        return None
    return kind if model["byte_fallback"] else None
