"""Processes forked from one that has imported what a run needs: to start Python and import torch takes six seconds.

For tests that start processes to kill them. That the installed command does the same is proven by those that call it.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from tests.runs import ENVIRONMENT

_FORKS = multiprocessing.get_context("forkserver")
# Polars is not among them: it must not have started its threads before a fork.
_FORKS.set_forkserver_preload(
    [
        "mulmed.stages",
        "mulmed.training.worker",
        "tests.training.processes",
        "tests.training.small",
        "torch._dynamo",
        "transformers.models.llama.modeling_llama",
    ]
)


def fork(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """``target(*arguments)`` in a process of its own, on one thread."""
    process = _FORKS.Process(target=_forked, args=(target, arguments))
    with patch.dict(os.environ, ENVIRONMENT):  # which the first of them starts its server with
        process.start()
    return process


def _forked(target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    target(*arguments)


def mulmed(*arguments: str | Path) -> None:
    """``mulmed ARGUMENTS`` in this process, which says nothing."""
    from mulmed.cli import main

    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nothing, stream)
    sys.argv = ["mulmed", *map(str, arguments)]
    main()
