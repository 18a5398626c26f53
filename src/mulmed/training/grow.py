"""A base model whose vocabulary has grown: rows for the new tokens in embedding and head."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mulmed.prompts.vocabulary import Vocabulary
from mulmed.training.merge import stored_dtype
from mulmed.training.model import Placement, load_model


def grow_model(base: Path, vocabulary: Vocabulary, tokenizer: Any, out: Path) -> None:
    """Write the base model with the new tokens to ``out``, beside the tokenizer that knows them.

    A new token begins as the mean of the old ones that it stands for, in the embedding, and in the head where
    that is not the same matrix (Gee et al. 2022). Nothing else changes, the precision
    included.
    """
    model = load_model(base, Placement(torch.device("cpu"), stored_dtype(base), "cpu"))
    rows = max(vocabulary.ids.stop, model.get_input_embeddings().weight.shape[0])
    model.resize_token_embeddings(rows, mean_resizing=False)
    embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings()
    with torch.no_grad():
        for matrix in [embedding] if head.weight is embedding else [embedding, head.weight]:
            fill(matrix, vocabulary)
        if head.bias is not None:
            fill(head.bias, vocabulary)
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def fill(rows: torch.Tensor, vocabulary: Vocabulary) -> None:
    """Set each new token's row, or number, to the mean of those of its pieces."""
    for id_, pieces in zip(vocabulary.ids, vocabulary.pieces, strict=True):
        rows[id_] = rows[list(pieces)].float().mean(0).to(rows.dtype)
