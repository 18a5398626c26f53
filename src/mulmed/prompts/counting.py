"""How many tokens texts have, far faster than by making the tokens.

A tokenizer never joins what stands on the two sides of certain spaces, so that the count of a text is the sum
of its words', and these repeat. Where that holds, the words' counts are remembered; where it is not known to
hold, the tokenizer counts the whole text.

- Byte-level BPE (GPT-2 and its kin, SmolLM2): the splitting pattern begins a new piece at every space before
  something else.
- BPE over characters with a sign for the space (LLaMA, Gemma): nothing is split, but a merge across the
  beginning of a word would make a token of the vocabulary with that sign inside. There are next to none
  (Gemma 3: ``> </``); texts with one of those are counted whole.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from tokenizers import Tokenizer

_SPACE = "▁"
#: White space of which not every space begins a word; the spaces that do all the same.
_AWKWARD = re.compile(r" \s")
_BEFORE_WORD = re.compile(r" (?=\S)")
_SINGLE_SPACE = re.compile(r"(?<! ) (?! )")
#: Words remembered at most; a few tens of megabytes.
_REMEMBERED = 300_000
#: Tokens of several words that a vocabulary may have, if words are to be counted apart.
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
        if self.kind in _SIGNS:
            self._whole = (_SPACE, *_phrases(model))
        if self.kind == "prepended":
            # The space is put before what follows each of them.
            self._whole += tuple(token["content"] for token in layout["added_tokens"])
        # Characters that are never more than one token.
        self._single = (
            frozenset(t for t in model["vocab"] if len(t) == 1) if self.kind in _SIGNS else frozenset()
        )
        if self.kind in _SIGNS and _SPACE in self._single:
            self._single |= {" "}
        self._first: dict[str, int] = {}  # word at the beginning of a text -> tokens
        self._later: dict[str, int] = {}  # word with the space before it -> tokens

    def __getstate__(self) -> str:
        return self._serialized

    def __setstate__(self, state: str) -> None:
        self._load(state)

    def __call__(self, texts: Sequence[str]) -> list[int]:
        """Number of tokens of each text."""
        if self.kind is None:
            return self._count(texts)
        words = [self._words(text) for text in texts]
        try:
            counts = self._sums(words)
        except KeyError:
            self._learn(self._first, {w[0] for w in words if w}, "")
            self._learn(
                self._later, {v for w in words for v in w[1:]}, "" if self.kind == "prepended" else " "
            )
            counts = self._sums(words)
        whole = [i for i, w in enumerate(words) if not w]
        for i, count in zip(whole, self._count([texts[i] for i in whole]), strict=True):
            counts[i] = count
        if len(self._first) + len(self._later) > _REMEMBERED:
            self._first.clear()
            self._later.clear()
        return counts

    def _sums(self, words: Sequence[Sequence[str]]) -> list[int]:
        first, later = self._first, self._later.__getitem__
        return [first[w[0]] + sum(map(later, itertools.islice(w, 1, None))) if w else -1 for w in words]

    def at_most(self, texts: Sequence[str]) -> list[int]:
        """A number for each text that its number of tokens does not exceed, found without the tokenizer.

        BPE begins with the characters of its vocabulary, or the bytes of others, and only ever joins them.
        """
        if self.kind is None:
            return self(texts)
        if self.kind == "bytes":
            return [
                len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass")) for text in texts
            ]
        single = self._single
        return [
            1 + (len(text) if single.issuperset(text) else len(text.encode("utf-8", "surrogatepass")))
            for text in texts
        ]

    def _words(self, text: str) -> list[str]:
        """The words of a text without the space before each; nothing where it must be counted whole."""
        if any(literal in text for literal in self._whole):
            return []
        if self.kind == "bytes":
            awkward = text.endswith(" ") or _AWKWARD.search(text)
            return _BEFORE_WORD.split(text) if awkward else text.split(" ")
        if self.kind == "prepended" and (text.startswith(" ") or text.endswith(" ")):
            return []
        return _SINGLE_SPACE.split(text) if "  " in text else text.split(" ")

    def _learn(self, known: dict[str, int], words: Iterable[str], before: str) -> None:
        new = [word for word in words if word not in known]
        known.update(zip(new, self._count([before + word for word in new]), strict=True))

    def _count(self, texts: Sequence[str]) -> list[int]:
        if not texts:
            return []
        return [len(e) for e in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]


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
    if len(_phrases(model)) > _FEW:
        return None
    return kind if model["byte_fallback"] else None
