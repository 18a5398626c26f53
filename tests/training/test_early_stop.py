"""Early stop: the run ends when validation says so, and the adapter that was best is the one that is left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mulmed.errors import MulmedError
from mulmed.recipe import Lora
from mulmed.training.log import LOG
from mulmed.training.loop import OUTCOME, RUN, train
from mulmed.training.lora import CONFIG, WEIGHTS, load_adapter
from mulmed.training.loss import validation_loss
from mulmed.training.model import load_model, use_packed_loss
from tests.training.small import CPU, SETTINGS, Stopped, fine_tune, misled, rows, saved_state

pytestmark = pytest.mark.usefixtures("single_thread")
#: Learning by heart what the validation examples do not say, and looking after every step.
PATIENT = SETTINGS.model_copy(update={"patience": 2, "validate_every": 1, "epochs": 10})


@pytest.fixture(scope="module")
def stopped_early(tmp_path_factory: pytest.TempPathFactory, taught: Path) -> Path:
    out = tmp_path_factory.mktemp("patient")
    fine_tune(taught, out, PATIENT.model_copy(update={"checkpoint_every": 1000}))
    return out


def test_a_run_stops_early_and_keeps_the_best_adapter(stopped_early: Path, taught: Path) -> None:
    losses = {r["step"]: r["validation_loss"] for r in rows(stopped_early) if "validation_loss" in r}
    steps = [step for step in losses if step]  # that before training does not count
    outcome = json.loads((stopped_early / OUTCOME).read_text())
    best = min(steps, key=losses.__getitem__)
    assert outcome["kept"] == best
    assert outcome["after"]["validation_loss"] == losses[best]
    assert outcome["steps"] == steps[-1] == best + 2 < outcome["planned_steps"] == 30
    for i, step in enumerate(steps):  # it could not have stopped before
        lowest = min(range(i + 1), key=lambda k: losses[steps[k]])
        assert (i - lowest >= 2) == (step == steps[-1])
    model = load_model(taught, CPU)
    load_adapter(model, stopped_early)
    examples = misled(taught)
    use_packed_loss(model, examples[:2])
    again = validation_loss(model, [examples[5], examples[0]], 256)["validation_loss"]
    assert again == pytest.approx(losses[best], abs=1e-4)
    assert abs(losses[steps[-1]] - losses[best]) > 1e-3  # so the last adapter would have been told from it


@pytest.mark.parametrize("patience", [1, 1000])
def test_patience_decides_when_not_what(taught: Path, tmp_path: Path, patience: int) -> None:
    settings = PATIENT.model_copy(update={"patience": patience, "epochs": 3})
    fine_tune(taught, tmp_path, settings)
    outcome = json.loads((tmp_path / OUTCOME).read_text())
    losses = {r["step"]: r["validation_loss"] for r in rows(tmp_path) if "validation_loss" in r and r["step"]}
    assert outcome["kept"] == min(losses, key=losses.__getitem__)
    assert patience == 1 or outcome["steps"] == 9


def test_patience_without_validation_examples_is_refused(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(MulmedError, match="no validation example") as caught:
        train(
            taught, misled(taught), [], PATIENT, tmp_path,
            seed=1, base_name="tiny", progress=lambda *_: None,
        )  # fmt: skip
    assert caught.value.where == "patience"


def test_a_checkpoint_keeps_the_best_adapter(taught: Path, tmp_path: Path) -> None:
    settings = PATIENT.model_copy(update={"checkpoint_every": 3, "patience": 1000})
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path, settings, stop_at=7)
    state = saved_state(taught, tmp_path)
    assert state.step == 6
    losses = {
        r["step"]: r["validation_loss"]
        for r in rows(tmp_path)
        if 1 <= r["step"] <= 6 and "validation_loss" in r
    }
    assert state.best is not None
    assert (state.best.step, state.best.loss) == min(losses.items(), key=lambda item: item[1])
    assert state.best.waited == 6 - state.best.step
    same = all(torch.equal(state.best.tensors[name], p) for name, p in state.parameters.items())
    assert same == (state.best.step == 6)


def test_dora_resumes_in_the_same_bytes_with_its_best_adapter(taught: Path, tmp_path: Path) -> None:
    changes = {"lora": Lora(dora=True, rslora=True), "patience": 1000, "epochs": 3}
    settings = PATIENT.model_copy(update=changes)
    fine_tune(taught, tmp_path / "whole", settings)
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path / "parts", settings, stop_at=7)
    fine_tune(taught, tmp_path / "parts", settings)
    assert json.loads((tmp_path / "parts" / RUN).read_text())["resumed_at"] == 6
    for name in (WEIGHTS, CONFIG, LOG, OUTCOME):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    assert any("magnitude" in name for name in load_file(tmp_path / "parts" / WEIGHTS))


def test_it_resumes_in_the_same_bytes(taught: Path, stopped_early: Path, tmp_path: Path) -> None:
    settings = PATIENT.model_copy(update={"checkpoint_every": 2})
    steps = json.loads((stopped_early / OUTCOME).read_text())["steps"]
    # before the first checkpoint, and with the best adapter older than the last one
    for stop_at in (1, steps - 1):
        with pytest.raises(Stopped):
            fine_tune(taught, tmp_path, settings, stop_at=stop_at)
        assert not (tmp_path / WEIGHTS).exists()
    fine_tune(taught, tmp_path, settings)
    assert json.loads((tmp_path / RUN).read_text())["resumed_at"] >= steps - 2
    for name in (WEIGHTS, CONFIG, LOG, OUTCOME):
        assert (tmp_path / name).read_bytes() == (stopped_early / name).read_bytes(), name
