"""Attention that never crosses from one example of a pack into another."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

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
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Causal attention inside each example, in the form of transformers' attention interface.

    Args:
        module: the attention layer (unused beyond the interface).
        query: shape (1, heads, T, head size).
        key: shape (1, key-value heads, T, head size).
        value: like ``key``.
        attention_mask: ignored.
        scaling: factor on the scores.
        sliding_window: a token sees itself and this many minus one before it (Gemma's local layers).
        lengths: tokens of each example in the pack; all T are one example when absent.

    Returns:
        Outputs of shape (1, T, heads, head size), and None for the weights.
    """
    del module
    outputs = []
    start = 0
    for length in lengths or (query.shape[2],):
        end = start + length
        mask = None
        if sliding_window is not None and length > sliding_window:
            i = torch.arange(length, device=query.device)
            distance = i[:, None] - i[None, :]
            mask = (distance >= 0) & (distance < sliding_window)
        outputs.append(
            F.scaled_dot_product_attention(
                query[:, :, start:end],
                key[:, :, start:end],
                value[:, :, start:end],
                attn_mask=mask,
                is_causal=mask is None,
                scale=scaling,
                enable_gqa=query.shape[1] != key.shape[1],
            )
        )
        start = end
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def use_packed_attention(model: Any) -> None:
    """Make a loaded transformers model attend inside examples only.

    Its masks are not built at all: for an attention it has no mask function for, transformers passes
    none.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, packed_attention)
    model.set_attn_implementation(NAME)
