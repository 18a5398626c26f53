"""The texts of records in blocks, for comparing them: who says what, in words and characters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mulmed.corpus.hashes import Positions
from mulmed.corpus.ngrams import Strand, Units, blocks, units

#: Of an n-gram of Chinese, this share at least must be Han characters: not "[HOSPITAL][DEPARTMENT]".
_HAN_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Said:
    """Texts of records, one after the other; where each record's end, and which of them a user says."""

    texts: list[str]
    ends: Positions
    asks: npt.NDArray[np.bool_]


def said(batch: pl.DataFrame) -> Said:
    """The turns of each record, and its context as it follows the question."""
    turns = batch["turns"].explode().struct
    texts = turns.field("text").to_list() if len(batch) else []
    asks = (turns.field("role") == "user").to_numpy() if len(batch) else np.zeros(0, np.bool_)
    counts = batch["turns"].list.len().to_numpy().astype(np.int64)
    ends = np.cumsum(counts)
    more = (batch["context"] != "").to_numpy()
    if not more.any():
        return Said(texts, ends, asks)
    whole: list[str] = []
    start = 0
    for end, context in zip(ends.tolist(), batch["context"].to_list(), strict=True):
        whole += texts[start:end]
        if context:
            whole.append(f"{texts[start]}\n{context}")
        start = end
    return Said(whole, np.cumsum(counts + more), np.insert(asks, ends[more], False))


def questions(batch: pl.DataFrame) -> Said:
    """The longest of the user's turns of each record, with its context."""
    all_said = said(batch.with_columns(context=pl.lit("")))
    texts, start = [], 0
    for end, context in zip(all_said.ends.tolist(), batch["context"].to_list(), strict=True):
        asked = [
            text
            for text, asks in zip(all_said.texts[start:end], all_said.asks[start:end], strict=True)
            if asks
        ]
        longest = max(asked, key=len)
        texts.append(f"{longest}\n{context}" if context else longest)
        start = end
    return Said(texts, np.arange(1, len(texts) + 1), np.ones(len(texts), np.bool_))


def in_blocks(said: Said) -> Iterator[tuple[Positions, Units, slice]]:
    """Blocks of texts: the index of the record that each one is of, their units, and which texts they are."""
    lengths = np.concatenate(([0], np.cumsum(list(map(len, said.texts)))))
    before = np.concatenate(([0], said.ends))
    for part in blocks(np.diff(lengths[before]).tolist()):
        own = slice(int(before[part.start]), int(before[part.stop]))
        owner = np.repeat(np.arange(part.start, part.stop), np.diff(before[part.start : part.stop + 1]))
        yield owner, units(said.texts[own]), own


def of_language(strand: Strand, position: Positions, size: int) -> npt.NDArray[np.bool_]:
    """Which n-grams are words, or characters half of which are Han."""
    if not len(strand.han):
        return np.ones(len(position), np.bool_)
    real: npt.NDArray[np.bool_] = strand.han[position + size] - strand.han[position] >= size * _HAN_SHARE
    return real
