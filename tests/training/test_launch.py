"""torchrun starts a team, tells what it tells, and leaves what the next start goes on from."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Recipe, Step, Workers
from mulmed.training.checkpoint import FOLDER as CHECKPOINT
from mulmed.training.launch import FOLDER, train_together
from mulmed.training.log import LOG
from mulmed.training.loop import RUN
from mulmed.training.lora import WEIGHTS
from tests.runs import RECIPE
from tests.training import small
from tests.training.processes import train_by_two
from tests.training.test_team import job_of

SETTINGS = small.SETTINGS.model_copy(update={"checkpoint_every": 1})


def test_a_worker_killed_under_torchrun_resumes(
    taught: Path, examples: list[Example], tmp_path: Path
) -> None:
    listening: set[str] = set()
    killed: list[int] = []

    def kill_one() -> None:
        while not (tmp_path / CHECKPOINT / "last.safetensors").exists():
            time.sleep(0.001)
        children = psutil.Process().children(recursive=True)
        for process in children:
            listening.update(c.laddr.ip for c in process.net_connections() if c.status == "LISTEN")
        workers = [p for p in children if "mulmed.training.worker" in p.cmdline()[:4]]
        killed.append(workers[-1].pid)
        os.kill(workers[-1].pid, signal.SIGKILL)

    job = job_of(taught, examples, tmp_path, settings=SETTINGS)
    killer = threading.Thread(target=kill_one, daemon=True)
    killer.start()
    with pytest.raises(MulmedError, match="A training process died") as caught:
        train_together(job, Workers(processes=2), progress=lambda *_: None)
    killer.join(timeout=10)
    assert killed
    assert "goes on from the last checkpoint" in (caught.value.remedy or "")
    assert listening <= {"127.0.0.1", "::1"}  # nothing but this machine can reach them

    seen: list[tuple[str, int, int]] = []
    rows: list[Any] = []
    lines: list[str] = []
    train_together(
        job,
        Workers(processes=2),
        progress=lambda *what: seen.append(what),
        track=rows.append,
        tell=lines.append,
    )
    assert json.loads((tmp_path / RUN).read_text())["resumed_at"] > 0
    assert seen[-1][1:] == (15, 15)
    assert rows[:-1] == small.rows(tmp_path)
    assert rows[-1]["kept"] == 15
    assert [line.partition(":")[0].endswith("threads") for line in lines] == [True]
    assert not (tmp_path / FOLDER).exists()
    undisturbed = tmp_path / "undisturbed"
    train_by_two(job_of(taught, examples, undisturbed, settings=SETTINGS))
    for name in (WEIGHTS, LOG):
        assert (tmp_path / name).read_bytes() == (undisturbed / name).read_bytes()


def test_more_processes_than_gpus_are_refused(
    tiny: Path, examples: list[Example], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(MulmedError, match="2 GPUs for 3 processes"):
        train_together(job_of(tiny, examples, tmp_path), Workers(processes=3), progress=lambda *_: None)


def test_parts_that_nobody_could_hold_are_refused_by_the_recipe() -> None:
    with pytest.raises(ValueError, match="at least two"):
        Workers(processes=1, shard=True)
    step = {"parent": "base", "sources": ["haodf"], "base_precision": "nf4"}
    document = RECIPE | {"base": "b", "steps": {"a": step}}
    Recipe.model_validate(document)
    with pytest.raises(ValueError, match=r"base_precision \(steps.a\) is not cut"):
        Recipe.model_validate(document | {"workers": {"processes": 2, "shard": True}})
    assert Step.model_validate(step).base_precision == "nf4"
