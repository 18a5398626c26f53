"""The language-model head on target positions only, with its gradients computed in the same pass.

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
        rows_KD: torch.Tensor | None,
        first: int,
    ) -> torch.Tensor:
        new = slice(0, 0) if rows_KD is None else slice(first, first + rows_KD.shape[0])
        gradient_KD = torch.zeros_like(rows_KD) if rows_KD is not None and ctx.needs_input_grad[6] else None
        narrow_KD = None if rows_KD is None else rows_KD.to(weight_VD.dtype)
        wide = torch.promote_types(hidden_ND.dtype, torch.float32)
        total = torch.zeros((), dtype=wide, device=hidden_ND.device)
        gradient_ND = torch.empty_like(hidden_ND) if ctx.needs_input_grad[0] else None
        for start in range(0, hidden_ND.shape[0], chunk):
            part = slice(start, start + chunk)
            targets = targets_N[part, None]
            logits = F.linear(hidden_ND[part], weight_VD, bias_V).to(wide)
            if narrow_KD is not None:
                logits[:, new] = F.linear(
                    hidden_ND[part], narrow_KD, None if bias_V is None else bias_V[new]
                ).to(wide)
            squashed = None
            if softcap is not None:
                squashed = torch.tanh(logits / softcap)
                logits = squashed * softcap
            logits = torch.log_softmax(logits, dim=-1)
            total -= logits.gather(1, targets).sum()
            if gradient_ND is not None:
                # d loss / d logits = softmax - one-hot, in place of the logarithms
                logits.exp_()
                logits.scatter_add_(1, targets, torch.full_like(targets, -1, dtype=logits.dtype))
                if squashed is not None:
                    logits *= 1 - squashed**2
                narrow = logits.to(weight_VD.dtype)
                if narrow_KD is None:
                    gradient_ND[part] = narrow @ weight_VD
                    continue
                of_new = narrow[:, new].clone()
                narrow[:, new] = 0
                gradient_ND[part] = torch.addmm(of_new @ narrow_KD, narrow, weight_VD)
                if gradient_KD is not None:
                    gradient_KD += of_new.t() @ hidden_ND[part]
        if gradient_ND is not None:
            ctx.save_for_backward(gradient_ND, gradient_KD)
        return total

    @staticmethod
    def backward(ctx: Any, grad_output: torch.Tensor) -> tuple[Any, ...]:
        gradient_ND, gradient_KD = ctx.saved_tensors
        of_rows = None if gradient_KD is None else gradient_KD * grad_output
        return gradient_ND * grad_output, None, None, None, None, None, of_rows, None


def cross_entropy_sum(
    hidden_ND: torch.Tensor,
    weight_VD: torch.Tensor,
    targets_N: torch.Tensor,
    *,
    bias_V: torch.Tensor | None = None,
    softcap: float | None = None,
    chunk: int = 256,
    rows_KD: torch.Tensor | None = None,
    first: int = 0,
) -> torch.Tensor:
    """Cross-entropy in nats, summed over positions, of a head that is frozen but for some rows.

    Args:
        hidden_ND: last hidden states at the positions that predict a target.
        weight_VD: the head's frozen weight.
        targets_N: token ids to predict.
        bias_V: the head's bias, if it has one.
        softcap: Gemma 2's bound on logits.
        chunk: positions whose logits exist at a time.
        rows_KD: trained rows that stand in the place of the weight's.
        first: token id of the first of them.
    """
    apply: Any = _ChunkedCrossEntropy.apply
    total: torch.Tensor = apply(hidden_ND, weight_VD, bias_V, targets_N, softcap, chunk, rows_KD, first)
    return total
