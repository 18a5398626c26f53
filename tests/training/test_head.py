"""The chunked head is cross-entropy, to the last digit, and its gradient is autograd's."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mulmed.training.head import cross_entropy_sum

N, D, V = 17, 6, 29


def inputs(dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(N, D, generator=generator, dtype=dtype) * 3
    weight = torch.randn(V, D, generator=generator, dtype=dtype)
    bias = torch.randn(V, generator=generator, dtype=dtype)
    targets = torch.randint(V, (N,), generator=generator)
    return hidden.requires_grad_(), weight, bias, targets


def reference(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    softcap: float | None,
) -> torch.Tensor:
    logits = F.linear(hidden, weight, bias)
    if softcap is not None:
        logits = softcap * torch.tanh(logits / softcap)
    return F.cross_entropy(logits, targets, reduction="sum")


@pytest.mark.parametrize("chunk", [1, 3, 1000])
@pytest.mark.parametrize("softcap", [None, 4.0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_loss_and_gradient_equal_cross_entropy(chunk: int, softcap: float | None, with_bias: bool) -> None:
    hidden, weight, bias, targets = inputs(torch.float64)
    given = bias if with_bias else None
    expected = reference(hidden, weight, given, targets, softcap)
    (gradient,) = torch.autograd.grad(expected / 7, hidden)
    ours = cross_entropy_sum(hidden, weight, targets, bias_V=given, softcap=softcap, chunk=chunk)
    assert ours.dtype == torch.float64
    assert ours.item() == pytest.approx(expected.item(), rel=1e-13)
    (ours_gradient,) = torch.autograd.grad(ours / 7, hidden)
    torch.testing.assert_close(ours_gradient, gradient, rtol=1e-12, atol=1e-14)


def test_half_precision_is_summed_in_float32() -> None:
    hidden, weight, _, targets = inputs(torch.float64)
    low, low_weight = hidden.detach().bfloat16().requires_grad_(), weight.bfloat16()
    ours = cross_entropy_sum(low, low_weight, targets)
    assert ours.dtype == torch.float32
    ours.backward()
    assert low.grad is not None
    assert low.grad.dtype == torch.bfloat16
    expected = reference(low.double(), low_weight.double(), None, targets, None)
    assert ours.item() == pytest.approx(expected.item(), rel=2e-2)


def test_large_logits_do_not_overflow() -> None:
    weight = torch.tensor([[1000.0], [-1000.0]])
    hidden = torch.ones(1, 1, requires_grad=True)
    loss = cross_entropy_sum(hidden, weight, torch.tensor([1]))
    loss.backward()
    assert loss.item() == 2000
    assert hidden.grad is not None
    assert hidden.grad.item() == 2000


def test_no_target_costs_nothing() -> None:
    hidden = torch.zeros(0, D, requires_grad=True)
    loss = cross_entropy_sum(hidden, torch.ones(V, D), torch.zeros(0, dtype=torch.long))
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("chunk", [3, 1000])
@pytest.mark.parametrize("softcap", [None, 4.0])
@pytest.mark.parametrize("with_bias", [False, True])
def test_trained_rows_equal_cross_entropy(chunk: int, softcap: float | None, with_bias: bool) -> None:
    hidden, weight, bias, targets = inputs(torch.float64)
    given = bias if with_bias else None
    rows = torch.randn(5, D, dtype=torch.float64, generator=torch.Generator().manual_seed(6)).requires_grad_()
    whole = torch.cat((weight[:20], rows, weight[25:]))
    expected = reference(hidden, whole, given, targets, softcap)
    gradients = torch.autograd.grad(expected / 7, (hidden, rows))
    assert gradients[1].abs().min() > 0
    ours = cross_entropy_sum(
        hidden, weight, targets, bias_V=given, softcap=softcap, chunk=chunk, rows_KD=rows, first=20
    )
    assert ours.item() == pytest.approx(expected.item(), rel=1e-13)
    for mine, theirs in zip(torch.autograd.grad(ours / 7, (hidden, rows)), gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-14)
