"""Ray Train on a cluster of this machine: a worker that is killed does not change what comes out."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Workers
from mulmed.training.checkpoint import FOLDER as CHECKPOINT
from mulmed.training.launch import train_together
from mulmed.training.log import LOG
from mulmed.training.loop import RUN
from mulmed.training.lora import WEIGHTS
from tests.training import small
from tests.training.processes import train_by_two
from tests.training.test_team import job_of

SETTINGS = small.SETTINGS.model_copy(update={"checkpoint_every": 1})


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    utils = pytest.importorskip("ray.cluster_utils", reason="Ray (the extra `cluster`) is not installed")
    arguments = {"num_cpus": 2, "include_dashboard": False, "object_store_memory": 80 << 20}
    nodes = utils.Cluster(initialize_head=True, head_node_args=arguments)
    yield nodes.address
    nodes.shutdown()


def kill_a_worker(out: Path, killed: list[int]) -> None:
    """Kill one of the processes that Ray trains in, once there is a checkpoint."""
    while not (out / CHECKPOINT / "last.safetensors").exists():
        time.sleep(0.001)
    workers = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            workers += [process.pid] if "RayTrainWorker" in " ".join(process.cmdline()) else []
    os.kill(workers[-1], signal.SIGKILL)
    killed.append(workers[-1])


@pytest.mark.slow
@pytest.mark.usefixtures("single_thread")
def test_a_killed_worker_resumes(
    taught: Path, examples: list[Example], tmp_path: Path, cluster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    out, killed = tmp_path / "out", []
    killer = threading.Thread(target=kill_a_worker, args=(out, killed), daemon=True)
    killer.start()
    rows: list[object] = []
    train_together(
        job_of(taught, examples, out, settings=SETTINGS),
        Workers(processes=2, ray=cluster),
        progress=lambda *_: None,
        track=rows.append,
    )
    assert killed
    assert json.loads((out / RUN).read_text())["resumed_at"] > 0
    assert rows[:-1] == small.rows(out)  # each once, though told twice
    train_by_two(job_of(taught, examples, tmp_path / "undisturbed", settings=SETTINGS))
    for name in (WEIGHTS, LOG):
        assert (out / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()
    with pytest.raises(MulmedError, match="2 CPUs for 3 processes"):
        train_together(
            job_of(taught, examples, out), Workers(processes=3, ray=cluster), progress=lambda *_: None
        )
