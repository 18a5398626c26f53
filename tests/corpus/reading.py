"""What the tests of the readers share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mulmed.corpus import sources
from mulmed.corpus.sources.layout import Found, Rejected
from mulmed.recipe import Layout, Source

REAL = Path(os.environ.get("MULMED_DATA", Path(__file__).parents[3] / "shared" / "data"))
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="no folder of real corpora; name one in the environment variable MULMED_DATA"
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def read(layout: Layout, path: Path, language: str = "en", **options: Any) -> Iterator[Found | Rejected]:
    return sources.read(Source(layout=layout, path=path.name, language=language, **options), path)


def found(layout: Layout, path: Path, language: str = "en", **options: Any) -> list[Found]:
    items = list(read(layout, path, language, **options))
    assert all(isinstance(item, Found) for item in items), items
    return [item for item in items if isinstance(item, Found)]


def reasons(layout: Layout, path: Path, language: str = "en", **options: Any) -> list[str]:
    return [item.reason for item in read(layout, path, language, **options) if isinstance(item, Rejected)]


def texts(item: Found | Rejected) -> list[str]:
    assert isinstance(item, Found), item
    return [turn.text for turn in item.parsed.turns]


def notes(item: Found) -> dict[str, int]:
    return {note.rule: note.count for note in item.parsed.notes}
