"""A small classifier that reads the surroundings of a word that offends in some contexts only.

Multinomial logistic regression over English words and pairs of words, Chinese characters in ones, twos and
threes, and how many clinical words stand near. Features that it was not trained on say nothing, but count: a
window about something else altogether is benign. It was trained on sentences of our own making
(``benchmarks/moderation/train.py``, which also tells its accuracy on held-out sentences).
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load

from mulmed.corpus.moderate.lexicon import read

CLASSES = ("benign", "insult", "hate", "sexual", "weapons", "gambling", "advertisement")
#: The classifier condemns only what it is this sure of: by the number of clinical words in the window.
SURE = (0.55, 0.6, 0.8, 0.9, 0.97)
#: And by how much surer for a share of the window that it does not know, beyond one half.
STRANGE = 1.0
#: Characters on either side of a place that are read, at most; and no further than these ends of sentences.
_REACH = {"en": 140, "zh": 45}
_END = re.compile(r"[.!?。！？\n]")
_WORD = re.compile(r"[a-z0-9']+")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True, slots=True)
class Weights:
    """Scores of every feature for every class (8-bit steps and the size of a step), and of each class alone.

    Attributes:
        rows: CRC-32 of a feature's name -> its row in ``steps``.
    """

    rows: Mapping[int, int]
    steps: NDArray[np.int8]
    size: NDArray[np.float32]
    bias: NDArray[np.float32]


@cache
def weights(language: str) -> Weights:
    """The weights that come with the package."""
    tensors = load(files("mulmed.corpus.moderate").joinpath("classifier.safetensors").read_bytes())
    names, *rest = (tensors[f"{language}.{part}"] for part in ("names", "steps", "size", "bias"))
    return Weights({name: row for row, name in enumerate(names.tolist())}, *rest)


def condemned(plain: str, places: Mapping[str, Sequence[tuple[int, int]]]) -> list[str]:
    """Classes that both a list and the classifier find in a text in lower case.

    Args:
        places: class -> where words stand that may mean it. The classifier reads what stands around them,
            and only the same class counts; insult and hate are told apart by the classifier alone.
            Advertising counts only where it fills half of the text: a consultation may mention a price.
    """
    found: dict[str, int] = {}
    for kind, spans in places.items():
        for window in windows(plain, spans):
            scores, known = judged(window)
            best = CLASSES[int(scores[1:].argmax()) + 1]
            if 1 - scores[0] >= needed(window, known) and (
                best == kind or {best, kind} == {"insult", "hate"}
            ):
                found[best] = found.get(best, 0) + len(window)
    return [kind for kind, size in found.items() if kind != "advertisement" or 2 * size >= len(plain)]


def windows(plain: str, places: Sequence[tuple[int, int]]) -> list[str]:
    """The sentences around places, or as much of them as is read; places in one window share it."""
    spans: list[tuple[int, int]] = []
    for start, end in sorted(places):
        if spans and end <= spans[-1][1]:
            continue
        reach = _REACH[script(plain[max(0, start - 20) : end + 20])]
        before = plain[max(0, start - reach) : start]
        cut = max((m.end() for m in _END.finditer(before)), default=0)
        ending = _END.search(plain, end, end + reach)
        spans.append((start - len(before) + cut, ending.end() if ending else min(len(plain), end + reach)))
    return [plain[start:end] for start, end in spans]


def judged(window: str) -> tuple[NDArray[np.float32], float]:
    """What the classifier says of a stretch of text in lower case.

    Returns: probability of each of :data:`CLASSES`, in their order; share of the text's features that the
    classifier was trained on.
    """
    held = weights(script(window))
    names = features(window)
    known = [row for name in names if (row := held.rows.get(name)) is not None]
    scores = held.bias + held.steps[known].sum(axis=0, dtype=np.int32) * held.size / max(1, len(names)) ** 0.5
    raised: NDArray[np.float32] = np.exp(scores - scores.max())
    shares: NDArray[np.float32] = raised / raised.sum()
    return shares, len(known) / max(1, len(names))


def features(window: str) -> set[int]:
    """CRC-32 of the names of a window's features."""
    if script(window) == "zh":
        signs = "".join(_CHINESE.findall(window))
        named = {signs[i : i + n] for n in (1, 2, 3) for i in range(len(signs) - n + 1)}
    else:
        words = _WORD.findall(window)
        named = {
            *words,
            *(f"{a} {b}" for a, b in itertools.pairwise(words)),
            *(w[:5] + "-" for w in words if len(w) > 5),
        }
    named.update(f"clinical {n}" for n in range(1, clinical(window) + 1))
    return {crc32(name.encode()) for name in named}


def needed(window: str, known: float) -> float:
    """How sure the classifier must be to condemn a window.

    The more clinical the window reads, and the less of it (``known``, a share) the classifier was trained on,
    the surer.
    """
    return max(SURE[clinical(window)], SURE[0] + STRANGE * (0.5 - known))


def clinical(window: str) -> int:
    """Number of clinical words in a window, at most four."""
    if script(window) == "zh":
        found = sum(1 for term in _clinical("zh") if term in window)
    else:
        beginnings = _clinical("en")
        found = sum(1 for word in _WORD.findall(window) if word.startswith(beginnings))
    return min(found, len(SURE) - 1)


def script(text: str) -> str:
    """``zh`` where a Chinese character stands in a text, else ``en``."""
    return "en" if text.isascii() or not _CHINESE.search(text) else "zh"


@cache
def _clinical(language: str) -> tuple[str, ...]:
    return read(f"medical_{language}")
