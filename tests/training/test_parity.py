"""Our packed loop computes what transformers + peft compute on padded single examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM

from mulmed.prompts import Example
from mulmed.recipe import Lora
from mulmed.training.attention import use_packed_attention
from mulmed.training.lora import add_adapters, save_adapter, trainable
from mulmed.training.loss import pack_loss
from mulmed.training.model import Placement, load_model
from mulmed.training.packing import packs_of
from tests.conftest import TEXTS, make_record

CPU = Placement(torch.device("cpu"), torch.float32, "cpu")
SETTINGS = Lora(dropout=0.0)


def peft_loss_and_gradients(
    folder: Path, adapter: Path, examples: list[Example], dtype: torch.dtype, pad: int = 64
) -> tuple[float, dict[str, torch.Tensor]]:
    """The oracle: each example alone, padded on the right, loss summed and divided once."""
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="sdpa")
    model = peft.PeftModel.from_pretrained(base, adapter, is_trainable=True)
    model.train()
    assert next(p for p in model.parameters() if p.requires_grad).dtype == dtype
    total = sum(e.targets for e in examples)
    loss_sum = 0.0
    for e in examples:
        length = max(pad, len(e.ids) + 3)
        ids = torch.zeros(1, length, dtype=torch.long)
        labels = torch.full((1, length), -100)
        mask = torch.zeros(1, length, dtype=torch.long)
        n = len(e.ids)
        ids[0, :n] = torch.tensor(e.ids)
        mask[0, :n] = 1
        learned = torch.tensor(e.mask)
        labels[0, :n][learned] = torch.tensor(e.ids)[learned]
        logits = model(input_ids=ids, attention_mask=mask).logits
        loss = (
            torch.nn.functional.cross_entropy(
                logits[0, :-1], labels[0, 1:], ignore_index=-100, reduction="sum"
            )
            / total
        )
        loss.backward()
        loss_sum += loss.item()
    gradients = {
        name.replace(".default", "").replace("vector.weight", "vector"): p.grad
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    return loss_sum, gradients


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm().clamp_min(1e-12))


VARIANTS = {
    "LoRA": SETTINGS,
    "rsLoRA": Lora(dropout=0.0, rslora=True),
    "DoRA": Lora(dropout=0.0, dora=True, targets=("q_proj", "down_proj")),
    "both": Lora(dropout=0.0, dora=True, rslora=True),
}


@pytest.mark.model
@pytest.mark.parametrize(
    ("name", "dtype", "tolerance", "variant"),
    # In float64 only rounding of 1e-16 is left: any difference would be an error of ours.
    [
        ("smollm", torch.float32, 1e-4, "LoRA"),
        ("small_gemma", torch.float64, 1e-9, "LoRA"),
        *(("tiny", torch.float64, 1e-9, variant) for variant in VARIANTS),
    ],
)
def test_loss_and_gradients_equal_peft(
    request: pytest.FixtureRequest,
    name: str,
    dtype: torch.dtype,
    tolerance: float,
    variant: str,
    tmp_path: Path,
) -> None:
    folder, renderer = request.getfixturevalue(name), request.getfixturevalue("renderer")
    times = 1
    if name == "small_gemma":  # in whose window our examples fit otherwise
        folder, renderer, times = folder.converted, folder.renderer, 4
    settings = VARIANTS[variant]
    examples = [
        renderer.example(make_record(i, task, language, tuple(text * times for text in texts)))
        for i, (task, language, texts) in enumerate(TEXTS)
    ]
    model = load_model(folder, Placement(torch.device("cpu"), dtype, "cpu"))
    if name == "small_gemma":
        assert model.config.sliding_window < max(len(e.ids) for e in examples)
    use_packed_attention(model)
    add_adapters(model, settings, seed=1)
    model.to(dtype)
    with torch.no_grad():  # B = 0 would make A's gradients zero and hide errors
        for key, p in trainable(model).items():
            if "lora_B" in key:
                p.copy_(torch.randn(p.shape, generator=torch.Generator().manual_seed(len(key))) * 0.02)
            elif "magnitude" in key:  # else the gain would be nearly 1 everywhere
                p.mul_(torch.linspace(0.5, 2, len(p)))
    save_adapter(model, settings, "base", tmp_path)
    total = sum(e.targets for e in examples)
    packs = packs_of(examples, 200)
    assert any(len(p.lengths) > 1 for p in packs)
    loss = 0.0
    for pack in packs:
        part = pack_loss(model, pack) / total
        part.backward()
        loss += part.item()
    expected_loss, expected = peft_loss_and_gradients(folder, tmp_path, examples, dtype)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    ours = trainable(model)
    assert ours.keys() == expected.keys()
    got = torch.cat([p.grad.flatten() for p in ours.values() if p.grad is not None])
    want = torch.cat([expected[key].flatten() for key in ours])
    assert relative(got, want) < tolerance


def test_a_neighbour_in_the_pack_changes_nothing(tiny: Path, examples: list[Example]) -> None:
    model = load_model(tiny, CPU)
    use_packed_attention(model)
    with torch.no_grad():
        alone = [pack_loss(model, packs_of([e], 4096)[0]).item() for e in examples]
        together = packs_of(examples, 4096)
        assert len(together) == 1
        assert pack_loss(model, together[0]).item() == pytest.approx(sum(alone), rel=1e-5)


def test_sliding_window_layers_see_no_further_than_their_window() -> None:
    from mulmed.training.attention import packed_attention

    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 2, 12, 8) for _ in range(3))
    out, _ = packed_attention(torch.nn.Identity(), q, k, v, None, sliding_window=4, lengths=(7, 5))
    i = torch.arange(12)
    document = torch.tensor([0] * 7 + [1] * 5)
    distance = i[:, None] - i[None, :]
    mask = (document[:, None] == document[None, :]) & (distance >= 0) & (distance < 4)
    scores = (q @ k.transpose(-1, -2)) / 8**0.5
    plain = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ v
    torch.testing.assert_close(out, plain.transpose(1, 2))


@pytest.mark.parametrize("variant", VARIANTS)
def test_adapter_file_loads_into_peft_with_equal_logits(
    tiny: Path, examples: list[Example], tmp_path: Path, variant: str
) -> None:
    settings = VARIANTS[variant]
    model: Any = load_model(tiny, CPU)
    add_adapters(model, settings, seed=3)
    with torch.no_grad():
        for p in trainable(model).values():
            p.copy_(torch.randn(p.shape) * 0.1)
    model.eval()
    save_adapter(model, settings, str(tiny), tmp_path)
    config = peft.LoraConfig.from_pretrained(tmp_path)
    assert (config.use_rslora, config.use_dora) == (settings.rslora, settings.dora)
    theirs = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny), tmp_path).eval()
    ids = torch.tensor([examples[0].ids])
    with torch.no_grad():
        torch.testing.assert_close(model(ids).logits, theirs(input_ids=ids).logits, rtol=1e-5, atol=1e-5)
