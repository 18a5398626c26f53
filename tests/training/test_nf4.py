"""A base in 4 bits: the published levels, a loss near the exact one, adapters that train on it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Lora, Step
from mulmed.training.loop import train
from mulmed.training.lora import trainable
from mulmed.training.loss import pack_loss
from mulmed.training.model import load_model, use_packed_loss
from mulmed.training.nf4 import quantize_base_nf4
from mulmed.training.packing import packs_of
from tests.training.small import CPU, adapted

pytestmark = pytest.mark.usefixtures("single_thread")
#: The 16 values of NormalFloat4 (Dettmers et al. 2023, appendix E), the larger half of them.
LEVELS = [0.0796, 0.1609, 0.2461, 0.3379, 0.4407, 0.5626, 0.7230, 1.0]
bitsandbytes = pytest.importorskip("bitsandbytes", reason="the extra qlora is not installed")


def test_weights_are_rounded_to_the_published_levels() -> None:
    class Model(torch.nn.Module):
        dtype = torch.float32

        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(64, 32)
            self.head = torch.nn.Linear(64, 8, bias=False)

        def get_output_embeddings(self) -> torch.nn.Linear:
            return self.head

    torch.manual_seed(1)
    model = Model().requires_grad_(False)
    weight, bias = model.inner.weight.clone(), model.inner.bias.clone()
    head = model.head.weight.clone()
    quantize_base_nf4(model, torch.device("cpu"))
    assert model.inner.weight.dtype == torch.uint8
    assert model.inner.weight.numel() == 64 * 32 // 2
    assert torch.equal(model.head.weight, head)
    rounded = model.inner(torch.eye(64)).T - bias[:, None]
    scale = weight.abs().amax(1, keepdim=True)  # a row is one block of 64
    relative = rounded / scale
    positive = relative[relative > 0.04]
    assert (positive[:, None] - torch.tensor(LEVELS)).abs().amin(1).max() < 0.02  # scales are of 8 bits
    assert (rounded - weight).abs().max() < 0.18 * scale.max()  # half the widest gap, -1 to -0.696


def loss_and_gradient(model: Any, examples: list[Example]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    (pack,) = packs_of(examples[:2], 4096)
    loss = pack_loss(model, pack)
    loss.backward()
    return loss.item(), torch.cat([p.grad.flatten() for p in trainable(model).values() if p.grad is not None])


@pytest.mark.model
def test_a_real_model_computes_as_with_the_rounded_weights_themselves(
    smollm: Path, examples: list[Example]
) -> None:
    model = load_model(smollm, CPU)
    use_packed_loss(model, examples[:2])
    adapted(model)
    exact, _ = loss_and_gradient(model, examples)
    quantize_base_nf4(model, torch.device("cpu"))
    loss, gradient = loss_and_gradient(model, examples)
    for parent in list(model.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, bitsandbytes.nn.Linear4bit):
                weight = layer.weight
                plain = torch.nn.Linear(layer.in_features, layer.out_features, bias=False)
                rounded = bitsandbytes.functional.dequantize_4bit(weight.data, weight.quant_state)
                plain.weight = torch.nn.Parameter(rounded.float(), requires_grad=False)
                setattr(parent, name, plain)
    expected, expected_gradient = loss_and_gradient(model, examples)
    assert loss == pytest.approx(expected, rel=1e-5)
    assert (gradient - expected_gradient).norm() < 1e-4 * expected_gradient.norm()
    # What the rounding itself costs this small model, untrained on it.
    assert 1.001 < loss / exact < 1.25


@pytest.mark.parametrize("width", [64, 48])
def test_what_is_only_asked_in_between_changes_no_gradient(width: int) -> None:
    """A validation between two steps: some CPUs have kernels for it that would keep the weights in another form."""

    class Model(torch.nn.Module):
        dtype = torch.float32

        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(64, width)

        def get_output_embeddings(self) -> None:
            return None

    torch.manual_seed(2)
    model = Model().requires_grad_(False)
    quantize_base_nf4(model, torch.device("cpu"))
    x = torch.randn(5, 64, requires_grad=True)
    (before,) = torch.autograd.grad(model.inner(x).square().sum(), x)
    model.eval()
    with torch.no_grad():
        model.inner(x.detach())
    model.train()
    (after,) = torch.autograd.grad(model.inner(x).square().sum(), x)
    assert torch.equal(before, after)


def test_a_step_trains_on_it(tiny: Path, examples: list[Example], tmp_path: Path) -> None:
    settings = Step(
        parent="base",
        sources=("t",),
        epochs=4,
        batch=3,
        learning_rate=5e-2,
        lora=Lora(r=4),
        base_precision="nf4",
    )
    train(tiny, examples, examples, settings, tmp_path, seed=1, base_name="t", progress=lambda *_: None)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert losses[-1] < losses[0] - 0.05


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes.nn", None)
    with pytest.raises(MulmedError, match="not installed") as caught:
        quantize_base_nf4(torch.nn.Linear(2, 2), torch.device("cpu"))
    assert caught.value.remedy == "pip install 'mulmed[qlora]'"


def test_dora_needs_the_weights_themselves() -> None:
    with pytest.raises(ValueError, match="own weights"):
        Step(parent="base", sources=("a",), base_precision="nf4", lora=Lora(dora=True))
