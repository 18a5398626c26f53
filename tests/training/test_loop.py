"""The loop: it learns, and it ends in the same bytes however it was packed, stopped or killed."""

from __future__ import annotations

import functools
import json
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mulmed.prompts import Example, Renderer
from mulmed.recipe import Lora, Mix
from mulmed.training import loop
from mulmed.training.checkpoint import FOLDER
from mulmed.training.failure import FAILURE
from mulmed.training.log import LOG
from mulmed.training.loop import OUTCOME, RUN
from mulmed.training.lora import CONFIG, WEIGHTS
from mulmed.training.loss import pack_loss, validation_loss
from mulmed.training.model import load_model
from mulmed.training.packing import packs_of
from mulmed.training.seal import SEAL
from tests.conftest import TEXTS, make_record
from tests.forks import fork
from tests.training.small import CPU, SETTINGS, STEPS, Stopped, batch_of, fine_tune, misled, rows, saved_state

pytestmark = pytest.mark.usefixtures("single_thread")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, taught: Path) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    # How often a checkpoint is written must not matter.
    fine_tune(taught, out, SETTINGS.model_copy(update={"checkpoint_every": 1000}))
    return out


def test_it_learns(undisturbed: Path) -> None:
    losses = [r["loss"] for r in rows(undisturbed) if "loss" in r]
    assert losses[0] > 2
    assert sum(losses[-3:]) / 3 < 0.75 * sum(losses[:3]) / 3
    validations = {r["step"]: r["validation_loss"] for r in rows(undisturbed) if "validation_loss" in r}
    assert list(validations) == [0, 4, 8, 12, 15]
    assert validations[15] < validations[0]


def test_the_log_tells_what_happened(undisturbed: Path, renderer: Renderer) -> None:
    log = [r for r in rows(undisturbed) if "loss" in r]
    assert [r["step"] for r in log] == list(range(1, STEPS + 1))
    assert [r["epoch"] for r in log[:4]] == [0.3333, 0.6667, 1.0, 1.3333]
    # two steps of warm-up (a tenth of 15, rounded up), then down to just above zero
    assert [r["learning_rate"] for r in log[:4]] == pytest.approx([0.01, 0.02, 0.02, 0.02 * 12 / 13])
    assert log[-1]["learning_rate"] == pytest.approx(0.02 / 13)
    examples = [
        renderer.example(make_record(i, task, lang, (*texts[:-1], TEXTS[(i + 1) % 6][2][-1])))
        for i, (task, lang, texts) in enumerate(TEXTS[:5])
    ]
    for r in log:
        batch = [examples[i] for i in batch_of(r["step"])]
        assert r["tokens"] == sum(len(e.ids) for e in batch)
        assert r["target_tokens"] == sum(e.targets for e in batch)


def test_what_a_finished_run_leaves(undisturbed: Path) -> None:
    assert {p.name for p in undisturbed.iterdir()} == {WEIGHTS, CONFIG, LOG, OUTCOME, RUN, SEAL}
    run = json.loads((undisturbed / RUN).read_text())
    assert (run["steps"], run["resumed_at"], run["precision"]) == (STEPS, 0, "float32")
    assert json.loads((undisturbed / CONFIG).read_text())["base_model_name_or_path"] == "tiny"


def test_a_run_killed_again_and_again_ends_in_the_same_bytes(
    taught: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """Each process trains until it is killed at a moment nobody chose; the last ends undisturbed."""
    out = tmp_path / "killed"
    seed = random.SystemRandom().randrange(2**32)
    train = functools.partial(fine_tune, examples=misled(taught))
    moments, kills, patience = random.Random(seed), 0, 0.2
    while True:
        process = fork(train, taught, out)
        process.join(moments.uniform(0, patience))
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, seed
        kills += 1
        patience *= 1.2
    assert kills >= 2, seed
    for name in (WEIGHTS, CONFIG, LOG, OUTCOME, SEAL):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes(), (name, seed)
    assert {p.name for p in out.iterdir()} == {p.name for p in undisturbed.iterdir()}, seed


def test_what_a_dead_run_left_behind_is_cleared_away(taught: Path, undisturbed: Path, tmp_path: Path) -> None:
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path, stop_at=7)
    assert saved_state(taught, tmp_path).step == 6
    with (tmp_path / LOG).open("a") as log:
        log.write('{"step": 14, "loss": 0.1}\n{"step": 15, "lo')  # steps that were lost, a line cut short
    (tmp_path / FOLDER / FAILURE).write_text("{}")
    (tmp_path / FOLDER / "new.safetensors").write_bytes(b"half a checkpoint")
    fine_tune(taught, tmp_path)
    assert json.loads((tmp_path / RUN).read_text())["resumed_at"] == 6
    for name in (WEIGHTS, CONFIG, LOG, OUTCOME, SEAL):
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes(), name
    assert {p.name for p in tmp_path.iterdir()} == {WEIGHTS, CONFIG, LOG, OUTCOME, RUN, SEAL}


def test_slow_steps_are_saved_by_the_clock(
    taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seldom = SETTINGS.model_copy(update={"checkpoint_every": 1000})
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 1e-9)
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path, seldom, stop_at=4)
    assert saved_state(taught, tmp_path).step == 3  # told of step 4 before it is saved


