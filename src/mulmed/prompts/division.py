"""What a tokenizer and its vocabulary tell of where texts may be divided (:mod:`mulmed.prompts.counting`)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from mulmed.prompts.pieces import Codes, codes_of

#: Stands for a space in vocabularies of the kind of LLaMA's and Gemma's.
SPACE = "▁"
#: Characters from here on have four bytes, and as many tokens at most.
PLANE = 0x10000
#: Pairs of characters are looked up by so many bits of a hash; two that share them are only counted together.
_HASH_BITS = 22
#: Tokens of several words that a vocabulary may have, if pieces are to be shorter than texts.
_FEW = 16


def hashed(left: Codes, right: Codes) -> Codes:
    """Multiplicative hashes of pairs of characters."""
    return (left * np.uint32(0x9E3779B1) ^ right * np.uint32(0x85EBCA77)) >> np.uint32(32 - _HASH_BITS)


def joined_pairs(tokens: Iterable[str]) -> npt.NDArray[np.bool_]:
    """By hash, whether two characters may stand beside each other in one of some tokens."""
    table = np.zeros(1 << _HASH_BITS, np.bool_)
    codes = codes_of("\n".join(tokens))
    # A line break stands between tokens and inside some; where one token ends in it and the next begins with
    # it, a pair too many is no harm.
    table[hashed(codes[:-1], codes[1:])] = True
    return table


def most_tokens(vocabulary: Iterable[str]) -> npt.NDArray[np.uint8]:
    """By code point, how many tokens a character is at most: one, or its bytes."""
    table = np.full(PLANE, 3, np.uint8)
    table[:0x800] = 2
    table[:0x80] = 1
    single = [ord(token) for token in vocabulary if len(token) == 1 and ord(token) < PLANE]
    table[single] = 1
    table[ord(" ")] = table[ord(SPACE)]
    return table


def phrases(vocabulary: Iterable[str]) -> tuple[str, ...]:
    """What tokens of several words stand for."""
    return tuple(t.replace(SPACE, " ") for t in vocabulary if SPACE in t.lstrip(SPACE))


def copy_of(backend: Tokenizer, normalizer: Any, added: list[AddedToken]) -> Tokenizer:
    copy = Tokenizer(backend.model)
    if normalizer is not None:
        copy.normalizer = normalizer
    if backend.pre_tokenizer is not None:
        copy.pre_tokenizer = backend.pre_tokenizer
    copy.add_tokens(added)
    return copy


def kind_of(backend: Tokenizer, added: Sequence[AddedToken]) -> str | None:
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
    replace = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
    kind = {1: "signs", 2: "prepended"}.get(len(steps))
    if steps[-1] != replace or (len(steps) == 2 and steps[0] != {"type": "Prepend", "prepend": SPACE}):
        return None
    if len(phrases(backend.get_vocab(with_added_tokens=False))) > _FEW or model.ignore_merges:
        return None
    return kind if model.byte_fallback else None


def _layout(part: Any) -> dict[str, Any] | None:
    """What a tokenizer.json says of a normalizer or a pre-tokenizer."""
    return None if part is None else json.loads(part.__getstate__())
