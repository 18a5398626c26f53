"""A training by several processes of this machine, forked from one that has imported all they need."""

from __future__ import annotations

import os
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch
import torch.distributed as dist

from mulmed.training.job import Job, write_job
from mulmed.training.launch import FOLDER
from mulmed.training.worker import work
from tests.forks import fork

SIZE = 2


def _process(folder: Path, rank: int, threads: int) -> None:
    torch.set_num_threads(threads)
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=f"file://{folder}/processes", rank=rank, world_size=SIZE)
    work(folder, rank, SIZE, 0)
    dist.destroy_process_group()


def start(job: Job, threads: int = 1) -> list[BaseProcess]:
    """Two processes at work on the job."""
    folder = job.out / FOLDER
    folder.mkdir(parents=True)
    write_job(folder, job)
    return [fork(_process, folder, rank, threads) for rank in range(SIZE)]


def train_by_two(job: Job, threads: int = 1) -> None:
    """Train the job by two processes."""
    for process in start(job, threads):
        process.join(timeout=240)
        assert process.exitcode == 0
