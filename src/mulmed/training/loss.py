"""The loss of packed examples, in training and on validation examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from mulmed.prompts import Example
from mulmed.training.head import cross_entropy_sum
from mulmed.training.packing import Pack, make_pack, pack_lengths
from mulmed.training.rows import NewTokenHead


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
