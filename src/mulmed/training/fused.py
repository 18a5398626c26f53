"""Layers whose gradients are written by hand: fewer passes over the activations than autograd makes.

On a CPU a training step spends a third of its time outside matrix products, in normalisations, dropout
and additions. Each function here has a plain twin that the tests hold it to.
"""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

import torch

_thread = threading.local()


def dropped_elements(count: int, probability: float) -> torch.Tensor:
    """Which of ``count`` elements drop out, each with the probability and on its own: their places, rising.

    What is drawn are the gaps from one to the next, which are geometric (Devroye 1986, chapter X.2): for the few that drop
    out in training that takes a quarter of the time of a draw for every element. Drawn from the generator that
    :func:`dropout_from` names in this thread, else from torch's default one.
    """
    generator: torch.Generator | None = getattr(_thread, "generator", None)
    # So many that one more draw is needed once in a billion times.
    room = int(count * probability + 6 * math.sqrt(count * probability * (1 - probability))) + 16
    last, found = -1, []
    while last < count:
        draws = torch.rand(room, dtype=torch.float64, generator=generator)
        gaps = draws.neg_().log1p_().div_(math.log1p(-probability)).to(torch.int64).add_(1)
        places = gaps.cumsum_(0).add_(last)
        last = int(places[-1])
        found.append(places)
    places = torch.cat(found) if len(found) > 1 else found[0]
    return places[: int(torch.searchsorted(places, count))]


def without(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """``x`` with zeros in these places, counted row after row."""
    return x.reshape(-1).index_fill(0, places, 0.0).view(x.shape)


@contextlib.contextmanager
def dropout_from(generator: torch.Generator) -> Iterator[None]:
    """Draw this thread's dropout masks from ``generator``."""
    _thread.generator = generator
    try:
        yield
    finally:
        del _thread.generator


class _FusedLora(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        weight: torch.Tensor,
        a: torch.Tensor,
        b: torch.Tensor,
        scale: float,
        dropout: float,
    ) -> torch.Tensor:
        x_TD = x.reshape(-1, x.shape[-1])
        places = dropped_elements(x_TD.numel(), dropout) if dropout else None
        low_TR = (x_TD if places is None else without(x_TD, places)) @ a.t()
        factor = 1 / (1 - dropout)
        if places is not None:
            low_TR.mul_(factor)
        out = torch.mm(x_TD, weight.t()).addmm_(low_TR, b.t(), alpha=scale)
        ctx.save_for_backward(x_TD, places, low_TR, weight, a, b)
        ctx.scale, ctx.factor = scale, factor
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_TD, places, low_TR, weight, a, b = ctx.saved_tensors
        grad_TO = grad.reshape(-1, grad.shape[-1])
        grad_b = torch.mm(grad_TO.t(), low_TR).mul_(ctx.scale)
        grad_low = torch.mm(grad_TO, b).mul_(ctx.scale * ctx.factor)
        grad_a = grad_low.t() @ (x_TD if places is None else without(x_TD, places))
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.mm(grad_TO, weight)
            if places is None:
                grad_x.addmm_(grad_low, a)
            else:
                grad_x.add_((grad_low @ a).view(-1).index_fill_(0, places, 0.0).view(grad_x.shape))
            grad_x = grad_x.view(*grad.shape[:-1], -1)
        return grad_x, None, grad_a, grad_b, None, None


def fused_lora(
    x: torch.Tensor, weight: torch.Tensor, a: torch.Tensor, b: torch.Tensor, scale: float, dropout: float
) -> torch.Tensor:
    """``x W' + scale * drop(x) A' B'`` with W frozen, A and B trained, all of one precision.

    Args:
        x: shape (..., D).
        weight: shape (O, D).
        a: shape (R, D).
        b: shape (O, R).
        scale: ``alpha / r``.
        dropout: share of ``x`` that the adapter does not see; 0 outside training.
    """
    apply: Any = _FusedLora.apply
    out: torch.Tensor = apply(x, weight, a, b, scale, dropout)
    return out


class _FusedRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight_D: torch.Tensor, epsilon: float) -> torch.Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        inverse = norm.square_().div_(x.shape[-1]).add_(epsilon).rsqrt_()
        ctx.save_for_backward(x, weight_D, inverse)
        out: torch.Tensor = (x * inverse).mul_(weight_D)
        return out

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight_D, inverse = ctx.saved_tensors
        grad_w = grad * weight_D
        along = torch.linalg.vecdot(grad_w, x).unsqueeze(-1)
        along.mul_(inverse**3).div_(-x.shape[-1])
        return grad_w.mul_(inverse).addcmul_(x, along), None, None


def fuse_norms(model: torch.nn.Module) -> int:
    """Compute the model's frozen float32 RMSNorm layers (Zhang & Sennrich 2019) in fewer passes.

    A layer is only touched where the fused function gives its own output on random input: architectures
    scale by ``weight`` (Llama) or by ``1 + weight`` (Gemma), and others may do something else.

    Returns:
        How many layers are fused.
    """
    fused = 0
    generator = torch.Generator().manual_seed(0)
    for layer in model.modules():
        weight = getattr(layer, "weight", None)
        epsilon = getattr(layer, "eps", getattr(layer, "variance_epsilon", None))
        if (
            not type(layer).__name__.endswith("RMSNorm")
            or not isinstance(weight, torch.Tensor)
            or not isinstance(epsilon, float)
            or weight.dtype != torch.float32
        ):
            continue
        x = torch.randn(3, weight.shape[0], generator=generator).to(weight.device)
        for scale in (weight.detach(), 1 + weight.detach()):
            if torch.allclose(layer(x), fused_norm(x, scale, epsilon), rtol=1e-5, atol=1e-6):
                layer.forward = _Norm(scale, epsilon)
                fused += 1
                break
    return fused


def fused_norm(x: torch.Tensor, weight_D: torch.Tensor, epsilon: float) -> torch.Tensor:
    """``x / sqrt(mean(x^2) + epsilon) * weight`` over the last axis, with gradient for ``x`` only."""
    apply: Any = _FusedRMSNorm.apply
    out: torch.Tensor = apply(x, weight_D, epsilon)
    return out


class _Norm:
    """A layer's forward; an object rather than a closure, so that models can still be pickled."""

    def __init__(self, weight_D: torch.Tensor, epsilon: float) -> None:
        self.weight_D, self.epsilon = weight_D, epsilon

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return fused_norm(x, self.weight_D, self.epsilon)
