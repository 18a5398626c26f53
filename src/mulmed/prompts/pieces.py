"""Pieces of texts that repeat, numbered: what is known of one is looked up for all of a batch at once.

A dictionary of strings makes an object of every word and waits for memory at every look-up. Here the pieces stay in one
array of characters; a hash of each, a number for each hash.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.uint32]
Places = npt.NDArray[np.int64]
_Hashes = npt.NDArray[np.uint64]

#: Odd, so that it has an inverse modulo 2^64.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_LEAST_BITS = 17


@dataclass(slots=True)
class Numbers:
    """A number for each different piece seen so far, from 0 on, in the order in which they were first seen.

    Pieces are told apart by 64 bits of a polynomial hash: that two of a million different ones share them has a chance of
    one in 30 million.
    """

    hashes: list[int] = field(default_factory=list)
    _bits: int = _LEAST_BITS
    _slots: _Hashes = field(default_factory=lambda: np.zeros(1 << _LEAST_BITS, np.uint64))
    _numbers: npt.NDArray[np.int32] = field(default_factory=lambda: np.zeros(1 << _LEAST_BITS, np.int32))
    _powers: _Hashes = field(default_factory=lambda: np.ones(1, np.uint64))
    _inverses: _Hashes = field(default_factory=lambda: np.ones(1, np.uint64))

    def of(self, codes: Codes, begins: Places) -> tuple[npt.NDArray[np.int32], Places]:
        """The number of each piece, and the positions of those that were new, in the order of their numbers.

        Args:
            codes: the code points of all pieces, one after another; none is 0.
            begins: where each piece begins, and the end of the last.
        """
        hashes = self._hashes(codes, begins)
        found, unknown = self._look(hashes)
        if not len(unknown):
            return found, unknown
        _, firsts = np.unique(hashes[unknown], return_index=True)
        new = np.sort(unknown[firsts])
        for hash_ in hashes[new].tolist():
            self._add(hash_)
        found[unknown], _ = self._look(hashes[unknown])
        return found, new

    def _hashes(self, codes: Codes, begins: Places) -> _Hashes:
        size = len(codes)
        if size >= len(self._powers):
            self._powers = _powers(_BASE, 2 * size)
            self._inverses = _powers(_INVERSE, 2 * size)
        totals = np.empty(size + 1, np.uint64)
        totals[0] = 0
        np.cumsum(codes * self._powers[:size], out=totals[1:])
        bounds = totals[begins]
        hashes = (bounds[1:] - bounds[:-1]) * self._inverses[begins[:-1]]
        # One to one: nothing is lost, and the upper bits, which choose the slot, depend on all others.
        hashes ^= hashes >> np.uint64(32)
        hashes *= _MIX
        hashes ^= hashes >> np.uint64(32)
        hashes *= _MIX
        hashes[hashes == 0] = 1  # of an empty slot
        return hashes

    def _look(self, hashes: _Hashes) -> tuple[npt.NDArray[np.int32], Places]:
        """The numbers of hashes, and the positions of those that have none."""
        last = (1 << self._bits) - 1
        places = (hashes >> np.uint64(64 - self._bits)).astype(np.int64)
        numbers = self._numbers[places]
        left = np.flatnonzero(self._slots[places] != hashes)
        places = places[left]
        unknown = [left[:0]]
        while len(left):
            empty = self._slots[places] == 0
            unknown.append(left[empty])
            left, places = left[~empty], (places[~empty] + 1) & last
            here = self._slots[places] == hashes[left]
            numbers[left[here]] = self._numbers[places[here]]
            left, places = left[~here], places[~here]
        return numbers, np.concatenate(unknown)

    def _add(self, hash_: int) -> None:
        if 3 * len(self.hashes) > 1 << self._bits:
            self._bits += 1
            self._slots = np.zeros(1 << self._bits, np.uint64)
            self._numbers = np.zeros(1 << self._bits, np.int32)
            for number, old in enumerate(self.hashes):
                self._put(old, number)
        self._put(hash_, len(self.hashes))
        self.hashes.append(hash_)

    def _put(self, hash_: int, number: int) -> None:
        place = hash_ >> (64 - self._bits)
        while self._slots[place]:
            place = (place + 1) & ((1 << self._bits) - 1)
        self._slots[place] = hash_
        self._numbers[place] = number


def _powers(base: int, size: int) -> _Hashes:
    """``base`` to the powers below ``size``, modulo 2^64."""
    powers = np.full(size, base, np.uint64)
    powers[0] = 1
    return np.cumprod(powers)


def codes_of(text: str) -> Codes:
    """The code points of a text."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
