"""From a base model's folder to a model in training: rounded, adapted, spread, packed and compiled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mulmed.prompts import Example
from mulmed.recipe import Step
from mulmed.training.attention import Backend, gpu_backend, has_varlen
from mulmed.training.flops import counted_weights
from mulmed.training.fused import fuse_norms
from mulmed.training.int8 import quantize_base
from mulmed.training.lora import add_adapters
from mulmed.training.model import (
    Placement,
    compile_blocks,
    load_model,
    use_packed_loss,
    why_not_compiled,
)
from mulmed.training.nf4 import quantize_base_nf4
from mulmed.training.rows import add_token_rows
from mulmed.training.team import ALONE, Team


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model in training.

    Attributes:
        model: in training mode.
        weights: the base's, as :func:`mulmed.training.flops.counted_weights` has them.
        attention: how its packs attend.
        uncompiled: why its blocks are not compiled; None where they are.
    """

    model: Any
    weights: int
    attention: Backend
    uncompiled: str | None

    @property
    def blocks(self) -> str:
        """How its blocks are computed, in words."""
        how = "compiled" if self.uncompiled is None else f"not compiled, for {self.uncompiled}"
        return f"{self.attention} attention, blocks {how}"


def best_attention(placement: Placement) -> tuple[Backend, str | None]:
    """The fastest attention there, and why blocks are not compiled there; None where they are."""
    uncompiled = why_not_compiled(placement.device)
    if placement.device.type != "cuda":
        return "sdpa", uncompiled
    capability = torch.cuda.get_device_capability(placement.device)
    varlen = has_varlen()
    return gpu_backend(capability, placement.dtype, compiles=uncompiled is None, varlen=varlen), uncompiled


def prepare(
    base: Path,
    examples: Sequence[Example],
    settings: Step,
    placement: Placement,
    *,
    seed: int,
    new_tokens: range | None,
    team: Team = ALONE,
) -> Prepared:
    """The model that a step trains.

    Args:
        base: the parent model's folder.
        examples: two of them, to prove the packed loss on.
        settings: the recipe's step.
        placement: where it is to train. A base that may not fit there whole is read on the CPU.
        seed: of the adapter's first values.
        new_tokens: ids whose rows of embedding and head are trained as well.
        team: the processes that train it together.

    Raises:
        MulmedError: the model's architecture cannot be packed, a target layer does not exist, or this machine
            cannot compute in the base's precision.
    """
    attention, uncompiled = best_attention(placement)
    too_large = team.shard or settings.base_precision == "nf4"
    model = load_model(base, replace(placement, device=torch.device("cpu")) if too_large else placement)
    weights = counted_weights(model)
    if settings.base_precision == "nf4":
        quantize_base_nf4(model, placement.device)
    if placement.device.type == "cpu":  # on a GPU the compiler does that
        fuse_norms(model)
    add_adapters(model, settings.lora, seed)
    if new_tokens is not None:
        add_token_rows(model, new_tokens)
    if team.shard:
        team.spread(model, placement.device)
    # Adapters begin as nothing, so the loss still is the base's own.
    use_packed_loss(model, examples, attention)
    if settings.base_precision == "int8":
        quantize_base(model)
    model.train()
    if uncompiled is None:
        compile_blocks(model)
    return Prepared(model, weights, attention, uncompiled)
