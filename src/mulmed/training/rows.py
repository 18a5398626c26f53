"""New tokens' rows of embedding and head, trained beside the adapters while all other rows stay frozen."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch.func import functional_call


class NewTokenEmbedding(torch.nn.Module):
    """An embedding whose rows of some tokens are a parameter of their own.

    Attributes:
        base: the frozen embedding; its own rows of these tokens are not read.
        ids: the tokens.
        rows: what is trained, float32, shape (tokens, hidden size).
    """

    def __init__(self, base: torch.nn.Embedding, ids: range) -> None:
        super().__init__()
        self.base, self.ids = base, ids
        base.padding_idx = None  # it would keep the gradient from the row of that number
        self.rows = torch.nn.Parameter(base.weight[ids.start : ids.stop].detach().float().clone())

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight."""
        return self.base.weight

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        frozen: torch.Tensor = self.base(input_ids)
        number = input_ids - self.ids.start
        is_new = (number >= 0) & (number < len(self.ids))
        # By the base's own forward: some architectures scale what they look up.
        rows = {"weight": self.rows.to(frozen.dtype)}
        trained: torch.Tensor = functional_call(self.base, rows, (number.clamp(0, len(self.ids) - 1),))
        return torch.where(is_new.unsqueeze(-1), trained, frozen)


class NewTokenHead(torch.nn.Module):
    """A head whose rows of some tokens are a parameter: the embedding's where the two are tied.

    Attributes:
        base: the frozen head; its own rows of these tokens are not read.
        ids: the tokens.
        rows: what is trained, float32, shape (tokens, hidden size).
    """

    def __init__(self, base: torch.nn.Linear, ids: range, rows: torch.nn.Parameter | None) -> None:
        super().__init__()
        self.base, self.ids = base, ids
        own = base.weight[ids.start : ids.stop].detach().float().clone()
        self.rows = torch.nn.Parameter(own) if rows is None else rows

    @property
    def weight(self) -> torch.Tensor:
        """The frozen weight."""
        return self.base.weight

    @property
    def bias(self) -> torch.Tensor | None:
        """The frozen bias, the new tokens' included."""
        return self.base.bias

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        logits = self.base(hidden)
        a, b = self.ids.start, self.ids.stop
        trained = F.linear(hidden, self.rows.to(hidden.dtype), None if self.bias is None else self.bias[a:b])
        return torch.cat((logits[..., :a], trained, logits[..., b:]), dim=-1)


def add_token_rows(model: Any, ids: range) -> None:
    """Make the rows of the tokens ``ids`` trainable in a frozen model, in its head as well."""
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    grown = NewTokenEmbedding(embedding, ids)
    model.set_input_embeddings(grown)
    tied = head.weight is embedding.weight
    model.set_output_embeddings(NewTokenHead(head, ids, grown.rows if tied else None))


def token_rows(model: torch.nn.Module) -> dict[str, NewTokenEmbedding | NewTokenHead]:
    """The layers with trained rows by their path in the model; a tied head is not among them."""
    found: dict[str, NewTokenEmbedding | NewTokenHead] = {}
    for path, layer in model.named_modules():
        if isinstance(layer, NewTokenEmbedding | NewTokenHead) and all(
            layer.rows is not other.rows for other in found.values()
        ):
            found[path] = layer
    return found


def fold_token_rows(model: Any) -> None:
    """Write the trained rows into the frozen weights and put the model's own layers back."""
    for layer in token_rows(model).values():
        with torch.no_grad():
            layer.weight[layer.ids.start : layer.ids.stop] = layer.rows.to(layer.weight.dtype)
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    if isinstance(embedding, NewTokenEmbedding):
        model.set_input_embeddings(embedding.base)
    if isinstance(head, NewTokenHead):
        model.set_output_embeddings(head.base)
