"""Attention that never crosses from one example of a pack into another: three ways to the same numbers."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import torch
import torch.nn.functional as F

from mulmed.errors import MulmedError
from mulmed.training.packing import Pack

#: ``sdpa``: one product an example, on any device, and the twin of the others. ``varlen``: flash attention over
#: the whole pack, in half precision. ``flex``: attention compiled with the pack's mask.
Backend = Literal["sdpa", "varlen", "flex"]
#: What transformers calls them. A name with ``sdpa`` in it would make it ask for more than this needs.
_NAMES: dict[Backend, str] = {"sdpa": "mulmed_packed", "varlen": "mulmed_varlen", "flex": "mulmed_flex"}
#: Offsets are padded to a multiple of this many, so that packs of many shapes look alike to a compiler.
_OFFSETS = 64


def gpu_backend(capability: tuple[int, int], dtype: torch.dtype, *, compiles: bool, varlen: bool) -> Backend:
    """The fastest backend for an NVIDIA GPU.

    Args:
        capability: its compute capability; (8, 0) is Ampere.
        dtype: of the activations.
        compiles: whether torch can compile for it; flex attention is slow otherwise.
        varlen: whether this torch has flash attention over sequences of any lengths.
    """
    if capability < (8, 0):
        return "sdpa"
    if varlen and dtype in (torch.bfloat16, torch.float16):
        return "varlen"
    return "flex" if compiles else "sdpa"


def has_varlen() -> bool:
    """Whether this torch has flash attention over sequences of any lengths, with grouped heads."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    return "enable_gqa" in inspect.signature(varlen_attn).parameters


def use_packed_attention(model: Any, backend: Backend = "sdpa") -> None:
    """Make a loaded transformers model attend inside examples only.

    Its masks are not built at all: for an attention it has no mask function for, transformers passes
    none.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(_NAMES[backend], _BACKENDS[backend])
    model.set_attn_implementation(_NAMES[backend])


def attention_arguments(model: Any, pack: Pack) -> dict[str, Any]:
    """What the model's attention must know of a pack, for the model's own ``forward``.

    Nothing is read back from the device: the lengths are known here.
    """
    name = model.config._attn_implementation
    if name == _NAMES["sdpa"]:
        return {"lengths": pack.lengths}
    if name == _NAMES["varlen"]:
        return {"offsets": _offsets(pack, model.device), "longest": _power_of_two(max(pack.lengths))}
    windows = {None, getattr(model.config, "sliding_window", None)}
    return {"masks": {window: _mask(pack, window, model.device) for window in windows}}


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001  (the interface passes it; the pack needs none)
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    lengths: tuple[int, ...] | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each example, in the form of transformers' attention interface.

    Args:
        module: the attention layer, named when it is refused.
        query: shape (1, heads, T, head size).
        key: shape (1, key-value heads, T, head size).
        value: like ``key``.
        attention_mask: ignored.
        scaling: factor on the scores.
        sliding_window: a token sees itself and this many minus one before it (Gemma's local layers).
        lengths: tokens of each example in the pack; all T are one example when absent.

    Returns:
        Outputs of shape (1, T, heads, head size), and None for the weights.

    Raises:
        MulmedError: the architecture bounds its scores (``softcap``) or has attention sinks (``s_aux``).
    """
    _refuse_other_scores(module, softcap, s_aux)
    lengths = lengths or (query.shape[2],)
    # One split each: the gradient of a slice would be as long as the whole pack, for every example of it.
    parts = zip(lengths, *(torch.split(x, list(lengths), dim=2) for x in (query, key, value)), strict=True)
    outputs = []
    for length, q, k, v in parts:
        mask = None
        if sliding_window is not None and length > sliding_window:
            i = torch.arange(length, device=query.device)
            distance = i[:, None] - i[None, :]
            mask = (distance >= 0) & (distance < sliding_window)
        outputs.append(
            F.scaled_dot_product_attention(
                q,
                k,
                v,
                attn_mask=mask,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            ).transpose(1, 2)
        )
    return torch.cat(outputs, dim=1), None


def varlen_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    offsets: torch.Tensor,
    longest: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As :func:`packed_attention`, by torch's flash attention over sequences of any lengths.

    Args:
        offsets: where each example begins and the last ends, int32; the end may be repeated.
        longest: at least the tokens of the longest example.
    """
    from torch.nn.attention.varlen import varlen_attn

    _refuse_other_scores(module, softcap, s_aux)
    query, key, value = (x.squeeze(0).transpose(0, 1) for x in (query, key, value))
    out: Any = varlen_attn(
        query,
        key,
        value,
        offsets,
        offsets,
        longest,
        longest,
        scale=scaling,
        window_size=(-1 if sliding_window is None else sliding_window - 1, 0),
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.unsqueeze(0), None


def flex_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,  # noqa: ARG001
    *,
    masks: dict[int | None, Any],
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: torch.Tensor | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """As :func:`packed_attention`, by a kernel that torch compiles with the pack's mask.

    Args:
        masks: a block mask for each width of the model's sliding windows, None for none.
    """
    from torch.nn.attention.flex_attention import flex_attention as attend

    _refuse_other_scores(module, softcap, s_aux)
    out: Any = attend(
        query,
        key,
        value,
        block_mask=masks[sliding_window],
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2).contiguous(), None


_BACKENDS: dict[Backend, Callable[..., tuple[torch.Tensor, None]]] = {
    "sdpa": packed_attention,
    "varlen": varlen_attention,
    "flex": flex_attention,
}


def _refuse_other_scores(module: torch.nn.Module, softcap: float | None, s_aux: torch.Tensor | None) -> None:
    if softcap is not None or s_aux is not None:
        raise MulmedError(
            "This architecture's attention is not the plain one that examples are packed with "
            f"({'bounded scores' if s_aux is None else 'attention sinks'}).",
            where=f"base model with {type(module).__name__}",
            remedy="Use a base of a tested architecture (llama, gemma3_text), or report this one.",
        )


def _offsets(pack: Pack, device: torch.device) -> torch.Tensor:
    ends = torch.tensor(pack.lengths).cumsum(0)
    offsets = torch.full((-(-(len(ends) + 1) // _OFFSETS) * _OFFSETS,), int(ends[-1]), dtype=torch.int32)
    offsets[0] = 0
    offsets[1 : len(ends) + 1] = ends
    if device.type == "cuda":
        offsets = offsets.pin_memory()
    return offsets.to(device, non_blocking=True)


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _mask(pack: Pack, window: int | None, device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask

    document = torch.repeat_interleave(torch.tensor(pack.lengths)).to(device, non_blocking=True)

    def sees(
        batch: torch.Tensor,  # noqa: ARG001
        head: torch.Tensor,  # noqa: ARG001
        i: torch.Tensor,
        j: torch.Tensor,
    ) -> torch.Tensor:
        inside = (document[i] == document[j]) & (i >= j)
        return inside if window is None else inside & (i - j < window)

    total = sum(pack.lengths)
    return create_block_mask(sees, None, None, total, total, device=str(device))
