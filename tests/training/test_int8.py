"""A base in 8 bits: exact products of whole numbers, and a loss that stays where float32 puts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mulmed.prompts import Renderer, load_template
from mulmed.recipe import Lora, Step
from mulmed.training.fused import fuse_norms
from mulmed.training.int8 import (
    OUTLIERS,
    Int8Linear,
    outlier_channels,
    products_are_exact,
    quantize_base,
    quantize_rows,
)
from mulmed.training.lora import add_adapters, trainable
from mulmed.training.loss import pack_loss
from mulmed.training.model import Placement, load_model, use_packed_loss
from mulmed.training.packing import packs_of
from tests.conftest import TEXTS, make_record

CPU = Placement(torch.device("cpu"), torch.float32, "cpu")
needs_vnni = pytest.mark.skipif(
    not products_are_exact(torch.device("cpu")), reason="this CPU's 8-bit products are not exact (no VNNI)"
)


@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32), min_size=5, max_size=5),
        min_size=1,
        max_size=4,
    )
)
def test_rounding_is_at_most_half_a_step(rows: list[list[float]]) -> None:
    x = torch.tensor(rows)
    rounded, step = quantize_rows(x)
    assert rounded.dtype == torch.int8
    assert ((rounded * step - x).abs() <= 0.5001 * step + 1e-30).all()
    largest = x.abs().amax(-1)
    assert (rounded.abs().amax(-1)[largest > 1e-30] == 127).all()


@needs_vnni
def test_whole_numbers_are_multiplied_exactly() -> None:
    """Weights and activations that already are multiples of a step lose nothing, either way."""
    torch.manual_seed(1)
    base = torch.nn.Linear(300, 200)
    with torch.no_grad():
        base.weight.copy_(torch.randint(-126, 127, (200, 300)))
        base.weight[0] = 127  # every input channel's largest, so that all are levelled alike
        base.weight[:, 7] = 127  # so that the step is that level
        base.bias.round_()  # sums of whole numbers are exact in any order
    x = torch.randint(-126, 127, (9, 300)).float()
    x[:, : OUTLIERS + 1] = 127 * torch.tensor([1.0, -1.0, 1, -1, 1, 1, 1, -1, 1])[:, None]
    x.requires_grad_()
    layer = Int8Linear(base)
    assert torch.equal(layer.weight_OD, base.weight.to(torch.int8))
    assert (layer(x) - base(x)).abs().max() < 1e-6 * base(x).abs().max()


def weights(layer: Int8Linear) -> torch.Tensor:
    """What the layer's whole numbers stand for."""
    return layer.weight_OD * layer.scale_O[:, None] * layer.level_D


def test_weights_of_one_large_input_channel_do_not_spoil_the_others() -> None:
    torch.manual_seed(5)
    base = torch.nn.Linear(96, 64, bias=False)
    with torch.no_grad():
        base.weight[:, 5] *= 100
    small = [c for c in range(96) if c != 5]
    error = (weights(Int8Linear(base)) - base.weight)[:, small].norm()
    plain, step = quantize_rows(base.weight.detach())
    assert error < 0.3 * (plain * step - base.weight)[:, small].norm()


@needs_vnni
def test_channels_that_stick_out_do_not_spoil_the_others() -> None:
    torch.manual_seed(2)
    base = torch.nn.Linear(256, 64, bias=False)
    x = torch.randn(20, 256)
    x[:, [3, 200]] *= 1000
    chosen = outlier_channels(x)
    assert chosen is not None
    assert {3, 200} <= set(chosen.tolist())
    assert len(chosen) == OUTLIERS
    layer = Int8Linear(base)
    ours = layer(x)
    small = x.clone()
    small[:, [3, 200]] = 0
    exact = x @ weights(layer).t()  # only the activations' rounding is left
    error = (ours - exact).norm() / (small @ base.weight.t()).norm()
    assert error < 0.01  # rounded together with the two large channels it would be near 1


@needs_vnni
def test_gradient_is_that_of_the_rounded_weights() -> None:
    torch.manual_seed(3)
    base = torch.nn.Linear(96, 128, bias=False)
    layer = Int8Linear(base)
    x = torch.randn(2, 5, 96, requires_grad=True)
    grad = torch.randn(2, 5, 128)
    layer(x).backward(grad)
    expected = grad @ weights(layer)
    assert x.grad is not None
    assert (x.grad - expected).norm() / expected.norm() < 0.01


@needs_vnni
@pytest.mark.model
@pytest.mark.parametrize("name", ["smollm", "gemma"])
def test_loss_of_real_models_stays_within_a_percent(request: pytest.FixtureRequest, name: str) -> None:
    folder = request.getfixturevalue(name)
    renderer = Renderer(request.getfixturevalue(f"{name}_tokenizer"), load_template("alpaca"))
    examples = [renderer.example(make_record(i, *text)) for i, text in enumerate(TEXTS)]
    model = load_model(folder, CPU)
    use_packed_loss(model, examples[:2])
    fuse_norms(model)
    add_adapters(model, Lora(dropout=0), seed=1)
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for path, parameter in trainable(model).items():
            if "lora_B" in path:
                parameter.normal_(0, 0.01, generator=generator)
    results = []
    for _ in range(2):
        model.zero_grad()
        loss = 0.0
        for pack in packs_of(examples, 1024):
            part = pack_loss(model, pack)
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
        gradient = torch.cat([p.grad.flatten() for p in trainable(model).values() if p.grad is not None])
        results.append((loss, gradient))
        quantize_base(model)
    (exact, exact_gradient), (rounded, rounded_gradient) = results
    assert not any(type(m) is torch.nn.Linear for p, m in model.named_modules() if "lm_head" not in p)
    assert rounded != exact
    assert abs(rounded / exact - 1) < 0.01
    assert torch.nn.functional.cosine_similarity(exact_gradient, rounded_gradient, dim=0) > 0.97


def test_a_machine_whose_products_saturate_is_refused(tiny: Path) -> None:
    """oneDNN held to older instructions clips sums of products: what a CPU without VNNI does."""
    code = (
        "import sys, torch; from pathlib import Path; from mulmed.training.model import *\n"
        "from mulmed.training.int8 import quantize_base\n"
        "from mulmed.errors import MulmedError\n"
        "model = load_model(Path(sys.argv[1]), Placement(torch.device('cpu'), torch.float32, 'cpu'))\n"
        "try: quantize_base(model)\n"
        "except MulmedError as error: print(error.remedy)\n"
        "print(type(model.model.layers[0].mlp.up_proj).__name__)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tiny)],
        env={**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX2"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout == ("It needs a CPU with VNNI instructions. Leave base_precision out.\nLinear\n"), (
        run.stderr
    )


def test_dora_on_it_is_refused_by_the_recipe() -> None:
    with pytest.raises(ValueError, match="the base's own weights"):
        Step(parent="base", sources=("a",), base_precision="int8", lora=Lora(dora=True))


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_beside_it_is_refused_by_the_recipe(precision: str) -> None:
    with pytest.raises(ValueError, match="beside float32"):
        Step.model_validate(
            {"parent": "base", "sources": ["a"], "base_precision": "int8", "precision": precision}
        )
