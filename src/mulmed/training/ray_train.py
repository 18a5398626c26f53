"""A team whose processes Ray Train starts on the machines of a cluster, again when one of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from pathlib import Path

from mulmed.cluster import connected
from mulmed.errors import MulmedError
from mulmed.training.worker import told_error, work

#: So often Ray starts the processes again after one of them died.
RESTARTS = 3


def train_by_ray(folder: Path, address: str, processes: int) -> None:
    """Train the job in ``folder``, which all machines of the cluster see.

    Raises:
        MulmedError: Ray or the cluster is not there, or the cluster is too small.
        Exception: what Ray makes of processes that died too often.
    """
    os.environ.setdefault("RAY_TRAIN_V2_ENABLED", "1")
    with connected(address, "workers.ray"):
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer

        there = ray.cluster_resources()
        kind = "GPU" if there.get("GPU") else "CPU"
        if there.get(kind, 0) < processes:  # Ray would wait for more
            raise MulmedError(
                f"The cluster has {there.get(kind, 0):.0f} {kind}s for {processes} processes.",
                where="workers.processes",
                remedy="Lower it, or add machines to the cluster.",
            )
        trainer = TorchTrainer(
            _work_in_ray,
            train_loop_config={"folder": str(folder)},
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=kind == "GPU"),
            run_config=RunConfig(
                name="ray", storage_path=str(folder), failure_config=FailureConfig(max_failures=RESTARTS)
            ),
        )
        interrupt = signal.getsignal(signal.SIGINT)
        try:
            trainer.fit()
        finally:
            signal.signal(signal.SIGINT, interrupt)  # Ray's own would outlive its run


def _work_in_ray(config: Mapping[str, str]) -> None:
    from ray.train import get_context
    from ray.train.torch import get_device

    folder, context = Path(config["folder"]), get_context()
    if (told := told_error(folder)) is not None:
        raise told  # it would be found again
    gpu = get_device().index or 0
    work(folder, context.get_world_rank(), context.get_world_size(), gpu)
