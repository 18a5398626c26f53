"""Adapters: they start as peft's do, change nothing before training, and come back from their file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import peft
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Lora
from mulmed.training.fused import dropped_elements, without
from mulmed.training.lora import (
    CONFIG,
    WEIGHTS,
    adapters,
    add_adapters,
    load_adapter,
    save_adapter,
    trainable,
)
from mulmed.training.model import Placement, load_model

pytestmark = pytest.mark.usefixtures("single_thread")
CPU = Placement(torch.device("cpu"), torch.float32, "cpu")


def randomize(model: torch.nn.Module, seed: int = 7) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in trainable(model).values():
            p.copy_(torch.randn(p.shape, generator=generator) * 0.2)


@pytest.mark.parametrize("dora", [False, True])
def test_start_is_pefts(tiny: Path, dora: bool) -> None:
    """A: uniform within ±1/sqrt(inputs), the bound of peft's Kaiming initialization; B: zeros."""
    model = load_model(tiny, CPU)
    add_adapters(model, Lora(r=16, dora=dora), seed=1)
    torch.manual_seed(1)
    theirs = peft.get_peft_model(
        AutoModelForCausalLM.from_pretrained(tiny),
        peft.LoraConfig(r=16, lora_alpha=16, target_modules=["q_proj", "k_proj", "v_proj"], use_dora=dora),
    )
    expected = {
        k.replace(".default", "").replace("vector.weight", "vector"): p
        for k, p in theirs.named_parameters()
        if p.requires_grad
    }
    ours = trainable(model)
    assert {k: p.shape for k, p in ours.items()} == {k: p.shape for k, p in expected.items()}
    bound = 1 / math.sqrt(48)
    for parameters in (ours, expected):
        a = torch.cat([p.detach().flatten() for k, p in parameters.items() if "lora_A" in k])
        assert 0.98 * bound < a.abs().max() <= bound
        assert a.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.03)
        assert abs(a.mean().item()) < 0.05 * bound
        assert all(not p.any() for k, p in parameters.items() if "lora_B" in k)
    first, second = (p for k, p in ours.items() if "q_proj.lora_A" in k)
    assert not torch.equal(first, second)
    norms = [k for k in ours if "magnitude" in k]
    assert len(norms) == (6 if dora else 0)
    for key in norms:
        torch.testing.assert_close(ours[key], expected[key])


@pytest.mark.parametrize("dora", [False, True])
def test_a_fresh_adapter_changes_nothing_and_its_seed_decides_it(
    tiny: Path, examples: list[Example], dora: bool
) -> None:
    ids = torch.tensor([examples[0].ids])
    plain = load_model(tiny, CPU).eval()
    drawn = []
    with torch.no_grad():
        before = plain(ids).logits
        for seed in (1, 1, 2):
            model = load_model(tiny, CPU).eval()
            add_adapters(model, Lora(dora=dora), seed)
            assert torch.equal(model(ids).logits, before)
            drawn.append(torch.cat([p.flatten() for p in trainable(model).values()]))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_only_the_adapter_learns(tiny: Path) -> None:
    model = load_model(tiny, CPU)
    add_adapters(model, Lora(r=4, targets=("q_proj", "down_proj")), seed=1)
    assert {id(p) for p in model.parameters() if p.requires_grad} == {
        id(p) for p in trainable(model).values()
    }
    # two layers of: q 4x48 + 48x4, down 4x96 + 48x4
    assert sum(p.numel() for p in trainable(model).values()) == 2 * (4 * 48 + 48 * 4 + 4 * 96 + 48 * 4)


def test_update_is_scaled_by_alpha_over_r() -> None:
    model = torch.nn.Sequential()
    model.add_module("q_proj", torch.nn.Linear(2, 2, bias=False))
    add_adapters(model, Lora(r=4, alpha=8, dropout=0, targets=("q_proj",)), seed=1)
    (layer,) = adapters(model).values()
    with torch.no_grad():
        layer.base.weight.copy_(torch.eye(2))
        layer.lora_A.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [0.0, 3.0]]))
        layer.lora_B.copy_(torch.tensor([[0.0, 0.0, 0.0, 1.0], [5.0, 0.0, 0.0, 0.0]]))
    # B A = [[0, 3], [5, 0]], times 8 / 4
    torch.testing.assert_close(layer.delta(), torch.tensor([[0.0, 6.0], [10.0, 0.0]]))
    torch.testing.assert_close(layer(torch.tensor([[1.0, 2.0]])), torch.tensor([[13.0, 12.0]]))


