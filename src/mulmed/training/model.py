"""A base model, loaded and made ready for packs: where it runs, and that its loss is still its own."""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.training.attention import use_packed_attention
from mulmed.training.loss import pack_loss
from mulmed.training.packing import make_pack


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
    mmap_threshold, trim_threshold, arenas = -3, -1, -8
    mallopt(arenas, 1)  # those of other threads give whole heaps back
    mallopt(mmap_threshold, 1 << 30)
    mallopt(trim_threshold, (1 << 31) - 1)
