"""The training loop: one LoRA fine-tuning, read from top to bottom."""

from __future__ import annotations

import ctypes
import json
import math
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mulmed.artifact import write_atomic, write_json
from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Step
from mulmed.training.attention import use_packed_attention
from mulmed.training.checkpoint import load_checkpoint, remove_checkpoint, save_checkpoint
from mulmed.training.fused import fuse_norms
from mulmed.training.head import cross_entropy_sum
from mulmed.training.int8 import quantize_base
from mulmed.training.lora import add_adapters, save_adapter, trainable
from mulmed.training.packing import (
    Pack,
    batch_indices,
    make_pack,
    pack_lengths,
    steps_per_epoch,
    total_steps,
)

LOG = "log.jsonl"
RUN = "run.json"
#: (label, done, total)
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and in which precision a model runs."""

    device: torch.device
    dtype: torch.dtype
    name: str


def choose_device(precision: str) -> Placement:
    """The GPU in bfloat16 when there is one, else the CPU in float32 (bfloat16 is slower on most)."""
    if torch.cuda.is_available():
        dtype = torch.float32 if precision == "float32" else torch.bfloat16
        return Placement(torch.device("cuda"), dtype, torch.cuda.get_device_name())
    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
    return Placement(
        torch.device("cpu"), dtype, f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    )


def load_model(folder: Path, placement: Placement) -> Any:
    """A causal language model from a checked folder: safetensors only, never remote code.

    Raises:
        MulmedError: transformers does not know the architecture, or a weight is missing (transformers would
            draw it at random and go on).
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        model, info = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=placement.dtype,
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise MulmedError(
            f"The model cannot be loaded: {(str(error).strip() or type(error).__name__).splitlines()[0]}",
            where=str(folder),
            remedy="Use a causal language model that this version of transformers knows.",
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise MulmedError(
            f"The model folder lacks {len(missing)} of its weights, first {missing[0]}.",
            where=str(folder),
            remedy="Fetch the whole model; config.json must be that of its weights.",
        )
    return model.to(placement.device)


def packs_of(examples: Sequence[Example], capacity: int) -> list[Pack]:
    """The examples packed into rows of at most ``capacity`` tokens."""
    groups = pack_lengths([len(e.ids) for e in examples], capacity)
    return [make_pack([examples[i].ids for i in g], [examples[i].mask for i in g]) for g in groups]


def pack_loss(model: Any, pack: Pack) -> torch.Tensor:
    """Cross-entropy in nats, summed over the pack's target tokens."""
    device = model.device
    hidden = model.base_model(
        input_ids=pack.ids.to(device),
        position_ids=pack.positions.to(device),
        use_cache=False,
        lengths=pack.lengths,
    ).last_hidden_state[0]
    head = model.get_output_embeddings()
    return cross_entropy_sum(
        hidden[pack.sources.to(device)],
        head.weight,
        pack.targets.to(device),
        bias_V=head.bias,
        softcap=getattr(model.config, "final_logit_softcapping", None),
    )


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Factor on the peak rate for optimizer step ``step`` (from 0): linear up, then linear down to 0."""
    rising = math.ceil(steps * warmup)
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))


@torch.no_grad()
def validation_loss(model: Any, examples: Sequence[Example], capacity: int) -> dict[str, Any]:
    """Mean loss in nats a target token, over all and by language."""
    was_training = model.training
    model.eval()
    sums: dict[str, list[float]] = {}
    for language in sorted({e.language for e in examples}):
        for pack in packs_of([e for e in examples if e.language == language], capacity):
            total = sums.setdefault(language, [0.0, 0])
            total[0] += pack_loss(model, pack).item()
            total[1] += len(pack.targets)
    model.train(was_training)
    loss, tokens = (sum(s[k] for s in sums.values()) for k in (0, 1))
    return {
        "validation_loss": round(loss / tokens, 6),
        "validation_loss_by": {lang: round(s[0] / s[1], 6) for lang, s in sums.items()},
    }


def train(
    base: Path,
    examples: Sequence[Example],
    validation: Sequence[Example],
    settings: Step,
    out: Path,
    *,
    seed: int,
    base_name: str,
    progress: Progress,
) -> None:
    """Fine-tune a LoRA adapter on ``examples`` and write it, its log and the machine's facts to ``out``.

    Loss is summed over target tokens and divided once per optimizer step over the whole batch, so it does
    not depend on how the batch was packed. Started again in the same folder after being killed, it goes
    on from its last checkpoint and ends in the same bytes.

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
    model.train()
    parameters = trainable(model)
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = total_steps(len(examples), settings.batch, settings.epochs)
    per_epoch = steps_per_epoch(len(examples), settings.batch)
    validate_every = settings.validate_every or max(1, -(-steps // 5))
    first = load_checkpoint(out, parameters, optimizer)
    _cut_log(out / LOG, first)
    started = time.monotonic()
    tokens_done = 0
    last_validation = ""

    def validate(step: int) -> None:
        nonlocal last_validation
        if validation:
            row = {"step": step, **validation_loss(model, validation, settings.micro_batch_tokens)}
            last_validation = f", validation {row['validation_loss']:.3f}"
            _append(out / LOG, row)

    if first == 0:
        validate(0)
    for step in range(first, steps):
        # Dropout is a pure function of seed and step, so a resumed run needs no generator state.
        torch.manual_seed(seed * 1_000_003 + step)
        batch = [examples[i] for i in batch_indices(len(examples), settings.batch, step, seed)]
        packs = packs_of(batch, settings.micro_batch_tokens)
        targets = sum(len(p.targets) for p in packs)
        rate = settings.learning_rate * learning_rate_factor(step, steps, settings.warmup)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss = 0.0
        for pack in packs:
            part = pack_loss(model, pack) / targets
            part.backward()  # type: ignore[no-untyped-call]
            loss += part.item()
        norm = float(torch.nn.utils.clip_grad_norm_(parameters.values(), settings.max_grad_norm))
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise MulmedError(
                f"The loss is no longer finite at optimizer step {step + 1} of {steps}.",
                where=str(out.name),
                remedy="Lower learning_rate, or set precision: float32; the last checkpoint is kept.",
            )
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        tokens = sum(len(e.ids) for e in batch)
        tokens_done += tokens
        _append(
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


def use_packed_loss(model: Any, examples: Sequence[Example]) -> None:
    """Make the model attend inside examples only, and prove that :func:`pack_loss` is still its own loss.

    Some architectures shape their logits or scores, or carry a state from token to token, in ways that a
    generic head and attention do not know; training one of them wrongly must not go unnoticed.

    Args:
        model: as loaded.
        examples: two of them show what leaks from one example of a pack into the next.

    Raises:
        MulmedError: the loss of the examples packed together is not the sum of those that the model's own
            forward gives one by one, to a rounding error (1e-4 in float32, 1e-2 below).
    """
    own = packed = 0.0
    with torch.no_grad():
        for example in examples:
            pack = make_pack([example.ids], [example.mask])
            logits = model(input_ids=pack.ids.to(model.device), use_cache=False).logits[0].float()
            own += torch.nn.functional.cross_entropy(
                logits[pack.sources.to(model.device)], pack.targets.to(model.device), reduction="sum"
            ).item()
        use_packed_attention(model)
        packed = pack_loss(model, make_pack([e.ids for e in examples], [e.mask for e in examples])).item()
    if not abs(packed - own) <= (1e-4 if model.dtype == torch.float32 else 1e-2) * own + 1e-3:
        raise MulmedError(
            f"This architecture's own loss ({own:.4f}) is not what the training loop computes "
            f"({packed:.4f}).",
            where=f"base model of type {model.config.model_type}",
            remedy="Use a base of a tested architecture (llama, gemma3_text), or report this one.",
        )


def keep_freed_memory() -> None:
    """Tell glibc to keep freed pages: each step frees and takes the same large tensors again.

    Returning them to the kernel costs 10 to 20% of a step on a CPU. Elsewhere this does nothing.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return
    mmap_threshold, trim_threshold = -3, -1
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)


def _cut_log(path: Path, steps_done: int) -> None:
    """Cut the log back to what the checkpoint knows."""
    kept = []
    if path.exists() and steps_done:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # the line being written when the process was killed
                break
            if row["step"] <= steps_done:
                kept.append(line + "\n")
    write_atomic(path, "".join(kept).encode())


def _append(log: Path, row: dict[str, Any]) -> None:
    with log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
