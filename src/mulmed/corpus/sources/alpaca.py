"""Stanford Alpaca's layout: objects with instruction, input and output."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from mulmed.corpus.sources.layout import Note, Parsed, Unusable, pair, text

# Some generated rows say "no input" in words where the field should be empty.
_NO_INPUT = re.compile(r"<?no[ _-]?input>?[.。]?", re.IGNORECASE)
_NO_OUTPUT = re.compile(r"<?no[ _-]?output>?[.。]?", re.IGNORECASE)
_LONGEST = len("<no_output>.")


def parse(row: Mapping[str, Any]) -> Parsed:
    """Records of task ``instruction``; ``input`` becomes the context."""
    instruction, output = text(row, "instruction"), text(row, "output")
    if _says(_NO_OUTPUT, output):
        raise Unusable("output is empty")
    context = row.get("input")
    if context is None:
        context = ""
    if not isinstance(context, str):
        raise Unusable("input is not text")
    notes: tuple[Note, ...] = ()
    if _says(_NO_INPUT, context):
        notes = (Note("placeholder for no input", characters=len(context)),)
        context = ""
    return Parsed("instruction", pair(instruction, output), context if context.strip() else "", notes=notes)


def _says(placeholder: re.Pattern[str], text: str) -> bool:
    stripped = text.strip()
    return len(stripped) <= _LONGEST and placeholder.fullmatch(stripped) is not None
