"""Packs side by side compute what they compute one after the other, whichever thread is faster."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from mulmed.prompts import Example
from mulmed.recipe import Lora
from mulmed.training.attention import use_packed_attention
from mulmed.training.log import LOG
from mulmed.training.loop import OUTCOME, RUN
from mulmed.training.lora import CONFIG, WEIGHTS, add_adapters, trainable
from mulmed.training.model import Placement, load_model
from mulmed.training.packing import packs_of
from mulmed.training.step import accumulate
from mulmed.training.threads import accumulate_side_by_side, side_by_side
from tests.training.small import SETTINGS, Stopped, fine_tune

CPU = torch.device("cpu")


@pytest.fixture
def two_cores() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def gradients(
    tiny: Path,
    examples: list[Example],
    dtype: torch.dtype,
    dropout: float,
    threads: int | None,
    scale: float = 1,
) -> torch.Tensor:
    """Loss and gradient of a batch in four packs, one after the other or on so many threads."""
    model = load_model(tiny, Placement(CPU, dtype, "cpu"))
    use_packed_attention(model)
    add_adapters(model, Lora(dropout=dropout, dora=True), seed=1)
    model.to(dtype).train()
    generator = torch.Generator().manual_seed(2)
    for p in trainable(model).values():
        p.data.add_(torch.randn(p.shape, generator=generator) * 0.1)
    packs = packs_of(examples, 400, side_by_side=2)
    assert len(packs) == 4
    torch.manual_seed(9)
    if threads is None:
        loss = accumulate(model, packs, 77, scale)
    else:
        torch.set_num_threads(threads)  # a core each: products on several have sums of their own
        loss = accumulate_side_by_side(model, packs, 77, threads, scale)
        assert torch.get_num_threads() == threads
    found = [p.grad.flatten() for p in trainable(model).values() if p.grad is not None]
    assert len(found) == len(trainable(model))
    return torch.cat([loss.reshape(1), *found])


@pytest.mark.usefixtures("two_cores")
def test_they_are_the_packs_one_after_the_other(tiny: Path, examples: list[Example]) -> None:
    alone = gradients(tiny, examples, torch.float64, 0.0, None)
    together = gradients(tiny, examples, torch.float64, 0.0, 2)
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-13)
    # A scale on the loss is undone to the last bit: it is a power of two.
    assert torch.equal(gradients(tiny, examples, torch.float64, 0.0, None, 2.0**16), alone)
    assert torch.equal(gradients(tiny, examples, torch.float64, 0.0, 2, 2.0**16), together)


@pytest.mark.usefixtures("two_cores")
def test_the_number_of_threads_changes_no_bit(tiny: Path, examples: list[Example]) -> None:
    one, two, three = (gradients(tiny, examples, torch.float32, 0.3, threads) for threads in (1, 2, 3))
    assert torch.equal(one, two)
    assert torch.equal(one, three)
    assert not torch.equal(one, gradients(tiny, examples, torch.float32, 0.0, 2))


@pytest.mark.parametrize(
    ("cores", "capacity", "count"),
    [(2, 1024, 2), (2, 1023, 1), (1, 4096, 1), (8, 2048, 4), (3, 9999, 3), (2, 9, 1)],
)
def test_each_thread_has_enough_to_do(cores: int, capacity: int, count: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        assert side_by_side(CPU, capacity) == count
        assert side_by_side(torch.device("cuda"), capacity) == 1
    finally:
        torch.set_num_threads(before)


def test_a_run_on_two_cores_resumes_in_the_same_bytes(taught: Path, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"micro_batch_tokens": 1024, "batch": 4, "validate_every": 3})
    fine_tune(taught, tmp_path / "whole", settings, threads=2)
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path / "parts", settings, stop_at=7, threads=2)
    fine_tune(taught, tmp_path / "parts", settings, threads=2)
    assert json.loads((tmp_path / "parts" / RUN).read_text())["resumed_at"] == 6
    for name in (WEIGHTS, CONFIG, LOG, OUTCOME):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