def test_rslora_scales_by_alpha_over_the_root_of_r() -> None:
    model = torch.nn.Sequential()
    model.add_module("q_proj", torch.nn.Linear(3, 5, bias=False))
    add_adapters(model, Lora(r=16, alpha=8, targets=("q_proj",), rslora=True), seed=1)
    (layer,) = adapters(model).values()
    randomize(model)
    torch.testing.assert_close(layer.delta(), 2 * layer.lora_B @ layer.lora_A)


def test_dora_gives_each_output_the_norm_that_was_learned() -> None:
    model = torch.nn.Sequential()
    model.add_module("q_proj", torch.nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model.q_proj.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 2.0]]))
    add_adapters(model, Lora(r=1, alpha=2, dropout=0, targets=("q_proj",), dora=True), seed=1)
    (layer,) = adapters(model).values()
    assert layer.lora_magnitude_vector is not None
    assert layer.lora_magnitude_vector.tolist() == [3, 2]
    with torch.no_grad():
        layer.lora_A.copy_(torch.tensor([[0.0, 1.0]]))
        layer.lora_B.copy_(torch.tensor([[2.0], [0.0]]))
        layer.lora_magnitude_vector.copy_(torch.tensor([10.0, 7.0]))
    # W + 2 B A = [[3, 4], [0, 2]], rows of norm 5 and 2, which become 10 and 7
    expected = torch.tensor([[6.0, 8.0], [0.0, 7.0]])
    torch.testing.assert_close(layer.folded(), expected)
    x = torch.tensor([[1.0, -2.0]])
    torch.testing.assert_close(layer(x), x @ expected.T)
    torch.testing.assert_close(layer.plain(x, 0.0), x @ expected.T)


