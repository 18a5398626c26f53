"""64-bit hashes by the million: polynomial hashes of stretches, mixing, and sets to look others up in.

The hash of a stretch of units is polynomial, sum of h[k] * P**k modulo 2**64 over the units' own hashes h (Karp
and Rabin 1987), taken for any stretch from one running sum. It depends on nothing but the units, so it is the same
in every process and on every machine.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint64]
Positions = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

#: Characters of texts that are worked on together: their arrays fit the processor's cache.
BLOCK = 1 << 17
#: Bytes of a word that are hashed together.
WORD = 8
_P = 0x9E3779B97F4A7C15 | 1  # odd, so that it has an inverse modulo 2**64
#: How far eight bytes are shifted so that only so many of them are left.
_SHIFTS = np.array([0, *(8 * (WORD - n) for n in range(1, WORD + 1))], np.uint64)


def mixed(hashes: Hashes) -> Hashes:
    """Numbers whose every bit depends on every bit of those given (SplitMix64's finalizer)."""
    hashes = hashes ^ (hashes >> np.uint64(30))
    hashes *= np.uint64(0xBF58476D1CE4E5B9)
    hashes ^= hashes >> np.uint64(27)
    hashes *= np.uint64(0x94D049BB133111EB)
    hashes ^= hashes >> np.uint64(31)
    return hashes


def word_hashes(written: Bytes, starts: Positions, sizes: Positions) -> Hashes:
    """Hash of each word, eight bytes at a time. ``written`` goes on for eight bytes after the last word's first."""
    eights = np.ndarray((len(written) - WORD + 1,), "<u8", written, strides=(1,))
    hashes = mixed(eights[starts] << _SHIFTS.take(np.minimum(sizes, WORD)))
    done, longer = WORD, np.flatnonzero(sizes > WORD)
    while len(longer):
        rest = sizes[longer] - done
        more = eights[starts[longer] + done] << _SHIFTS.take(np.minimum(rest, WORD))
        hashes[longer] = mixed(hashes[longer] * np.uint64(_P) + more)
        done += WORD
        longer = longer[rest > WORD]
    return hashes


def sums(hashes: Hashes) -> Hashes:
    """Running sums of units' hashes, one more than there are units: what :func:`windows` takes."""
    return running(hashes * _powers(len(hashes) + 1)[0][: len(hashes)], np.uint64)


def running(values: npt.NDArray[Any], kind: type[np.integer[Any]]) -> npt.NDArray[Any]:
    """How much all values before each one come to, and last all of them."""
    totals = np.zeros(len(values) + 1, kind)
    np.cumsum(values, out=totals[1:])
    return totals


def windows(sums: Hashes, n: int) -> Hashes:
    """Hash of the ``n`` units from each one on."""
    hashes = sums[n:] - sums[: max(len(sums) - n, 0)]
    hashes *= _powers(len(sums))[1][: len(hashes)]
    return hashes


def _powers(length: int) -> tuple[Hashes, Hashes]:
    """Powers of P and of its inverse, at least so many."""
    return _power_table(max(length, BLOCK).bit_length())


@functools.cache
def _power_table(bits: int) -> tuple[Hashes, Hashes]:
    def powers(base: int) -> Hashes:
        factors = np.full(1 << bits, base, np.uint64)
        factors[0] = 1
        return np.multiply.accumulate(factors)

    return powers(_P), powers(pow(_P, -1, 1 << 64))


def distinct(hashes: Hashes) -> Hashes:
    """Hashes in ascending order, each once. (``np.unique`` makes a table of them first, which takes ten times as long.)"""
    hashes = np.sort(hashes)
    new = np.ones(len(hashes), np.bool_)
    new[1:] = hashes[1:] != hashes[:-1]
    return hashes[new]


class HashSet:
    """Many hashes, to look others up in. It can be pickled.

    Attributes:
        hashes: sorted, each once.
    """

    def __init__(self, hashes: Hashes) -> None:
        self.hashes = distinct(hashes)
        # Most lookups find nothing: two bits of a table (Bloom 1970), of which one in sixteen is up, tell so.
        bits = min(max(len(self.hashes) * 16, 8).bit_length(), 31)
        self._shift = np.uint64(64 - bits)
        flags = np.zeros(1 << bits, np.bool_)
        flags[self.hashes >> self._shift] = True
        flags[self._second(self.hashes)] = True
        self._flags = np.packbits(flags, bitorder="little")

    def __reduce__(self) -> tuple[type[HashSet], tuple[Hashes]]:
        return HashSet, (self.hashes,)

    def _second(self, hashes: Hashes) -> Hashes:
        return (hashes << np.uint64(32)) >> self._shift

    def _up(self, places: Hashes) -> Positions:
        flags = self._flags.take((places >> np.uint64(3)).view(np.int64))
        flags >>= places.astype(np.uint8) & np.uint8(7)
        flags &= np.uint8(1)
        return np.flatnonzero(flags.view(np.bool_))

    def find(self, hashes: Hashes) -> tuple[Positions, Positions]:
        """Which of ``hashes`` are in the set (their positions), and where in :attr:`hashes` each is."""
        maybe = self._up(hashes >> self._shift)
        maybe = maybe[self._up(self._second(hashes[maybe]))]
        places = np.searchsorted(self.hashes, hashes[maybe])
        places[places == len(self.hashes)] = 0
        found = self.hashes[places] == hashes[maybe] if len(self.hashes) else np.zeros(len(maybe), np.bool_)
        return maybe[found], places[found]
