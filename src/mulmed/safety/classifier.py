"""A small classifier beside the rules: which kind of danger a message tells of, in words that no rule knows.

Two layers over hashed features: words and Han characters in rows of one to four and with one left out, letters in
rows of four and five inside words (for slips of the pen), and what the rules made of the message, so that the phrases
of the lexicons and the judgement of their context count here as well. A message is read as a whole and sentence
by sentence, so that a danger in the midst of a long story is not drowned. Its training data are sentences of our
own making (``benchmarks/red_flags/``, which also holds the script that trains it).
"""

from __future__ import annotations

import functools
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import NamedTuple
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from mulmed.safety.normalize import clause_ends

#: Stretches of a message -> log odds that they tell of danger.
Second = Callable[[Sequence[tuple[int, int]]], Sequence[float]]
Mark = tuple[int, str]  # where in the row of words, and the name of what was found there

#: Words (or Han characters) of a stretch at most; a longer sentence is read in overlapping stretches.
LONGEST = 48
#: How sure a whole message, and a stretch of one, must be to tell of danger for a flag.
SURE, SURE_STRETCH = 0.5, 0.8
#: With a second reader: stretches that it looks at, besides the whole; how sure a whole message, and a stretch, must be then.
LOOKED, SURE_READ, SURE_STRETCH_READ = 3, 0.8, 0.95
#: How sure the classifier is held to be at least, and at most; the log odds below which the reader is sure that nothing is meant,
#: and those that it must give the whole for its stretches to count: torn from their story, many sound worse than they are.
_FLOOR, HARMLESS, OPEN = 0.01, -4.0, -2.0
#: Salts that keep the families of features apart.
_SALTS = (0x9E37, 0x79B9, 0x7F4A, 0x7C15, 0xF39C, 0xC060, 0x5CED)


@dataclass(frozen=True, slots=True)
class Weights:
    """The two layers.

    Attributes:
        names: hashes of the features, ascending.
        inner: a row for each feature, as 8-bit steps of ``size``; the rows of a stretch are added.
        hidden, outer, last: the bias of the inner layer, the outer layer and its bias.
        kinds: the kinds of danger in the order of the outer layer; the first is none.
    """

    names: NDArray[np.uint32]
    inner: NDArray[np.int8]
    size: NDArray[np.float32]
    hidden: NDArray[np.float32]
    outer: NDArray[np.float32]
    last: NDArray[np.float32]
    kinds: tuple[str, ...]


class Verdict(NamedTuple):
    """What a message is taken for: the stretch that sounds most like danger, and how sure that is (0 to 1).

    ``harmless``: classifier and second reader, each by itself, hold it to be so, as a whole and in all stretches.
    """

    start: int
    end: int
    kind: str
    sure: float
    raised: bool
    harmless: bool


@functools.cache
def weights() -> Weights:
    """The weights that come with the package."""
    tensors = load(files("mulmed.safety").joinpath("classifier.safetensors").read_bytes())
    kinds = tuple(bytes(tensors.pop("kinds")).decode().split())
    return Weights(**tensors, kinds=kinds)


def verdict(
    text: str, marks: Sequence[Mark], whole_only: bool = False, second: Second | None = None
) -> Verdict:
    """Whether a message tells of danger, as a whole or in a stretch of it (see :func:`stretches`).

    Args:
        text: :class:`~mulmed.safety.normalize.Words`' text.
        marks: what the rules found.
        whole_only: not stretch by stretch.
        second: another's log odds for stretches, of which the first is the whole: they are added.
    """
    spans = [(0, len(text)), *(() if whole_only else stretches(text))]
    sure, kinds = judged(text, marks, spans)
    whole, stretch, harmless = SURE, SURE_STRETCH, False
    if second is not None:
        looked = [0, *(1 + np.argsort(-sure[1:], kind="stable")[:LOOKED])]
        spans, kinds = [spans[i] for i in looked], kinds[looked]
        own, read = np.clip(sure[looked], _FLOOR, 1 - _FLOOR), np.asarray(second(spans))
        whole, stretch = SURE_READ, SURE_STRETCH_READ
        harmless = bool(own.max() < SURE and read.max() < HARMLESS)
        sure = 1 / (1 + np.exp(-(np.log(own / (1 - own)) + read)))
        if read[0] <= OPEN:
            sure = sure[:1]
    best = 1 + int(sure[1:].argmax()) if len(sure) > 1 else 0
    start, end = spans[best]
    return Verdict(
        start,
        end,
        weights().kinds[kinds[best]],
        float(max(sure[0], sure[best])),
        bool(sure[0] >= whole or sure[best] >= (stretch if best else whole)),
        harmless,
    )


