"""One optimizer step, in parts: whoever trains on several devices reduces gradients between them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch

from mulmed.training.feed import feed
from mulmed.training.loss import pack_loss
from mulmed.training.packing import Pack


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Factor on the peak rate for optimizer step ``step`` (from 0): linear up, then linear down to 0."""
    rising = math.ceil(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch for an optimizer step (from 0) of the process of a number.

    Dropout becomes a pure function of these, so a resumed run needs no generator's state.
    """
    torch.manual_seed(seed * 1_000_003 + step + rank * 15_485_863)


def accumulate(model: Any, packs: Iterable[Pack], targets: int, scale: float = 1.0) -> torch.Tensor:
    """Add the gradient of the packs' loss to the parameters'.

    Args:
        model: in training mode, made ready by :func:`mulmed.training.model.use_packed_loss`.
        packs: this process's part of the optimizer step's batch.
        targets: target tokens of the whole optimizer step, over all processes; the loss is divided by them
            once, so that it does not depend on how the batch was packed or spread.
        scale: of the loss in the backward pass, undone in the gradients (:class:`mulmed.training.scaling.LossScale`).

    Returns:
        These packs' part of the loss, a scalar on the model's device that nobody has waited for.
    """
    total = torch.zeros((), dtype=torch.float64, device=model.device)
    for pack in feed(packs, model.device):
        part = pack_loss(model, pack) / targets
        (part * scale).backward()  # type: ignore[no-untyped-call]
        total += part.detach()
    unscale(model.parameters(), scale)
    return total


def unscale(parameters: Iterable[torch.nn.Parameter], scale: float) -> None:
    """Undo in the gradients what the loss was multiplied by."""
    if scale != 1:
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad /= scale


def update(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Apply the gradients at the learning rate ``rate``, and clear them."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
