"""The loss of packed examples, and of the validation examples by task and language."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from mulmed.prompts import Example
from mulmed.training.attention import attention_arguments
from mulmed.training.feed import feed
from mulmed.training.head import cross_entropy_sum
from mulmed.training.packing import Pack
from mulmed.training.rows import NewTokenHead
from mulmed.training.team import ALONE, Team


def pack_loss(model: Any, pack: Pack) -> torch.Tensor:
    """Cross-entropy in nats, summed over the pack's target tokens."""
    device = model.device
    hidden = model.base_model(
        input_ids=pack.ids.to(device),
        position_ids=pack.positions.to(device),
        use_cache=False,
        **attention_arguments(model, pack),
    ).last_hidden_state[0]
    head = model.get_output_embeddings()
    new = head if isinstance(head, NewTokenHead) else None
    return cross_entropy_sum(
        hidden[pack.sources.to(device)],
        head.weight,
        pack.targets.to(device),
        bias_V=head.bias,
        softcap=getattr(model.config, "final_logit_softcapping", None),
        rows_KD=new.rows if new else None,
        first=new.ids.start if new else 0,
    )


@torch.no_grad()
def validation_loss(
    model: Any, examples: Sequence[Example], capacity: int, team: Team = ALONE
) -> dict[str, Any]:
    """Mean loss in nats a target token.

    Returns:
        ``validation_loss`` over all, ``validation_loss_by`` language, ``validation_loss_by_task``, and
        ``validation_loss_by_group``: by task, then language. Every target token weighs the same in each.
    """
    was_training = model.training
    model.eval()
    sums: dict[tuple[str, str], tuple[float, int]] = {}
    for language, task in sorted({(e.language, e.task) for e in examples}):
        group = [e for e in examples if (e.language, e.task) == (language, task)]
        loss = torch.zeros((), dtype=torch.float64, device=model.device)
        for pack in feed(team.share(group, capacity), model.device):
            loss += pack_loss(model, pack)
        sums[task, language] = (team.total(loss).item(), sum(e.targets for e in group))
    model.train(was_training)

    def mean(groups: Iterable[tuple[str, str]]) -> float:
        losses, tokens = zip(*(sums[g] for g in groups), strict=True)
        return round(float(sum(losses) / sum(tokens)), 6)

    tasks = sorted({task for task, _ in sums})
    languages = sorted({language for _, language in sums})
    return {
        "validation_loss": mean(sums),
        "validation_loss_by": {lang: mean(g for g in sums if g[1] == lang) for lang in languages},
        "validation_loss_by_task": {task: mean(g for g in sums if g[0] == task) for task in tasks},
        "validation_loss_by_group": {task: {g[1]: mean([g]) for g in sums if g[0] == task} for task in tasks},
    }
