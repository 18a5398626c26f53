"""Packs of a batch side by side on a CPU's cores.

Cores that share every operation of one pack wait for each other some ten thousand times a step, and for
what only one of them can do; packs side by side do not. Each pack is computed by one thread, its dropout
drawn from a generator of its own, and gradients are added in the order of the packs: the result does not
depend on which thread was faster.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from mulmed.training.fused import dropout_from
from mulmed.training.loss import pack_loss
from mulmed.training.packing import Pack
from mulmed.training.step import unscale

#: Tokens below which a pack's matrix products no longer keep a core busy.
_LEAST = 512


def side_by_side(device: torch.device, capacity: int) -> int:
    """How many packs to compute at a time so that each has enough of the ``capacity`` tokens in flight."""
    return max(1, min(torch.get_num_threads(), capacity // _LEAST)) if device.type == "cpu" else 1


def accumulate_side_by_side(
    model: Any, packs: Sequence[Pack], targets: int, count: int, scale: float = 1.0
) -> torch.Tensor:
    """Like :func:`mulmed.training.step.accumulate`, ``count`` packs at a time, torch's threads divided.

    Args:
        model: on the CPU, in training mode, its parameters whole.
        packs: this process's part of the optimizer step's batch.
        targets: target tokens of the whole optimizer step.
        count: from :func:`side_by_side`.
        scale: as there.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    seeds = torch.randint(2**62, (len(packs),)).tolist()

    def gradients(pack: Pack, seed: int) -> tuple[torch.Tensor, tuple[torch.Tensor | None, ...]]:
        with dropout_from(torch.Generator().manual_seed(seed)):
            loss = pack_loss(model, pack) / targets
        return loss.detach(), torch.autograd.grad(loss * scale, parameters, allow_unused=True)

    total = torch.zeros((), dtype=torch.float64)
    cores = torch.get_num_threads()
    each = max(1, cores // count)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(each,)) as pool:
            for loss, parts in pool.map(gradients, packs, seeds):
                total += loss
                for parameter, part in zip(parameters, parts, strict=True):
                    if part is not None:
                        parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)
    finally:
        torch.set_num_threads(cores)
    unscale(parameters, scale)
    return total
