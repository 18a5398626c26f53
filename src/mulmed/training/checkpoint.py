"""Checkpoints of a LoRA run: adapter, optimizer moments, step, loss scale and best adapter, whole or absent."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from mulmed.training.scaling import LossScale

FOLDER = "checkpoint"
_LAST = "last.safetensors"


@dataclass(frozen=True, slots=True)
class Best:
    """The adapter with the lowest validation loss so far.

    Attributes:
        step: after so many optimizer steps.
        loss: validation loss in nats a target token.
        waited: validations since then.
        tensors: the adapter, on the CPU, under its parameters' names.
    """

    step: int
    loss: float
    waited: int
    tensors: Mapping[str, torch.Tensor]


@dataclass(slots=True)
class State:
    """All of a run that changes from one optimizer step to the next.

    Order of the data, learning rate and dropout are functions of seed and step, so a checkpoint need not
    hold them.

    Attributes:
        parameters: what is trained, by name.
        optimizer: AdamW over these parameters.
        step: optimizer steps done.
        updates: of them, those that changed the parameters: all but where float16 overflowed.
        scale: of the loss in float16, None in other precisions.
        best: kept where the run may stop early.
    """

    parameters: Mapping[str, torch.nn.Parameter]
    optimizer: torch.optim.Optimizer
    step: int = 0
    updates: int = 0
    scale: LossScale | None = None
    best: Best | None = None

    def is_finite(self) -> bool:
        """Whether all parameters and moments are numbers."""
        moments = (t for s in self.optimizer.state.values() for t in s.values())
        return all(bool(torch.isfinite(t).all()) for t in (*self.parameters.values(), *moments))


def snapshot(parameters: Mapping[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """Copies of the parameters on the CPU."""
    return {name: p.detach().to("cpu", copy=True).contiguous() for name, p in parameters.items()}


def restore(parameters: Mapping[str, torch.nn.Parameter], tensors: Mapping[str, torch.Tensor]) -> None:
    """Put a snapshot back."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(tensors[name])


def save_checkpoint(folder: Path, state: State) -> None:
    """Replace the checkpoint in ``folder`` by ``state``; whatever fails on the way, the old one stays.

    Raises:
        OSError: it cannot be written.
    """
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in state.parameters.items():
        tensors[f"parameter.{name}"] = parameter.detach().cpu().contiguous()
        moments = state.optimizer.state.get(parameter)
        for kind in ("exp_avg", "exp_avg_sq"):  # they begin with the first update, as zeros
            moment = torch.zeros_like(parameter) if moments is None else moments[kind]
            tensors[f"{kind}.{name}"] = moment.detach().cpu().contiguous()
    metadata = {"step": json.dumps(state.step), "updates": json.dumps(state.updates)}
    if state.scale is not None:
        metadata["scale"] = json.dumps(asdict(state.scale))
    if (best := state.best) is not None:
        tensors |= {f"best.{name}": tensor for name, tensor in best.tensors.items()}
        metadata["best"] = json.dumps({"step": best.step, "loss": best.loss, "waited": best.waited})
    target = folder / FOLDER
    target.mkdir(exist_ok=True)
    new = target / "new.safetensors"
    try:
        save_file(tensors, new, metadata=metadata)
        with new.open("rb+") as file:
            os.fsync(file.fileno())  # or after a power cut the new name might stand on an empty file
    except BaseException:
        new.unlink(missing_ok=True)  # on a full disk its room is needed
        raise
    new.replace(target / _LAST)


def load_checkpoint(folder: Path, state: State) -> None:
    """Bring ``state`` to the checkpoint in ``folder``; without one it stays as it is."""
    path = folder / FOLDER / _LAST
    if not path.exists():
        return
    with safe_open(path, framework="pt") as file, torch.no_grad():
        metadata = file.metadata()
        state.step = int(json.loads(metadata["step"]))
        state.updates = int(json.loads(metadata["updates"]))
        if state.scale is not None and "scale" in metadata:
            state.scale = LossScale(**json.loads(metadata["scale"]))
        fused = state.optimizer.defaults["fused"]
        for name, parameter in state.parameters.items():
            parameter.copy_(file.get_tensor(f"parameter.{name}"))
            state.optimizer.state[parameter] = {
                "step": torch.tensor(float(state.updates), device=parameter.device if fused else None),
                "exp_avg": file.get_tensor(f"exp_avg.{name}").to(parameter.device),
                "exp_avg_sq": file.get_tensor(f"exp_avg_sq.{name}").to(parameter.device),
            }
        if "best" in metadata:
            tensors = {name: file.get_tensor(f"best.{name}") for name in state.parameters}
            state.best = Best(**json.loads(metadata["best"]), tensors=tensors)


def remove_checkpoint(folder: Path) -> None:
    """A finished run needs none."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)
