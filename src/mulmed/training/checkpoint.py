"""Checkpoints of a LoRA run: adapter, optimizer moments and step, as safetensors, whole or absent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

FOLDER = "checkpoint"


def save_checkpoint(
    folder: Path,
    step: int,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> None:
    """Replace the checkpoint in ``folder`` by the state after ``step`` optimizer steps."""
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"parameter.{name}"] = parameter.detach().cpu().contiguous()
        state = optimizer.state[parameter]
        tensors[f"exp_avg.{name}"] = state["exp_avg"].cpu().contiguous()
        tensors[f"exp_avg_sq.{name}"] = state["exp_avg_sq"].cpu().contiguous()
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    new = target / "new.safetensors"
    save_file(tensors, new, metadata={"step": json.dumps(step)})
    new.replace(target / "last.safetensors")


def load_checkpoint(
    folder: Path,
    parameters: dict[str, torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> int:
    """Restore the checkpoint in ``folder``, if there is one; returns the steps already done."""
    path = folder / FOLDER / "last.safetensors"
    if not path.exists():
        return 0
    with safe_open(path, framework="pt") as file, torch.no_grad():
        step = int(json.loads(file.metadata()["step"]))
        for name, parameter in parameters.items():
            parameter.copy_(file.get_tensor(f"parameter.{name}"))
            optimizer.state[parameter] = {
                "step": torch.tensor(float(step)),
                "exp_avg": file.get_tensor(f"exp_avg.{name}").to(parameter.device),
                "exp_avg_sq": file.get_tensor(f"exp_avg_sq.{name}").to(parameter.device),
            }
    return step


def remove_checkpoint(folder: Path) -> None:
    """A finished run needs none."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
