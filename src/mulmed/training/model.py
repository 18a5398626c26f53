"""A base model, loaded and made ready for packs: where it runs, and that its loss is still its own."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.training.attention import Backend, use_packed_attention
from mulmed.training.loss import pack_loss
from mulmed.training.packing import make_pack

_ASKED = "the recipe asks for it"
#: Inputs of other kinds (first block, validation, one length, any) for which torch may compile a block anew.
_VARIANTS = 64


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and in which precision a model runs.

    Attributes:
        device: where.
        dtype: precision of the base and the activations; adapters and their moments are float32.
        name: of the device, for people.
        reason: why in this precision.
    """

    device: torch.device
    dtype: torch.dtype
    name: str
    reason: str = ""


def choose_device(precision: str, gpu: int = 0) -> Placement:
    """The GPU of that number when there is one, else the CPU, in the precision asked for or that suits it."""
    if torch.cuda.is_available():
        device = torch.device("cuda", gpu)
        dtype, reason = gpu_precision(precision, torch.cuda.get_device_capability(device))
        return Placement(device, dtype, torch.cuda.get_device_name(device), reason)
    dtype, reason = torch.float32, "most CPUs multiply it faster than half precision"
    if precision != "auto":
        dtype, reason = getattr(torch, precision), _ASKED
    name = f"{platform.machine()} CPU, {torch.get_num_threads()} threads"
    return Placement(torch.device("cpu"), dtype, name, reason)


def gpu_precision(precision: str, capability: tuple[int, int]) -> tuple[torch.dtype, str]:
    """The precision for an NVIDIA GPU of a compute capability, and why."""
    if precision != "auto":
        return getattr(torch, precision), _ASKED
    unit = f"compute capability {capability[0]}.{capability[1]}"
    if capability >= (8, 0):
        return torch.bfloat16, f"the GPU multiplies it fastest and its range is float32's ({unit})"
    if capability >= (7, 0):
        return torch.float16, f"the GPU multiplies it fastest and has no fast bfloat16 ({unit})"
    return torch.float32, f"the GPU has no fast half precision ({unit})"


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


def use_packed_loss(model: Any, examples: Sequence[Example], backend: Backend = "sdpa") -> None:
    """Make the model attend inside examples only, and prove that :func:`pack_loss` is still its own loss.

    Some architectures shape their logits or scores, or carry a state from token to token, in ways that a
    generic head and attention do not know; training one of them wrongly must not go unnoticed.

    Args:
        model: in evaluation, with its own attention.
        examples: two of them show what leaks from one example of a pack into the next.
        backend: of the packed attention.

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
        use_packed_attention(model, backend)
        packed = pack_loss(model, make_pack([e.ids for e in examples], [e.mask for e in examples])).item()
    if not abs(packed - own) <= (1e-4 if model.dtype == torch.float32 else 1e-2) * own + 1e-3:
        raise MulmedError(
            f"This architecture's own loss ({own:.4f}) is not what the training loop computes "
            f"({packed:.4f}).",
            where=f"base model of type {model.config.model_type}",
            remedy="Use a base of a tested architecture (llama, gemma3_text), or report this one.",
        )


def why_not_compiled(device: torch.device) -> str | None:
    """What keeps torch from compiling blocks for the device; None where nothing does.

    On a CPU the layers written by hand are as fast.
    """
    if device.type != "cuda":
        return "it gains nothing on a CPU"
    if torch.cuda.get_device_capability(device) < (8, 0):
        return "the GPU is older than Ampere"
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if not any(map(shutil.which, (os.environ.get("CC", "cc"), "gcc", "clang"))):
        return "there is no C compiler"
    return None


def compile_blocks(model: Any, backend: str = "inductor") -> None:
    """Let torch compile the model's blocks, all by the same code: rotary embedding, norms and gates are fused."""
    torch._dynamo.config.recompile_limit = _VARIANTS
    for block in model.base_model.layers:
        block.compile(backend=backend)


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
