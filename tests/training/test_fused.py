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
from mulmed.training.fused import dropout_from, dropped_elements, fuse_norms, fused_lora, fused_norm
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


def test_every_element_drops_out_as_often_and_on_its_own() -> None:
    torch.manual_seed(8)
    count, p = 1000 * 1003, 0.05
    places = dropped_elements(count, p)
    out = torch.zeros(count, dtype=torch.float64)
    out[places] = 1
    assert out.sum() == len(places)  # no place twice
    rows = out.view(1000, 1003)
    tolerance = 5 * (p * (1 - p) / 1000) ** 0.5
    assert (rows.mean(0) - p).abs().max() < tolerance  # the first and the last as often as any other
    for apart in (1, 2, 3, 1003):
        both = (out[apart:] * out[:-apart]).mean().item()
        assert both == pytest.approx(p * p, abs=5 * (p * p / count) ** 0.5)
    expected = torch.tensor([p * (1 - p) ** k for k in range(40)], dtype=torch.float64)
    gaps = torch.bincount(places.diff() - 1, minlength=40)[:40] / (len(places) - 1)
    assert ((gaps - expected).abs() < 5 * (expected / len(places)) ** 0.5).all()


@pytest.mark.parametrize(("count", "probability"), [(7, 1e-9), (0, 0.5), (1, 0.5)])
def test_hardly_any_element_drops_out(count: int, probability: float) -> None:
    torch.manual_seed(1)
    kinds = {tuple(dropped_elements(count, probability).tolist()) for _ in range(64)}
    assert kinds == ({(), (0,)} if count == 1 else {()})


def test_hardly_any_element_stays() -> None:
    torch.manual_seed(1)
    assert dropped_elements(21, 1 - 1e-9).tolist() == list(range(21))


def test_more_is_drawn_where_the_first_draw_was_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """The places are the same, however many are drawn at a time."""
    torch.manual_seed(2)
    at_once = dropped_elements(5000, 0.3)
    monkeypatch.setattr("math.sqrt", lambda _: -200.0)
    torch.manual_seed(2)
    assert torch.equal(dropped_elements(5000, 0.3), at_once)


def test_a_thread_draws_from_the_generator_it_is_told_to_and_from_no_other() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with dropout_from(torch.Generator().manual_seed(12)):
        named = [dropped_elements(72, 0.5) for _ in range(2)]
        with ThreadPoolExecutor(1) as pool:
            elsewhere = pool.submit(lambda: dropped_elements(72, 0.5)).result()
    torch.set_rng_state(before)
    assert torch.equal(elsewhere, dropped_elements(72, 0.5))  # the default generator's first draw
    assert not torch.equal(named[0], elsewhere)
    with dropout_from(torch.Generator().manual_seed(12)):
        assert [torch.equal(dropped_elements(72, 0.5), mask) for mask in named] == [True, True]
