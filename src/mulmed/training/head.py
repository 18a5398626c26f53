"""The language-model head on target positions only, with its gradient computed in the same pass.

The whole logits of a batch would be its largest tensor by far (Gemma 3 has 262,144 words); here only a
chunk of them exists at any time, and only for positions that are learned.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: torch.Tensor,
        weight_VD: torch.Tensor,
        bias_V: torch.Tensor | None,
        targets_N: torch.Tensor,
        softcap: float | None,
        chunk: int,
    ) -> torch.Tensor:
        wide = torch.promote_types(hidden_ND.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden_ND.device)
        gradient_ND = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden_ND.shape[0], chunk):
            part = slice(start, start + chunk)
            targets = targets_N[part, None]
            logits = F.linear(hidden_ND[part], weight_VD, bias_V).to(wide)
            squashed = None
            if softcap is not None:
                squashed = torch.tanh(logits / softcap)
                logits = squashed * softcap
            log_sum = torch.logsumexp(logits, dim=-1, keepdim=True)
            total += (log_sum - logits.gather(1, targets)).sum()
            if gradient_ND is not None:
                # d loss / d logits = softmax - one-hot, in place of the logits themselves
                logits.sub_(log_sum).exp_()
                logits.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=logits.dtype))
                if squashed is not None:
                    logits *= 1 - squashed**2
                gradient_ND[part] = logits.to(weight_VD.dtype) @ weight_VD
        if gradient_ND is not None:
            ctx.save_for_backward(gradient_ND)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
        (gradient_ND,) = ctx.saved_tensors
        return gradient_ND * grad_output, None, None, None, None, None


def cross_entropy_sum(
    hidden_ND: torch.Tensor,
    weight_VD: torch.Tensor,
    targets_N: torch.Tensor,
    *,
    bias_V: torch.Tensor | None = None,
    softcap: float | None = None,
    chunk: int = 256,
) -> torch.Tensor:
    """Cross-entropy in nats, summed over positions, of a frozen head.

    Args:
        hidden_ND: last hidden states at the positions that predict a target.
        weight_VD: the head's weight, not trained.
        targets_N: token ids to predict.
        bias_V: the head's bias, if it has one.
        softcap: Gemma 2's bound on logits.
        chunk: positions whose logits exist at a time.
    """
    apply: Any = _ChunkedCrossEntropy.apply
    total: torch.Tensor = apply(hidden_ND, weight_VD, bias_V, targets_N, softcap, chunk)
    return total
