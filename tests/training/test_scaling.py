"""Training in float16: as float32 has it, and an overflow costs a smaller scale, not the run."""

from __future__ import annotations

import functools
import itertools
import json
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mulmed.errors import MulmedError
from mulmed.training import loop
from mulmed.training.checkpoint import FOLDER
from mulmed.training.failure import FAILURE
from mulmed.training.log import LOG
from mulmed.training.loop import OUTCOME, RUN
from mulmed.training.lora import WEIGHTS
from mulmed.training.scaling import LossScale
from tests.training.small import SETTINGS, STEPS, Stopped, batch_of, fine_tune, rows, saved_state, spoil

pytestmark = pytest.mark.usefixtures("single_thread")
HALF = SETTINGS.model_copy(update={"precision": "float16"})


def test_the_scale_follows_torchs_own_rule() -> None:
    ours = LossScale(value=2.0**10, interval=3)
    theirs = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=3)
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1)
    seen = set()
    for finite in random.Random(0).choices([True, False], [4, 1], k=80):
        theirs.scale(torch.ones(()))
        parameter.grad = torch.tensor([1.0 if finite else torch.inf])
        theirs.step(optimizer)
        theirs.update()
        ours.adapt(finite)
        assert (ours.value, ours.steady) == (theirs.get_scale(), theirs.state_dict()["_growth_tracker"])
        seen.add(ours.value)
    assert len(seen) > 3


def test_it_learns_what_float32_learns(taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a scale at which no gradient of this model overflows; the next test is about those that do."""
    monkeypatch.setattr(loop, "LossScale", functools.partial(LossScale, value=2.0**12))
    fine_tune(taught, tmp_path / "half", HALF)
    fine_tune(taught, tmp_path / "full", SETTINGS)
    run = json.loads((tmp_path / "half" / RUN).read_text())
    assert (run["precision"], run["precision_reason"]) == ("float16", "the recipe asks for it")
    assert run["skipped_steps"] == 0
    pairs = list(zip(rows(tmp_path / "half"), rows(tmp_path / "full"), strict=True))
    for half, full in pairs:
        for key in {"loss", "validation_loss"} & full.keys():
            assert half[key] == pytest.approx(full[key], rel=0.01)
    assert {half["loss_scale"] for half, _ in pairs if "loss" in half} == {2.0**12}
    assert not any("loss_scale" in full for _, full in pairs)
    ours, theirs = load_file(tmp_path / "half" / WEIGHTS), load_file(tmp_path / "full" / WEIGHTS)
    assert {t.dtype for t in ours.values()} == {torch.float32}
    assert ours.keys() == theirs.keys()
    ours_, theirs_ = (torch.cat([t.flatten() for t in found.values()]) for found in (ours, theirs))
    assert torch.cosine_similarity(ours_, theirs_, dim=0) > 0.99


def test_an_overflow_costs_a_step_and_a_killed_run_knows_of_it(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale begins too large and is tried larger after two updates: steps are left out before and after the kill."""
    monkeypatch.setattr(loop, "LossScale", functools.partial(LossScale, value=2.0**19, interval=2))
    fine_tune(taught, tmp_path / "whole", HALF)
    log = [row for row in rows(tmp_path / "whole") if "loss" in row]
    skipped = [row["step"] for row in log if row["grad_norm"] is None]
    assert skipped[:2] == [1, 2]
    assert any(step > 7 for step in skipped)
    assert len(skipped) <= STEPS - 5
    for row, following in itertools.pairwise(log):
        if row["step"] in skipped:
            assert following["loss_scale"] == row["loss_scale"] / 2
    assert json.loads((tmp_path / "whole" / RUN).read_text())["skipped_steps"] == len(skipped)
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path / "parts", HALF, stop_at=3)
    nothing = saved_state(taught, tmp_path / "parts")
    assert (nothing.step, nothing.updates) == (2, 0)
    assert not any(p.any() for name, p in nothing.parameters.items() if "lora_B" in name)
    assert not any(m["exp_avg_sq"].any() for m in nothing.optimizer.state.values())
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path / "parts", HALF, stop_at=7)
    fine_tune(taught, tmp_path / "parts", HALF)
    run = json.loads((tmp_path / "parts" / RUN).read_text())
    assert (run["resumed_at"], run["skipped_steps"]) == (6, len(skipped))
    for name in (WEIGHTS, LOG, OUTCOME):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_gradient_that_no_scale_mends_stops_the_run(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def huge(name: str, p: torch.Tensor) -> None:
        if "lora_A" in name:
            p.fill_(1e30)

    spoil(taught, tmp_path, huge)
    monkeypatch.setattr(loop, "LossScale", functools.partial(LossScale, value=4.0))
    with pytest.raises(MulmedError, match="The gradient is no longer finite at optimizer step 7 of 15"):
        fine_tune(taught, tmp_path, HALF)  # 5 by a scale of 4, 6 by one of 2
    assert json.loads((tmp_path / FOLDER / FAILURE).read_text())["records"] == [
        f"t:{i}:0" for i in batch_of(7)
    ]
    assert not (tmp_path / WEIGHTS).exists()


def test_a_run_without_any_update_is_no_run(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "LossScale", functools.partial(LossScale, value=2.0**80))
    with pytest.raises(MulmedError, match="The gradient is no longer finite at optimizer step 3 of 3"):
        fine_tune(taught, tmp_path, HALF.model_copy(update={"epochs": 1}))
    assert not (tmp_path / WEIGHTS).exists()
