"""Numbers that are none stop the run: the records are named, and what was sound is kept."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from mulmed.artifact import disk_errors
from mulmed.errors import MulmedError
from mulmed.training.checkpoint import FOLDER
from mulmed.training.failure import FAILURE
from mulmed.training.log import LOG
from mulmed.training.loop import RUN
from mulmed.training.lora import WEIGHTS
from mulmed.training.model import load_model
from tests.training.small import (
    CPU,
    SETTINGS,
    Stopped,
    batch_of,
    fine_tune,
    misled,
    saved_state,
    spoil,
)

pytestmark = pytest.mark.usefixtures("single_thread")


def batch_ids(step: int) -> list[str]:
    return [f"t:{i}:0" for i in batch_of(step)]


def test_a_loss_that_is_no_number_stops_the_run(taught: Path, tmp_path: Path) -> None:
    with pytest.raises(
        MulmedError, match=r"The loss is no longer finite at optimizer step (\d+) of 15"
    ) as caught:
        fine_tune(taught, tmp_path, SETTINGS.model_copy(update={"learning_rate": 1e30}))
    step = int(caught.value.what.split("step ")[1].split()[0])
    assert step > 1
    assert "learning_rate" in caught.value.remedy
    for record in batch_ids(step):
        assert record in caught.value.what
    assert json.loads((tmp_path / FOLDER / FAILURE).read_text()) == {
        "what": "loss",
        "step": step,
        "records": batch_ids(step),
    }
    assert not (tmp_path / WEIGHTS).exists()
    assert all("nan" not in line.lower() for line in (tmp_path / LOG).read_text().splitlines())
    assert f"after step {step - 1} is kept" in caught.value.remedy
    state = saved_state(taught, tmp_path)
    assert state.step == step - 1
    assert state.is_finite()


def test_a_gradient_that_is_no_number_stops_the_run(taught: Path, tmp_path: Path) -> None:
    def huge(name: str, p: torch.Tensor) -> None:
        # B is zero, so the loss does not see A; the gradient of B does, and its norm overflows.
        if "lora_A" in name:
            p.fill_(1e30)

    spoil(taught, tmp_path, huge)
    with pytest.raises(MulmedError, match="The gradient is no longer finite at optimizer step 5 of 15") as c:
        fine_tune(taught, tmp_path)
    assert json.loads((tmp_path / FOLDER / FAILURE).read_text())["records"] == batch_ids(5)
    assert ", ".join(batch_ids(5)) in c.value.what


def test_a_state_that_is_no_number_is_not_saved(taught: Path, tmp_path: Path) -> None:
    def broken(name: str, p: torch.Tensor) -> None:
        p.fill_(torch.nan)

    spoil(taught, tmp_path, broken)
    before = (tmp_path / FOLDER / "last.safetensors").read_bytes()
    with pytest.raises(MulmedError, match="optimizer step 5 of 15") as caught:
        fine_tune(taught, tmp_path)
    assert (tmp_path / FOLDER / "last.safetensors").read_bytes() == before
    assert "The last checkpoint" in caught.value.remedy


def test_a_validation_loss_that_is_no_number_stops_the_run(taught: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    model = load_model(taught, CPU)
    # Only the sixth example's own words meet it: a validation example.
    ids = {i for e in misled(taught)[:5] for i in e.ids}
    only = next(i for i in misled(taught)[5].ids if i not in ids)
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())  # no longer the embedding
        model.get_input_embeddings().weight[only] = torch.inf
    model.config.tie_word_embeddings = False
    model.save_pretrained(base)
    AutoTokenizer.from_pretrained(taught).save_pretrained(base)
    with pytest.raises(MulmedError, match="The validation loss is no longer finite at optimizer step 0") as c:
        fine_tune(base, tmp_path / "out")
    assert "records" not in c.value.what
    assert json.loads((tmp_path / "out" / FOLDER / FAILURE).read_text())["records"] == []


def test_a_full_disk_leaves_the_last_checkpoint(taught: Path, tmp_path: Path) -> None:
    """A file may grow to the size of the first checkpoint; the best adapter makes the second one larger."""
    settings = SETTINGS.model_copy(update={"validate_every": 3, "patience": 9})
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path, settings, stop_at=3)
    kept = tmp_path / FOLDER / "last.safetensors"
    before = kept.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 1, limits[1]))
    try:
        with pytest.raises(MulmedError, match="Writing failed: File too large"), disk_errors(tmp_path):
            fine_tune(taught, tmp_path, settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in kept.parent.iterdir()] == [kept.name]
    assert kept.read_bytes() == before
    assert saved_state(taught, tmp_path).step == 2
    fine_tune(taught, tmp_path, settings)
    assert json.loads((tmp_path / RUN).read_text())["resumed_at"] == 2
