"""The training loop: one LoRA fine-tuning, read from top to bottom."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mulmed.artifact import write_json
from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Step
from mulmed.training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from mulmed.training.fused import fuse_norms
from mulmed.training.int8 import quantize_base
from mulmed.training.log import LOG, append_row, cut_log
from mulmed.training.lora import add_adapters, save_adapter, trainable
from mulmed.training.loss import packs_of, validation_loss
from mulmed.training.model import choose_device, keep_freed_memory, load_model, use_packed_loss
from mulmed.training.packing import batch_indices, steps_per_epoch, total_steps
from mulmed.training.rows import add_token_rows
from mulmed.training.step import accumulate, learning_rate_factor, seed_step, update

RUN = "run.json"
#: (label, done, total)
Progress = Callable[[str, int, int], None]


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
) -> None:
    """Fine-tune a LoRA adapter on ``examples`` and write it, its log and the machine's facts to ``out``.

    Loss is summed over target tokens and divided once per optimizer step over the whole batch, so it does
    not depend on how the batch was packed. Started again in the same folder after being killed, it goes
    on from its last checkpoint and ends in the same bytes.

    Args:
        new_tokens: ids whose rows of embedding and head are trained as well.

    Raises:
        MulmedError: the model's architecture cannot be packed, a target layer does not exist, or the loss
            is no longer finite.
    """
    keep_freed_memory()
    placement = choose_device(settings.precision)
    model = load_model(base, placement)
    use_packed_loss(model, examples[:2])
    fuse_norms(model)
    add_adapters(model, settings.lora, seed)
    if settings.base_precision == "int8":
        quantize_base(model)
    if new_tokens is not None:
        add_token_rows(model, new_tokens)
    model.train()
    parameters = trainable(model)
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = total_steps(len(examples), settings.batch, settings.epochs)
    per_epoch = steps_per_epoch(len(examples), settings.batch)
    validate_every = settings.validate_every or max(1, -(-steps // 5))
    first = load_checkpoint(out, parameters, optimizer)
    cut_log(out / LOG, first)
    started = time.monotonic()
    tokens_done = 0
    last_validation = ""

    def validate(step: int) -> None:
        nonlocal last_validation
        if validation:
            row = {"step": step, **validation_loss(model, validation, settings.micro_batch_tokens)}
            last_validation = f", validation {row['validation_loss']:.3f}"
            append_row(out / LOG, row)

    if first == 0:
        validate(0)
    for step in range(first, steps):
        seed_step(seed, step)
        batch = [examples[i] for i in batch_indices(len(examples), settings.batch, step, seed)]
        packs = packs_of(batch, settings.micro_batch_tokens)
        targets = sum(len(p.targets) for p in packs)
        rate = settings.learning_rate * learning_rate_factor(step, steps, settings.warmup)
        loss = accumulate(model, packs, targets).item()
        norm = torch.nn.utils.clip_grad_norm_(parameters.values(), settings.max_grad_norm).item()
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise MulmedError(
                f"The loss is no longer finite at optimizer step {step + 1} of {steps}.",
                where=str(out.name),
                remedy="Lower learning_rate, or set precision: float32; the last checkpoint is kept.",
            )
        update(optimizer, rate)
        tokens = sum(len(e.ids) for e in batch)
        tokens_done += tokens
        append_row(
            out / LOG,
            {
                "step": step + 1,
                "epoch": round((step + 1) / per_epoch, 4),
                "loss": round(loss, 6),
                "learning_rate": rate,
                "grad_norm": round(norm, 6),
                "target_tokens": targets,
                "tokens": tokens,
            },
        )
        done = step + 1
        if done % validate_every == 0 or done == steps:
            validate(done)
        if done % settings.checkpoint_every == 0 and done < steps:
            save_checkpoint(out, done, parameters, optimizer)
        speed = tokens_done / (time.monotonic() - started)
        progress(f"loss {loss:.3f}{last_validation}, {speed:.0f} tokens/s", done, steps)
    save_adapter(model, settings.lora, base_name, out)
    seconds = time.monotonic() - started
    write_json(
        out / RUN,
        {
            "device": placement.name,
            "precision": str(placement.dtype).removeprefix("torch."),
            "steps": steps - first,
            "resumed_at": first,
            "seconds": round(seconds, 1),
            "tokens_per_second": round(tokens_done / seconds, 1) if seconds else 0,
        },
    )
    remove_checkpoint(out)
