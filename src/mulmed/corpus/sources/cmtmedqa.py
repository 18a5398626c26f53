"""CMtMedQA (Yang et al. 2023, Zhongjing): the last round beside the ``history`` of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mulmed.corpus.sources.layout import (
    Parsed,
    alternate,
    as_round,
    conversation,
    pair,
    rounds,
    text,
)


def parse(row: Mapping[str, Any]) -> Parsed:
    """Records of task ``dialogue``, or ``qa`` where there is no history.

    The questions about safety that the published test set carries (``instruct`` and ``output``) are
    read too.
    """
    if "instruct" in row and "instruction" not in row:
        return Parsed("qa", pair(text(row, "instruct"), text(row, "output")))
    question = text(row, "instruction")
    if isinstance(more := row.get("input"), str) and more.strip():
        question = f"{question}\n{more}"
    turns, notes = alternate([*rounds(row.get("history")), *as_round(question, text(row, "output"))])
    return Parsed(conversation(turns), turns, notes=notes)
