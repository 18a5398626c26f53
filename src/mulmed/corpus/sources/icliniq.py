"""iCliniq as ChatDoctor published it: the doctor's answer beside those of two other systems."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mulmed.corpus.sources.layout import Parsed, pair, text

#: Field of the file -> name of the system that wrote it.
BASELINES = {"answer_chatgpt": "chatgpt", "answer_chatdoctor": "chatdoctor"}


def parse(row: Mapping[str, Any]) -> Parsed:
    """Records of task ``qa``: ``input`` and ``answer_icliniq``.

    Rows in the instruction/input/output layout are read too. Answers of ChatGPT and ChatDoctor, where
    the file has them, become the record's baselines.
    """
    answer = "output" if "answer_icliniq" not in row and "output" in row else "answer_icliniq"
    baselines = {
        system: value
        for key, system in BASELINES.items()
        if isinstance(value := row.get(key), str) and value.strip()
    }
    return Parsed("qa", pair(text(row, "input"), text(row, answer)), baselines=baselines)