def judged(
    text: str, marks: Sequence[Mark], spans: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """How sure each stretch is to tell of danger, and the number of the kind that is likeliest (never none, 0)."""
    held = weights()
    names, places = features(text, marks)
    order = np.argsort(places, kind="stable")
    names, places = names[order], places[order]
    at = np.searchsorted(held.names, names)
    at[at == len(held.names)] = 0
    known = np.flatnonzero(held.names[at] == names)
    sums = np.zeros((len(known) + 1, held.inner.shape[1]), np.int32)
    np.cumsum(held.inner[at[known]], axis=0, out=sums[1:])
    starts, ends = np.searchsorted(places, np.array(spans)).T
    added = sums[np.searchsorted(known, ends)] - sums[np.searchsorted(known, starts)]
    inner = added * held.size / np.sqrt(np.maximum(ends - starts, 1))[:, None]
    scores = np.maximum(inner + held.hidden, 0) @ held.outer + held.last
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return 1 - raised[:, 0] / raised.sum(axis=1), scores[:, 1:].argmax(axis=1) + 1


def stretches(text: str) -> list[tuple[int, int]]:
    """Each sentence with the one before it, in overlapping stretches where that is long; nothing in a short message."""
    words = [match.start() for match in _WORD.finditer(text)]
    if len(words) <= LONGEST:
        return []
    found: list[tuple[int, int]] = []
    ends = [end for _, end, final in clause_ends(text) if final]
    before = first = 0  # words: where the sentence before begins, and this one
    for end in ends:
        last = bisect_left(words, end)
        if last > first:
            start = before if last - before <= LONGEST else first
            for begin in range(start, max(last - LONGEST // 2, start + 1), LONGEST // 2):
                found.append((words[begin], words[begin + LONGEST] if begin + LONGEST < last else end))
            before, first = first, last
    return found


_WORD = re.compile(r"[\u2e80-\U0010ffff]|[^\s\u2e80-\U0010ffff]+")


# --- features ----------------------------------------------------------------------------------------


def features(text: str, marks: Sequence[Mark]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """The hash of each feature of a text, and where it begins. Time grows as the length does."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32).astype(np.uint64)
    codes[(codes >= 48) & (codes <= 57)] = 48  # figures by their shape; what they mean the rules tell
    spans = _Spans(codes)
    space, han = codes == 32, codes > 0x2E80
    before = np.concatenate(([True], (space | han)[:-1]))
    starts = np.flatnonzero(~space & (han | before))
    stops = np.flatnonzero(~space & (han | np.concatenate(((space | han)[1:], [True])))) + 1
    tokens = spans.hashes(starts, stops)
    found, places = [_mixed(tokens, 0)], [starts]
    row = tokens
    for length in (2, 3, 4):  # rows of words
        if len(tokens) < length:
            break
        row = row[:-1] * _STEP + tokens[length - 1 :]
        found.append(_mixed(row, length - 1))
        places.append(starts[: len(row)])
    if len(tokens) > 2:  # two words with one between
        found.append(_mixed(tokens[:-2] * _STEP + tokens[2:], 4))
        places.append(starts[:-2])
    blanks = np.concatenate(([0], np.cumsum(space | han)))
    for length, salt in ((4, 5), (5, 6)):  # letters, from the space before a word to the one behind it
        if len(codes) > length:
            at = np.arange(len(codes) - length)
            at = at[(blanks[at + length - 1] == blanks[at + 1]) & ~han[at] & ~han[at + length - 1]]
            found.append(_mixed(spans.hashes(at, at + length), salt))
            places.append(at)
    if marks:
        found.append(np.array([_named(name) for _, name in marks], np.uint32))
        places.append(np.array([place for place, _ in marks], np.int64))
    return np.concatenate(found), np.concatenate(places)


_STEP = np.uint64(0x100000001B3)
_BASE = np.uint64(0x9E3779B97F4A7C15)
_BACK = np.uint64(pow(int(_BASE), -1, 2**64))


class _Spans:
    """Hashes of stretches of characters, each in constant time: polynomials modulo 2**64."""

    def __init__(self, codes: NDArray[np.uint64]) -> None:
        size = len(codes)
        powers = np.cumprod(np.full(size, _BASE))
        self._back = np.concatenate((np.ones(1, np.uint64), np.cumprod(np.full(size, _BACK))))
        self._sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(codes * powers)))

    def hashes(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> NDArray[np.uint64]:
        hashes: NDArray[np.uint64] = (self._sums[stops] - self._sums[starts]) * self._back[starts]
        return hashes


def _mixed(hashes: NDArray[np.uint64], family: int) -> NDArray[np.uint32]:
    mixed = (hashes + np.uint64(_SALTS[family])) * _BASE
    mixed ^= mixed >> np.uint64(29)
    mixed *= _STEP
    return (mixed >> np.uint64(32)).astype(np.uint32)


@functools.cache
def _named(name: str) -> int:
    return crc32(name.encode())
