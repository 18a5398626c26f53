"""What only a GPU computes, against the CPU in float32. Skipped where there is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from mulmed.prompts import Example
from mulmed.training.attention import Backend, use_packed_attention
from mulmed.training.loop import RUN
from mulmed.training.lora import trainable
from mulmed.training.model import Placement, choose_device, compile_blocks, load_model, why_not_compiled
from mulmed.training.packing import packs_of
from mulmed.training.step import accumulate, update
from tests.training.small import CPU, Stopped, adapted, fine_tune, rows

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def gradients(
    base: Path, examples: list[Example], placement: Placement, backend: Backend, compiled: bool
) -> torch.Tensor:
    model = adapted(load_model(base, placement))
    use_packed_attention(model, backend)
    if compiled:
        compile_blocks(model)
    packs = packs_of(examples, 400)
    loss = accumulate(model, packs, sum(e.targets for e in examples))
    found = [p.grad.flatten() for p in trainable(model).values() if p.grad is not None]
    return torch.cat([loss.reshape(1), *found]).float().cpu()


@pytest.mark.parametrize("compiled", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("backend", ["sdpa", "varlen", "flex"])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_every_backend_computes_what_the_cpu_does(
    smollm: Path, examples: list[Example], backend: Backend, compiled: bool, precision: str
) -> None:
    placement = choose_device(precision)
    if (why := why_not_compiled(placement.device)) and (compiled or backend == "flex"):
        pytest.skip(why)
    if backend == "varlen" and precision == "float32":
        pytest.skip("flash attention knows half precision only")
    expected = gradients(smollm, examples, CPU, "sdpa", False)
    found = gradients(smollm, examples, placement, backend, compiled)
    assert found[0] == pytest.approx(expected[0], rel=1e-4 if precision == "float32" else 1e-2)
    cosine = torch.nn.functional.cosine_similarity(found[1:], expected[1:], dim=0)
    assert cosine > (0.9999 if precision == "float32" else 0.99)


def test_nothing_waits_for_the_gpu_within_a_step(smollm: Path, examples: list[Example]) -> None:
    model = adapted(load_model(smollm, choose_device("bfloat16")))
    use_packed_attention(model, "varlen")
    parameters: Any = list(trainable(model).values())
    optimizer = torch.optim.AdamW(parameters, fused=True)
    packs = packs_of(examples, 400)
    for mode in ("default", "error"):
        torch.cuda.set_sync_debug_mode(mode)
        try:
            accumulate(model, packs, 77)
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            update(optimizer, 1e-4)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_a_run_resumes(taught: Path, tmp_path: Path) -> None:
    fine_tune(taught, tmp_path / "whole")
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path / "parts", stop_at=7)
    fine_tune(taught, tmp_path / "parts")
    assert json.loads((tmp_path / "parts" / RUN).read_text())["resumed_at"] == 6
    whole, parts = ([r["loss"] for r in rows(tmp_path / n) if "loss" in r] for n in ("whole", "parts"))
    assert parts == pytest.approx(whole, rel=0.05)  # sums on a GPU have no fixed order
