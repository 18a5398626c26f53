"""Layers whose gradients are written by hand: fewer passes over the activations than autograd makes.

On a CPU a training step spends a third of its time outside matrix products, in normalisations, dropout
and additions. Each function here has a plain twin that the tests hold it to.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from typing import Any

import torch

_LEVELS = 1 << 16
_thread = threading.local()


def dropout_mask(x: torch.Tensor, probability: float) -> tuple[torch.Tensor, float]:
    """Which elements of ``x`` survive, and the factor that keeps the mean.

    One draw of 64 random bits serves four elements, so the probability is rounded to a multiple of
    1 / 65,536; the factor belongs to the rounded one. Drawn from the generator that :func:`dropout_from`
    names in this thread, else from torch's default one. On a CPU the mask is of ``x``'s own precision: a
    product of two precisions takes twice as long there as the memory saved is worth.
    """
    dropped = round(probability * _LEVELS)
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device)
    draws.random_(-(2**63), None, generator=getattr(_thread, "generator", None))
    bits = draws.view(torch.int16)[: x.numel()].view(x.shape)
    keep = bits >= dropped - _LEVELS // 2
    return keep.to(x.dtype) if x.device.type == "cpu" else keep, _LEVELS / (_LEVELS - dropped)


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
        keep, factor = dropout_mask(x_TD, dropout) if dropout else (None, 1.0)
        low_TR = (x_TD if keep is None else x_TD * keep) @ a.t()
        if keep is not None:
            low_TR.mul_(factor)
        out = torch.mm(x_TD, weight.t()).addmm_(low_TR, b.t(), alpha=scale)
        ctx.save_for_backward(x_TD, keep, low_TR, weight, a, b)
        ctx.scale, ctx.factor = scale, factor
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_TD, keep, low_TR, weight, a, b = ctx.saved_tensors
        grad_TO = grad.reshape(-1, grad.shape[-1])
        grad_b = torch.mm(grad_TO.t(), low_TR).mul_(ctx.scale)
        grad_low = torch.mm(grad_TO, b).mul_(ctx.scale * ctx.factor)
        grad_a = grad_low.t() @ (x_TD if keep is None else x_TD * keep)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = torch.mm(grad_TO, weight)
            if keep is None:
                grad_x.addmm_(grad_low, a)
            else:
                grad_x.addcmul_(grad_low @ a, keep)
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
