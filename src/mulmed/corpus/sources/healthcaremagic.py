"""HealthCareMagic-100k in the layout ChatDoctor published: instruction, input, output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulmed.corpus.sources.layout import Found, Parsed, Rejected, pair, read_json, text


def read(path: Path) -> Iterator[Found | Rejected]:
    """Records of task ``qa``: ``input`` is the patient's question, ``output`` the doctor's answer.

    ``instruction`` is the same sentence in every row; our own prompt takes its place.
    """
    return read_json(path, _parse)


def _parse(row: Mapping[str, Any]) -> Parsed:
    return Parsed("qa", pair(text(row, "input"), text(row, "output")))
