"""Reading what other stages wrote, with errors that name the file and the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from mulmed.errors import MulmedError


def broken(path: Path, what: str, line: int | None = None) -> MulmedError:
    """The error for an input that is missing, unreadable or incomplete."""
    return MulmedError(
        what,
        where=f"{path}, line {line}" if line else str(path),
        remedy="Delete that stage's folder and run the recipe again.",
    )


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise broken(path, f"A file of an earlier stage cannot be read: {error.strerror}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``.

    Raises:
        MulmedError: the file is missing or holds something else.
    """
    try:
        value = orjson.loads(_bytes(path))
    except orjson.JSONDecodeError as error:
        raise broken(path, "A file of an earlier stage is not valid JSON.") from error
    if not isinstance(value, dict):
        raise broken(path, "A file of an earlier stage is not a JSON object.")
    return value


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a JSON Lines file, one after the other.

    Raises:
        MulmedError: the file is missing, or a line holds something else.
    """
    for number, line in enumerate(_bytes(path).splitlines(), 1):
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise broken(path, "A line is not valid JSON.", number) from error
        if not isinstance(value, dict):
            raise broken(path, "A line is not a JSON object.", number)
        yield value