def test_the_outcome_holds_the_validation_losses(undisturbed: Path) -> None:
    outcome = json.loads((undisturbed / OUTCOME).read_text())
    assert (outcome["planned_steps"], outcome["steps"], outcome["kept"]) == (STEPS, STEPS, STEPS)
    validations = {r["step"]: r for r in rows(undisturbed) if "validation_loss" in r}
    assert outcome["before"] == validations[0]
    assert outcome["after"] == validations[STEPS]
    groups = outcome["after"]["validation_loss_by_group"]
    assert {task: set(losses) for task, losses in groups.items()} == {"qa": {"en"}, "dialogue": {"zh"}}
    assert {s["seen"] for s in outcome["shares"]} == {5}  # without a mixture every example once an epoch
    assert {s["target_share"] for s in outcome["shares"]} == {None}


def test_a_mixed_run_sees_the_shares_asked_for_tells_them_and_resumes(taught: Path, tmp_path: Path) -> None:
    mixed = SETTINGS.model_copy(update={"mix": Mix(language={"en": 0.4, "zh": 0.6})})
    fine_tune(taught, tmp_path / "whole", mixed)
    outcome = json.loads((tmp_path / "whole" / OUTCOME).read_text())
    seen = {(s["task"], s["language"]): s["seen"] for s in outcome["shares"]}
    # of the five training examples one is Chinese: it is drawn three times an epoch, the others every other one
    assert seen.pop(("qa", "zh")) == 15
    assert set(seen.values()) == {2, 3}
    assert sum(seen.values()) == 10
    assert sum(s["share"] for s in outcome["shares"] if s["language"] == "zh") == pytest.approx(0.6)
    assert {s["target_share"] for s in outcome["shares"]} == {0.1, 0.6}
    learned = sum(r["target_tokens"] for r in rows(tmp_path / "whole") if "loss" in r)
    assert learned == sum(s["target_tokens"] for s in outcome["shares"])
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path / "parts", mixed, stop_at=9)
    fine_tune(taught, tmp_path / "parts", mixed)
    assert json.loads((tmp_path / "parts" / RUN).read_text())["resumed_at"] == 8
    for name in (WEIGHTS, CONFIG, LOG, OUTCOME, SEAL):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_a_tracker_gets_every_row_of_the_log_also_of_what_came_before(taught: Path, tmp_path: Path) -> None:
    first: list[Any] = []
    with pytest.raises(Stopped):
        fine_tune(taught, tmp_path, stop_at=7, track=first.append)
    assert first == rows(tmp_path)
    second: list[Any] = []
    fine_tune(taught, tmp_path, track=second.append)
    assert second[:-1] == rows(tmp_path)
    assert second[: len(first) - 1] == first[:-1]  # the checkpoint was one step behind
    shares = json.loads((tmp_path / OUTCOME).read_text())["shares"]
    assert second[-1] == {"step": STEPS, "kept": STEPS, "shares": shares}


def test_another_seed_is_another_run(taught: Path, undisturbed: Path, tmp_path: Path) -> None:
    fine_tune(taught, tmp_path, SETTINGS.model_copy(update={"epochs": 0.5}), seed=43)
    assert rows(tmp_path)[1]["loss"] != rows(undisturbed)[1]["loss"]


def test_packing_does_not_change_what_is_learned(taught: Path, tmp_path: Path) -> None:
    adapters, losses = [], []
    for capacity in (1, 300, 4096):  # each example alone, some together, the whole batch in one pack
        changes = {"micro_batch_tokens": capacity, "lora": Lora(dropout=0), "batch": 4, "epochs": 2}
        fine_tune(taught, tmp_path / str(capacity), SETTINGS.model_copy(update=changes))
        adapters.append(load_file(tmp_path / str(capacity) / WEIGHTS))
        losses.append([r["loss"] for r in rows(tmp_path / str(capacity)) if "loss" in r])
    for loss, adapter in zip(losses[1:], adapters[1:], strict=True):
        assert loss == pytest.approx(losses[0], abs=2e-5)
        for name, tensor in adapter.items():
            torch.testing.assert_close(tensor, adapters[0][name], rtol=0, atol=1e-4)


def test_validation_weighs_tokens_not_examples_or_languages(taught: Path, examples: list[Example]) -> None:
    model = load_model(taught, CPU)
    with torch.no_grad():
        sums = [pack_loss(model, packs_of([e], 4096)[0]).item() for e in examples]
    row = validation_loss(model, examples, 300)

    def expected(kind: Callable[[Example], bool]) -> Any:
        own = [(s, e.targets) for s, e in zip(sums, examples, strict=True) if kind(e)]
        return pytest.approx(sum(s for s, _ in own) / sum(n for _, n in own), rel=1e-3, abs=2e-6)

    assert row["validation_loss"] == expected(lambda e: True)
    assert set(row["validation_loss_by"]) == {"en", "zh"}
    for language, loss in row["validation_loss_by"].items():
        assert loss == expected(lambda e, lang=language: e.language == lang)
    assert set(row["validation_loss_by_task"]) == {"qa", "summary", "dialogue", "instruction"}
    for task, loss in row["validation_loss_by_task"].items():
        assert loss == expected(lambda e, t=task: e.task == t)
    groups = {(t, lang) for t, losses in row["validation_loss_by_group"].items() for lang in losses}
    assert groups == {(e.task, e.language) for e in examples}
    for task, language in groups:
        assert row["validation_loss_by_group"][task][language] == expected(
            lambda e, g=(task, language): (e.task, e.language) == g
        )
