"""One process of a team: started by torchrun on one machine, or by Ray Train on any of several."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from mulmed.errors import MulmedError
from mulmed.training.checkpoint import FOLDER
from mulmed.training.job import read_job
from mulmed.training.loop import train
from mulmed.training.team import Team

#: What the first process says while it works, and any that finds a mistake: a JSON array a line, the kind, and what.
MESSAGES = "messages.jsonl"
#: Exit status of a process whose mistake is told there.
TOLD = 3
_SECONDS_BETWEEN = 0.2
_PARENT_DEATH_SIGNAL = 1


def work(folder: Path, rank: int, size: int, gpu: int) -> None:
    """Train the job in ``folder`` as one of ``size`` processes; their process group is there.

    The first writes what a run leaves. The others go through the same motions in a folder of their own, that is
    thrown away.

    Raises:
        MulmedError: as :func:`mulmed.training.loop.train`; it is said, too.
    """
    job = read_job(folder)
    last = 0.0

    def say(kind: str, what: Any) -> None:
        if rank == 0 or kind == "error":
            with (folder / MESSAGES).open("a", encoding="utf-8") as file:
                file.write(json.dumps([kind, what]) + "\n")

    def progress(label: str, done: int, total: int) -> None:
        nonlocal last
        if done == total or time.monotonic() - last > _SECONDS_BETWEEN:
            last = time.monotonic()
            say("progress", [label, done, total])

    with tempfile.TemporaryDirectory() as thrown_away:
        out = job.out if rank == 0 else Path(thrown_away)
        if rank != 0 and (job.out / FOLDER).exists():
            # The first cannot replace it meanwhile: its first step waits for this process.
            shutil.copytree(job.out / FOLDER, out / FOLDER)
        try:
            train(
                job.base,
                job.examples,
                job.validation,
                job.settings,
                out,
                seed=job.seed,
                base_name=job.base_name,
                new_tokens=job.new_tokens,
                progress=progress,
                track=lambda row: say("track", row),
                tell=lambda line: say("tell", line),
                team=Team(rank, size, gpu, job.shard),
            )
        except MulmedError as error:
            say("error", {"what": error.what, "where": error.where, "remedy": error.remedy})
            raise


def messages(folder: Path, start: int = 0) -> tuple[list[tuple[str, Any]], int]:
    """What was said from byte ``start`` of the messages on, and where whole lines end."""
    try:
        with (folder / MESSAGES).open("rb") as file:
            file.seek(start)
            whole, _, _ = file.read().rpartition(b"\n")
    except FileNotFoundError:  # nothing said yet
        return [], start
    return [tuple(json.loads(line)) for line in whole.splitlines()], start + len(whole) + bool(whole)


def told_error(folder: Path) -> MulmedError | None:
    """The first mistake that a process of the team found."""
    return next((MulmedError(**what) for kind, what in messages(folder)[0] if kind == "error"), None)


def end_with_parent(sign: signal.Signals) -> Callable[[], None]:
    """What has Linux send this process ``sign`` when its parent is gone: else two teams might work in one folder."""
    try:
        prctl = ctypes.CDLL(None).prctl
    except (OSError, AttributeError):
        return lambda: None
    return lambda: prctl(_PARENT_DEATH_SIGNAL, int(sign))


def main() -> None:
    """``torchrun ... -m mulmed.training.worker FOLDER``.

    The processes find each other by a file in the folder: nothing listens to the network.
    """
    end_with_parent(signal.SIGKILL)()
    folder = Path(sys.argv[1])
    rank, size, gpu = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    if torch.cuda.is_available():
        torch.cuda.set_device(gpu)
    dist.init_process_group(
        "nccl" if torch.cuda.is_available() else "gloo",
        init_method=f"file://{folder.resolve()}/processes",
        rank=rank,
        world_size=size,
    )
    try:
        work(folder, rank, size, gpu)
    except MulmedError:
        sys.exit(TOLD)
    finally:
        with contextlib.suppress(Exception):  # another process may be gone
            dist.destroy_process_group()


if __name__ == "__main__":
    main()
