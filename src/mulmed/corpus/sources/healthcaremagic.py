"""HealthCareMagic-100k in the layout ChatDoctor published: instruction, input, output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mulmed.corpus.sources.layout import Parsed, pair, text


def parse(row: Mapping[str, Any]) -> Parsed:
    """Records of task ``qa``: ``input`` is the patient's question, ``output`` the doctor's answer.

    ``instruction`` is the same sentence in every row; our own prompt takes its place.
    """
    return Parsed("qa", pair(text(row, "input"), text(row, "output")))
