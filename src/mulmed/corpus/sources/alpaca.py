"""Stanford Alpaca's layout: objects with instruction, input and output."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mulmed.corpus.sources.layout import Found, Note, Parsed, Rejected, Unusable, pair, read_json, text

# Some generated rows say "no input" in words where the field should be empty.
_NO_INPUT = re.compile(r"<?no[ _-]?input>?[.。]?", re.IGNORECASE)
_NO_OUTPUT = re.compile(r"<?no[ _-]?output>?[.。]?", re.IGNORECASE)


def read(path: Path) -> Iterator[Found | Rejected]:
    """Records of task ``instruction``; ``input`` becomes the context."""
    return read_json(path, _parse)


def _parse(row: Mapping[str, Any]) -> Parsed:
    instruction, output = text(row, "instruction"), text(row, "output")
    if _NO_OUTPUT.fullmatch(output.strip()):
        raise Unusable("output is empty")
    context = row.get("input")
    if context is None:
        context = ""
    if not isinstance(context, str):
        raise Unusable("input is not text")
    notes: tuple[Note, ...] = ()
    if _NO_INPUT.fullmatch(context.strip()):
        notes = (Note("placeholder for no input", characters=len(context)),)
        context = ""
    return Parsed("instruction", pair(instruction, output), context if context.strip() else "", notes=notes)