@pytest.mark.parametrize("bias", [False, True])
def test_dora_drops_out_what_peft_drops_out(bias: bool) -> None:
    """peft's layer with our mask in place of its own: the same output and gradients, by both our paths."""
    torch.manual_seed(5)
    base = torch.nn.Linear(24, 10, bias=bias).double()
    frozen = torch.nn.Sequential()
    frozen.add_module("q_proj", base)
    frozen.train()
    add_adapters(frozen, Lora(r=3, alpha=5, dropout=0.4, targets=("q_proj",), dora=True), seed=1)
    frozen.double()
    randomize(frozen)
    (ours,) = adapters(frozen).values()
    settings = peft.LoraConfig(r=3, lora_alpha=5, lora_dropout=0.4, target_modules=["q_proj"], use_dora=True)
    layer = peft.tuners.lora.Linear(base, "default", settings, r=3, lora_alpha=5, use_dora=True).double()
    with torch.no_grad():
        layer.lora_A["default"].weight.copy_(ours.lora_A)
        layer.lora_B["default"].weight.copy_(ours.lora_B)
        layer.lora_magnitude_vector["default"].weight.copy_(ours.lora_magnitude_vector)
    x = torch.randn(7, 24, dtype=torch.float64, requires_grad=True)
    target = torch.randn(7, 10, dtype=torch.float64)
    torch.manual_seed(11)
    places = dropped_elements(x.numel(), 0.4)

    class OurMask(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return without(x, places) / (1 - 0.4)

    layer.lora_dropout["default"] = OurMask()
    layer.train()

    def gradients(out: torch.Tensor, parameters: list[torch.Tensor]) -> list[torch.Tensor]:
        return [out, *torch.autograd.grad((out * target).sum(), [x, *parameters])]

    wanted = gradients(
        layer(x),
        [
            layer.lora_A["default"].weight,
            layer.lora_B["default"].weight,
            layer.lora_magnitude_vector["default"].weight,
        ],
    )
    for path in (ours, lambda x: ours.plain(x, 0.4)):
        torch.manual_seed(11)
        got = gradients(path(x), [ours.lora_A, ours.lora_B, ours.lora_magnitude_vector])
        torch.testing.assert_close(got, wanted)


def test_dropout_acts_on_the_update_only_and_only_in_training() -> None:
    model = torch.nn.Sequential()
    model.add_module("q_proj", torch.nn.Linear(64, 64, bias=False))
    add_adapters(model, Lora(dropout=0.5, targets=("q_proj",)), seed=1)
    x = torch.randn(1, 64)
    (layer,) = adapters(model).values()
    model.train()
    assert torch.equal(layer(x), layer.base(x))  # B is zero: the frozen path must not be dropped out
    randomize(model)
    assert not torch.equal(layer(x), layer(x))
    model.eval()
    assert torch.equal(layer(x), layer(x))


@pytest.mark.parametrize(
    ("kind", "scale"), [({}, 11 / 5), ({"rslora": True}, 11 / 5**0.5), ({"dora": True}, 11 / 5)]
)
def test_an_adapter_comes_back_from_its_file(
    tiny: Path, examples: list[Example], tmp_path: Path, kind: dict[str, bool], scale: float
) -> None:
    settings = Lora(r=5, alpha=11, dropout=0.25, targets=("v_proj", "o_proj"), **kind)
    model = load_model(tiny, CPU).eval()
    add_adapters(model, settings, seed=3)
    randomize(model)
    save_adapter(model, settings, "some/base", tmp_path)
    again = load_model(tiny, CPU).eval()
    load_adapter(again, tmp_path)
    ids = torch.tensor([examples[1].ids])
    with torch.no_grad():
        assert torch.equal(again(ids).logits, model(ids).logits)
        assert not torch.equal(again(ids).logits, load_model(tiny, CPU).eval()(ids).logits)
    assert {layer.scale for layer in adapters(again).values()} == {scale}
    config = json.loads((tmp_path / CONFIG).read_text())
    assert (config["r"], config["lora_alpha"], config["lora_dropout"]) == (5, 11, 0.25)
    assert config["target_modules"] == ["o_proj", "v_proj"]


def test_a_target_that_does_not_exist_is_told_with_those_that_do(tiny: Path) -> None:
    with pytest.raises(MulmedError) as caught:
        add_adapters(load_model(tiny, CPU), Lora(targets=("q_proj", "query_key_value")), seed=1)
    assert "'query_key_value'" in caught.value.what
    assert caught.value.remedy == "It has: down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj"


def test_the_head_cannot_be_a_target(tiny: Path) -> None:
    # It shares its weight with the embedding, and the loss reads it directly.
    with pytest.raises(MulmedError, match="lm_head") as caught:
        add_adapters(load_model(tiny, CPU), Lora(targets=("lm_head",)), seed=1)
    assert "lm_head" not in caught.value.remedy


def test_another_models_adapter_is_refused(tiny: Path, tmp_path: Path) -> None:
    model = load_model(tiny, CPU)
    add_adapters(model, Lora(), seed=1)
    save_adapter(model, Lora(), "base", tmp_path)
    good = load_file(tmp_path / WEIGHTS)
    first = min(good)

    def refused(tensors: dict[str, torch.Tensor]) -> str:
        save_file(tensors, tmp_path / WEIGHTS)
        with pytest.raises(MulmedError) as caught:
            load_adapter(load_model(tiny, CPU), tmp_path)
        assert caught.value.where == str(tmp_path / WEIGHTS)
        return caught.value.what

    assert "1 tensors differ" in refused({k: v for k, v in good.items() if k != first})
    assert "2 tensors differ" in refused(
        {
            k.replace("layers.0.self_attn.q_proj.lora_A", "layers.9.self_attn.q_proj.lora_A"): v
            for k, v in good.items()
        }
    )
    assert "has shape (8, 47), the model's (8, 48)" in refused(good | {first: torch.zeros(8, 47)})
    # A rank that is not the configuration's would be scaled wrongly.
    assert "has shape (4, 48)" in refused(
        {k: v[:4] if "lora_A" in k else v[:, :4].contiguous() for k, v in good.items()}
    )
