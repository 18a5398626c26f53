"""Attention that never crosses from one example of a pack into another."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from mulmed.errors import MulmedError

NAME = "mulmed_packed"


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
    if softcap is not None or s_aux is not None:
        raise MulmedError(
            "This architecture's attention is not the plain one that examples are packed with "
            f"({'bounded scores' if s_aux is None else 'attention sinks'}).",
            where=f"base model with {type(module).__name__}",
            remedy="Use a base of a tested architecture (llama, gemma3_text), or report this one.",
        )
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


def use_packed_attention(model: Any) -> None:
    """Make a loaded transformers model attend inside examples only.

    Its masks are not built at all: for an attention it has no mask function for, transformers passes
    none.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    model.set_attn_implementation(NAME)
