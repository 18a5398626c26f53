"""Examples -> batches -> packs: several examples in one row, without padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from mulmed.prompts import Example


@dataclass(frozen=True, slots=True)
class Pack:
    """Examples laid end to end for one forward pass.

    Attributes:
        ids: token ids, shape (1, T).
        positions: position of each token inside its own example, shape (1, T).
        lengths: tokens of each example, in order; they sum to T.
        sources: indices into T of the positions whose next token is learned, shape (N,).
        targets: ids of those next tokens, shape (N,).
    """

    ids: torch.Tensor
    positions: torch.Tensor
    lengths: tuple[int, ...]
    sources: torch.Tensor
    targets: torch.Tensor


def steps_per_epoch(examples: int, batch: int) -> int:
    """Optimizer steps in one pass over the examples; the last batch may be smaller."""
    return math.ceil(examples / batch)


def total_steps(examples: int, batch: int, epochs: float) -> int:
    """Optimizer steps of a run: whole batches, at least one."""
    return max(1, math.ceil(steps_per_epoch(examples, batch) * epochs))


def epoch_order(examples: int, epoch: int, seed: int) -> np.ndarray:
    """The order in which epoch ``epoch`` (from 0) sees the examples: each a new seeded permutation.

    A pure function of its arguments, so that a resumed run needs no stored state to go on exactly.
    """
    return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(examples)


def pack_lengths(lengths: Sequence[int], capacity: int) -> list[list[int]]:
    """First-fit decreasing: groups of indices whose lengths sum to at most ``capacity``.

    An example longer than the capacity gets a pack of its own. Ties keep their order, so the result is
    the same on every machine.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    packs: list[list[int]] = []
    room: list[int] = []
    for i in order:
        for p, free in enumerate(room):
            if lengths[i] <= free:
                packs[p].append(i)
                room[p] -= lengths[i]
                break
        else:
            packs.append([i])
            room.append(capacity - lengths[i])
    return packs


def pack_evenly(lengths: Sequence[int], capacity: int, multiple: int) -> list[list[int]]:
    """Groups of indices of nearly equal length sums of at most ``capacity``, their number a multiple.

    For packs computed ``multiple`` at a time: the longest example goes to the shortest pack (Graham 1969).
    There are fewer groups where there are fewer examples, and an example longer than the capacity gets a
    group of its own. Ties keep their order.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    count = multiple
    while True:
        packs: list[list[int]] = [[] for _ in range(min(count, len(lengths)))]
        filled = [0] * len(packs)
        for i in order:
            p = filled.index(min(filled))
            packs[p].append(i)
            filled[p] += lengths[i]
        if all(n <= capacity or len(pack) == 1 for n, pack in zip(filled, packs, strict=True)):
            return packs
        count += multiple


def make_pack(ids: Sequence[Sequence[int]], masks: Sequence[Sequence[bool]]) -> Pack:
    """One pack from the ids and loss masks of its examples."""
    lengths = tuple(len(x) for x in ids)
    flat_ids = np.concatenate([np.asarray(x, dtype=np.int64) for x in ids])
    flat_mask = np.concatenate([np.asarray(x, dtype=bool) for x in masks])
    starts = np.cumsum([0, *lengths[:-1]])
    # The first token of an example follows the last of another one: never a target.
    flat_mask[starts] = False
    sources = np.flatnonzero(flat_mask[1:])
    return Pack(
        ids=torch.from_numpy(flat_ids).unsqueeze(0),
        positions=torch.from_numpy(np.concatenate([np.arange(n) for n in lengths])).unsqueeze(0),
        lengths=lengths,
        sources=torch.from_numpy(sources),
        targets=torch.from_numpy(flat_ids[sources + 1]),
    )


def packs_of(examples: Sequence[Example], capacity: int, side_by_side: int = 1) -> list[Pack]:
    """The examples packed into rows; those computed side by side have at most ``capacity`` tokens together."""
    lengths = [len(e.ids) for e in examples]
    if side_by_side == 1:
        groups = pack_lengths(lengths, capacity)
    else:
        groups = pack_evenly(lengths, capacity // side_by_side, side_by_side)
    return [make_pack([examples[i].ids for i in g], [examples[i].mask for i in g]) for g in groups]


def padded(pack: Pack, multiple: int) -> Pack:
    """The pack with as many tokens more as make its row a multiple; they are an example from which nothing is learned."""
    more = -sum(pack.lengths) % multiple
    if not more:
        return pack
    return Pack(
        ids=torch.nn.functional.pad(pack.ids, (0, more)),
        positions=torch.cat((pack.positions, torch.arange(more).unsqueeze(0)), dim=1),
        lengths=(*pack.lengths, more),
        sources=pack.sources,
        targets=pack.targets,
    )
