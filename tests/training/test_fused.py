"""Layers with gradients by hand: the values and gradients of their plain twins."""

from __future__ import annotations

import copy
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from mulmed.recipe import Lora
from mulmed.training.fused import dropout_from, dropout_mask, fuse_norms, fused_lora, fused_norm
from mulmed.training.lora import LoraLinear


def gradcheck(function: Callable[..., Any], *inputs: torch.Tensor) -> bool:
    return torch.autograd.gradcheck(function, inputs, eps=1e-6, atol=1e-7)


def test_norm_gradient_is_the_numerical_one() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 3, 7, dtype=torch.float64, generator=generator, requires_grad=True)
    weight = torch.randn(7, dtype=torch.float64, generator=generator)
    assert gradcheck(lambda x: fused_norm(x, weight, 1e-6), x)


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Gemma3RMSNorm])
def test_norms_of_both_families_are_fused_exactly(kind: type[torch.nn.Module]) -> None:
    torch.manual_seed(2)
    layer = kind(24, eps=1e-5)
    with torch.no_grad():
        layer.weight.normal_(0.3, 1)
    model = torch.nn.ModuleDict({"norm": layer, "other": torch.nn.LayerNorm(24)})
    plain = copy.deepcopy(layer)
    assert fuse_norms(model) == 1
    x = torch.randn(5, 24) * torch.tensor([1e-4, 1e-2, 1, 10, 1e3])[:, None]
    ours, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    out, expected = layer(ours), plain(theirs)
    torch.testing.assert_close(out, expected, rtol=2e-6, atol=1e-6)
    grad = torch.randn(5, 24)
    out.backward(grad)
    expected.backward(grad)
    assert ours.grad is not None
    assert theirs.grad is not None
    error = (ours.grad - theirs.grad).norm(dim=-1) / theirs.grad.norm(dim=-1)
    assert error.max() < 1e-5


def test_a_norm_that_is_another_function_is_left_alone() -> None:
    class HalfRMSNorm(LlamaRMSNorm):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) / 2

    layer = HalfRMSNorm(8, eps=1e-5)
    assert fuse_norms(torch.nn.ModuleList([layer])) == 0
    x = torch.tensor([[2.0] * 8])
    assert torch.allclose(layer(x), torch.full((1, 8), 0.5))


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_lora_gradients_are_the_numerical_ones(dropout: float) -> None:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int, grad: bool = True) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator, requires_grad=grad)

    weight = draw(6, 5, grad=False)

    def function(x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        torch.manual_seed(4)
        return fused_lora(x, weight, a, b, 1.7, dropout)

    assert gradcheck(function, draw(2, 4, 5), draw(3, 5), draw(6, 3))


@pytest.mark.parametrize("dropout", [0.0, 0.05])
def test_fused_adapter_is_the_plain_one(dropout: float) -> None:
    torch.manual_seed(5)
    layer = LoraLinear(
        torch.nn.Linear(40, 24, bias=False), Lora(r=4, alpha=6, dropout=dropout), torch.Generator()
    ).train()
    with torch.no_grad():
        layer.lora_B.normal_()
    layer.base.weight.requires_grad_(False)
    grad = torch.randn(2, 9, 24)
    results = []
    for forward in (layer, lambda x: layer.plain(x, dropout)):
        x = torch.randn(2, 9, 40, generator=torch.Generator().manual_seed(6), requires_grad=True)
        torch.manual_seed(7)
        out = forward(x)
        layer.zero_grad()
        out.backward(grad)
        assert layer.lora_A.grad is not None
        assert layer.lora_B.grad is not None
        results.append((out.detach(), x.grad, layer.lora_A.grad.clone(), layer.lora_B.grad.clone()))
    for ours, twin in zip(*results, strict=True):
        torch.testing.assert_close(ours, twin, rtol=1e-5, atol=1e-5)


def test_dropout_mask_keeps_the_share_and_the_mean() -> None:
    torch.manual_seed(8)
    keep, factor = dropout_mask(torch.empty(1000, 1003), 0.05)
    n = keep.numel()
    assert abs(keep.double().mean().item() - 0.95) < 4 * (0.05 * 0.95 / n) ** 0.5
    assert factor == pytest.approx(1 / 0.95, rel=1e-5)
    # Four elements share one draw; they must not share their fate.
    flat = (keep == 0).flatten()[: n // 4 * 4].reshape(-1, 4).double()
    for i in range(4):
        for j in range(i):
            both = (flat[:, i] * flat[:, j]).mean().item()
            assert both == pytest.approx(0.0025, abs=5 * (0.0025 / flat.shape[0]) ** 0.5)


def test_dropout_mask_knows_the_extremes() -> None:
    x = torch.empty(7, 3)
    assert dropout_mask(x, 1e-9)[0].all()
    assert not dropout_mask(x, 1 - 1e-5)[0].all()


def test_a_thread_draws_from_the_generator_it_is_told_to_and_from_no_other() -> None:
    x = torch.empty(9, 8)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with dropout_from(torch.Generator().manual_seed(12)):
        named = [dropout_mask(x, 0.5)[0] for _ in range(2)]
        with ThreadPoolExecutor(1) as pool:
            elsewhere = pool.submit(lambda: dropout_mask(x, 0.5)[0]).result()
    torch.set_rng_state(before)
    assert torch.equal(elsewhere, dropout_mask(x, 0.5)[0])  # the default generator's first draw
    assert not torch.equal(named[0], elsewhere)
    with dropout_from(torch.Generator().manual_seed(12)):
        assert [torch.equal(dropout_mask(x, 0.5)[0], mask) for mask in named] == [True, True]
