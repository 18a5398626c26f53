"""A training step's log: one JSON object a line, cut back to the checkpoint when a run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mulmed.artifact import write_atomic

LOG = "log.jsonl"


def cut_log(path: Path, steps_done: int) -> list[dict[str, Any]]:
    """Cut the log back to what the checkpoint knows; returns the rows that are left."""
    kept: list[dict[str, Any]] = []
    lines = []
    if path.exists() and steps_done:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:  # the line being written when the process was killed
                break
            if row["step"] <= steps_done:
                kept.append(row)
                lines.append(line + "\n")
    write_atomic(path, "".join(lines).encode())
    return kept


def validation_at(path: Path, step: int) -> dict[str, Any] | None:
    """The validation row of a step, None where none was measured."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return next((row for row in rows if row["step"] == step and "validation_loss" in row), None)


def append_row(path: Path, row: Mapping[str, Any]) -> None:
    """Add a row. All its numbers are finite: whoever writes one has looked."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, allow_nan=False) + "\n")
