"""The training loop: one LoRA fine-tuning, read from top to bottom."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mulmed.artifact import write_json
from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Step
from mulmed.training.checkpoint import (
    Best,
    State,
    load_checkpoint,
    remove_checkpoint,
    restore,
    save_checkpoint,
    snapshot,
)
from mulmed.training.failure import not_finite
from mulmed.training.flops import utilization
from mulmed.training.log import LOG, append_row, cut_log, validation_at
from mulmed.training.lora import save_adapter, trainable
from mulmed.training.loss import validation_loss
from mulmed.training.mixing import (
    count_drawn,
    groups_of,
    mixed_order,
    shares_document,
    target_shares,
)
from mulmed.training.model import choose_device, keep_freed_memory
from mulmed.training.packing import epoch_order, steps_per_epoch, total_steps
from mulmed.training.prepare import prepare
from mulmed.training.scaling import LEAST, LossScale
from mulmed.training.seal import seal, weights_hash
from mulmed.training.step import accumulate, learning_rate_factor, seed_step, update
from mulmed.training.team import ALONE, Team
from mulmed.training.threads import accumulate_side_by_side, side_by_side

RUN = "run.json"
OUTCOME = "outcome.json"
#: Where steps are slow a checkpoint comes sooner than after ``checkpoint_every`` of them: no more than this is lost.
CHECKPOINT_SECONDS = 120.0
#: (label, done, total)
Progress = Callable[[str, int, int], None]


def unheard(what: object) -> None:
    """For who does not want to know."""
    del what


def better(best: Best | None, step: int, loss: float, parameters: Mapping[str, torch.nn.Parameter]) -> Best:
    """The best adapter after a validation at ``step``; of equal losses the earlier one."""
    if best is None or loss < best.loss:
        return Best(step, loss, 0, snapshot(parameters))
    return replace(best, waited=best.waited + 1)


def train(
    base: Path,
    examples: Sequence[Example],
    validation: Sequence[Example],
    settings: Step,
    out: Path,
    *,
    seed: int,
    base_name: str,
    new_tokens: range | None = None,
    progress: Progress,
    track: Callable[[Mapping[str, Any]], None] = unheard,
    tell: Callable[[str], None] = unheard,
    team: Team = ALONE,
) -> None:
    """Fine-tune a LoRA adapter on ``examples``; write it, its log, outcome and the machine's facts to ``out``.

    Loss is summed over target tokens and divided once per optimizer step over the whole batch, so it does
    not depend on how the batch was packed. Started again in the same folder after being killed, it goes
    on from its last checkpoint and ends in the same bytes.

    With ``patience`` the adapter with the lowest validation loss is kept (that before the first step does
    not count), and the run ends when so many validations in a row were no better.

    Args:
        base: the parent model's folder.
        examples: to learn from.
        validation: to measure on; may be empty.
        settings: the recipe's step.
        out: the run's folder.
        seed: of adapter, order and dropout.
        base_name: the base as the adapter's configuration names it.
        new_tokens: ids whose rows of embedding and head are trained as well.
        progress: receives what was done and how much there is.
        track: receives every row of the log (when a run goes on, those already written come first), and at
            the end one with the step that was kept and the realised shares.
        tell: receives a line on where and how it computes.
        team: of the processes that train together, all with the same arguments but ``out``.

    Raises:
        MulmedError: the model's architecture cannot be packed, a target layer does not exist, the shares
            asked for cannot be met, ``patience`` or ``validate_every`` has nothing to be measured on, or a loss or gradient is
            no longer finite (the batch's records are named, and a checkpoint is left). A gradient in float16 gets
            the chance of a smaller scale first: the update is left out, as ``torch.amp.GradScaler`` does it.
    """
    for key in ("patience", "validate_every"):
        if getattr(settings, key) is not None and not validation:
            raise MulmedError(
                "There is no validation example to measure on.",
                where=key,
                remedy=f"Give a source of this step a validation share, or leave {key} out.",
            )

    members = groups_of(examples)
    shares = None
    if settings.mix is not None:
        shares = target_shares({group: len(indices) for group, indices in members.items()}, settings.mix)

    @functools.lru_cache(maxsize=1)
    def order(epoch: int) -> np.ndarray:
        if shares is None:
            return epoch_order(len(examples), epoch, seed)
        return mixed_order(members, shares, epoch, seed)

    keep_freed_memory()
    placement = choose_device(settings.precision, team.gpu)
    prepared = prepare(base, examples[:2], settings, placement, seed=seed, new_tokens=new_tokens, team=team)
    model = prepared.model
    facts = {
        "device": placement.name,
        "precision": str(placement.dtype).removeprefix("torch."),
        "precision_reason": placement.reason,
        "attention": prepared.attention,
        "compiled": prepared.uncompiled is None,
    }
    tell(f"{placement.name}: {facts['precision']}, for {placement.reason}; {prepared.blocks}.")
    base_hash = weights_hash(base)
    parameters = trainable(model)
    optimizer = torch.optim.AdamW(
        parameters.values(),
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        fused=placement.device.type == "cuda" or None,
    )
    state = State(parameters, optimizer, scale=LossScale() if placement.dtype == torch.float16 else None)
    steps = total_steps(len(examples), settings.batch, settings.epochs)
    per_epoch = steps_per_epoch(len(examples), settings.batch)
    validate_every = settings.validate_every or max(1, -(-steps // 5))
    load_checkpoint(out, state)
    first = state.step
    for row in cut_log(out / LOG, first):
        track(row)
    started = saved = time.monotonic()
    tokens_done = 0
    last_validation = ""

    def write(row: Mapping[str, Any]) -> None:
        append_row(out / LOG, row)
        track(row)

    def validate(batch: Sequence[Example]) -> None:
        nonlocal last_validation
        losses = validation_loss(model, validation, settings.micro_batch_tokens, team)
        loss = losses["validation_loss"]
        if not math.isfinite(loss):
            raise not_finite("validation loss", state.step, steps, batch, out, state)
        last_validation = f", validation {loss:.3f}"
        if settings.patience is not None and state.step:
            state.best = better(state.best, state.step, loss, parameters)
        write({"step": state.step, **losses})

    if first == 0 and validation:
        validate([])
    # A base in parts is put together for one pack at a time.
    together = 1 if team.shard else side_by_side(placement.device, settings.micro_batch_tokens)
    for step in range(first, steps):
        seed_step(seed, step, team.rank)
        epoch, inside = divmod(step, per_epoch)
        batch = [examples[i] for i in order(epoch)[inside * settings.batch : (inside + 1) * settings.batch]]
        packs = team.share(batch, settings.micro_batch_tokens, together)
        targets = sum(e.targets for e in batch)
        rate = settings.learning_rate * learning_rate_factor(step, steps, settings.warmup)
        scale = state.scale.value if state.scale else 1.0
        part = (
            accumulate_side_by_side(model, packs, targets, together, scale)
            if together > 1
            else accumulate(model, packs, targets, scale)
        )
        team.sum_gradients(parameters.values())
        length = torch.nn.utils.clip_grad_norm_(parameters.values(), settings.max_grad_norm)
        # Here alone, once an optimizer step, the device is waited for.
        loss, norm = torch.stack((team.total(part), length.double())).tolist()
        if not math.isfinite(loss):
            raise not_finite("loss", step + 1, steps, batch, out, state)
        sound = math.isfinite(norm)
        if sound:
            update(optimizer, rate)
            state.updates += 1
        # In float16 the scale may have been too large, and can fall; but no run ends without any update.
        elif scale <= LEAST or (step + 1 == steps and not state.updates):
            raise not_finite("gradient", step + 1, steps, batch, out, state)
        else:
            optimizer.zero_grad(set_to_none=True)
        if state.scale:
            state.scale.adapt(sound)
        state.step = step + 1
        tokens = sum(len(e.ids) for e in batch)
        tokens_done += tokens
        row = {
            "step": state.step,
            "epoch": round(state.step / per_epoch, 4),
            "loss": round(loss, 6),
            "learning_rate": rate,
            "grad_norm": round(norm, 6) if sound else None,
            "target_tokens": targets,
            "tokens": tokens,
        }
        write(row | ({"loss_scale": scale} if state.scale else {}))
        if validation and (state.step % validate_every == 0 or state.step == steps):
            validate(batch)
        speed = tokens_done / (time.monotonic() - started)
        progress(f"loss {loss:.3f}{last_validation}, {speed:.0f} tokens/s", state.step, steps)
        if settings.patience is not None and state.best and state.best.waited >= settings.patience:
            break
        # Several processes would have to agree on the time.
        late = team.size == 1 and time.monotonic() - saved > CHECKPOINT_SECONDS
        if (late or state.step % settings.checkpoint_every == 0) and state.step < steps:
            save_checkpoint(out, state)
            saved = time.monotonic()
    kept = state.step
    if state.best is not None:
        kept = state.best.step
        restore(parameters, state.best.tensors)
    drawn = count_drawn(examples, order, settings.batch, state.step, shares)
    outcome = {
        "planned_steps": steps,
        "steps": state.step,
        "kept": kept,
        "before": validation_at(out / LOG, 0),
        "after": validation_at(out / LOG, kept),
        "shares": shares_document(drawn),
    }
    write_json(out / OUTCOME, outcome)
    track({"step": state.step, "kept": kept, "shares": outcome["shares"]})
    save_adapter(model, settings.lora, base_name, out)
    seal(out, base_hash)
    seconds = time.monotonic() - started
    speed = tokens_done / seconds if seconds else 0.0
    write_json(
        out / RUN,
        {
            **facts,
            "processes": team.size,
            "steps": state.step - first,
            "resumed_at": first,
            "skipped_steps": state.step - state.updates,
            "seconds": round(seconds, 1),
            "tokens_per_second": round(speed, 1),
            **utilization(prepared.weights, speed, placement.name, placement.dtype.itemsize == 2),
        },
    )
    remove_checkpoint(out)
