"""Start the processes that train together, and tell what they tell."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from mulmed.errors import MulmedError
from mulmed.recipe import Workers
from mulmed.training.job import Job, write_job
from mulmed.training.loop import Progress, unheard
from mulmed.training.ray_train import train_by_ray
from mulmed.training.worker import end_with_parent, messages, told_error

#: Beside what the run leaves while it lasts.
FOLDER = "job"
_STDERR = "workers.log"
_SECONDS_BETWEEN = 0.5
_LINES_SHOWN = 5


def train_together(
    job: Job,
    workers: Workers,
    *,
    progress: Progress,
    track: Callable[[Mapping[str, Any]], None] = unheard,
    tell: Callable[[str], None] = unheard,
) -> None:
    """Train a job by several processes, as :func:`mulmed.training.loop.train` does by one.

    Args:
        job: its folder ``out``, and the base, must be where all processes can read them.
        workers: how many processes, on this machine or on a Ray cluster.
        progress: receives what was done and how much there is.
        track: receives every row of the log.
        tell: receives a line on where and how they compute.

    Raises:
        MulmedError: what the loop raises, or a process died.
    """
    folder = job.out / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_job(folder, job)
    with _told(folder, progress, track, tell):
        if workers.ray is None:
            _by_torchrun(folder, workers.processes)
        else:
            try:
                train_by_ray(folder.resolve(), workers.ray, workers.processes)
            except MulmedError:
                raise
            except Exception as error:  # Ray has one of its own for every way to fail
                raise _failure(folder, str(error)) from error
    shutil.rmtree(folder)


def _by_torchrun(folder: Path, processes: int) -> None:
    gpus = torch.cuda.device_count()
    if 0 < gpus < processes:
        raise MulmedError(
            f"This machine has {gpus} GPUs for {processes} processes.",
            where="workers.processes",
            remedy=f"Set it to {gpus} at most.",
        )
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // processes)),
        # They are on this machine: nothing else needs to reach them.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    if sys.platform == "linux":
        environment |= {"GLOO_SOCKET_IFNAME": "lo", "NCCL_SOCKET_IFNAME": "lo"}
    command = [
        *(sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}"),
        *("--rdzv-backend=c10d", f"--rdzv-endpoint={folder / 'torchrun'}", "--rdzv-conf=store_type=file"),
        *("--local-addr=127.0.0.1", "-m", "mulmed.training.worker", str(folder)),
    ]
    with (folder / _STDERR).open("wb") as log:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=end_with_parent(signal.SIGTERM),  # torchrun takes its workers with it
        )
        try:
            status = process.wait()
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if status:
        raise _failure(folder, (folder / _STDERR).read_text(errors="replace"))


def _failure(folder: Path, said: str) -> MulmedError:
    if (told := told_error(folder)) is not None:
        return told
    lines = [line for line in said.splitlines() if line.strip()]
    return MulmedError(
        "A training process died. It said last:\n    " + "\n    ".join(lines[-_LINES_SHOWN:]),
        where=str(folder),
        remedy="Most likely memory ran out: lower micro_batch_tokens, or set workers.shard. The same command goes on from "
        "the last checkpoint.",
    )


@contextlib.contextmanager
def _told(
    folder: Path,
    progress: Progress,
    track: Callable[[Mapping[str, Any]], None],
    tell: Callable[[str], None],
) -> Iterator[None]:
    """Hand on what the first process says, while it says it."""
    over = threading.Event()
    read = 0
    tracked: set[str] = set()

    def look() -> None:
        nonlocal read
        said, read = messages(folder, read)
        for kind, what in said:
            if kind == "progress":
                progress(*what)
            elif kind == "track" and (row := json.dumps(what)) not in tracked:
                tracked.add(row)  # a team that is started again begins with what it did before
                track(what)
            elif kind == "tell":
                tell(what)

    def watch() -> None:
        while not over.wait(_SECONDS_BETWEEN):
            look()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        look()
