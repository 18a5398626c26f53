"""How far the encodings of weights may be off, from their definitions alone."""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np

Numbers = np.ndarray[Any, Any]
_Q8_0 = gguf.GGMLQuantizationType.Q8_0


def _float16_step(numbers: Numbers) -> Numbers:
    """Distance of neighbouring float16 numbers: 11 significant bits, and never under 2^-24."""
    exponent = np.frexp(np.abs(numbers))[1] - 1
    return np.ldexp(1.0, np.maximum(exponent - 10, -24))


def _factors(weights: Numbers) -> Numbers:
    """Of Q8_0, before their own rounding: the largest magnitude of 32 neighbours / 127, one a weight."""
    blocks = np.abs(weights.astype(np.float64)).reshape(-1, 32)
    return (np.repeat(blocks.max(-1), 32) / 127).reshape(weights.shape)


def largest_error(weights: Numbers, kind: Any) -> Numbers:
    """Half a step; for Q8_0 besides, that the factor is a float16, and times at most 127.

    Its division is done in float32: a quotient up to 127 is off by at most 127 * 2^-22 and may be
    rounded the other way by so much before or after the middle.
    """
    if kind == _Q8_0:
        factors = _factors(weights)
        return factors * (0.5 + 127 * 2**-22) + 127 * _float16_step(factors) / 2
    if kind == gguf.GGMLQuantizationType.F16:
        return _float16_step(weights.astype(np.float64)) / 2
    return np.zeros(weights.shape)
