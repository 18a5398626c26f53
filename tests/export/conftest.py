"""What the tests of exports share: merged models of small bases, and their GGUF in full precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mulmed.base.embedded import identity
from mulmed.export.gguf import export_gguf
from mulmed.prompts import Renderer
from tests.bases import installed
from tests.conftest import Small
from tests.export.merges import make_merged


@dataclass(frozen=True)
class Exported:
    """A small base's merge, and the file made of it in float32."""

    small: Small
    merged: Path
    file: Path

    @property
    def renderer(self) -> Renderer:
        return self.small.renderer


@pytest.fixture(autouse=True)
def small_bases_are_installed(small_llama: Small, small_gemma: Small) -> Iterator[None]:
    with installed(small_llama.packages, small_llama.base), installed(small_gemma.packages, small_gemma.base):
        yield


def _exported(small: Small) -> Exported:
    folder = small.packages
    with installed(small.packages, small.base):
        merged = make_merged(folder / "merge-step", identity(small.base), small.taught, small.renderer)
        out = folder / "exported" / "model.gguf"
        assert export_gguf(merged, out, "f32") == out.with_name("Modelfile")
    assert sorted(p.name for p in out.parent.iterdir()) == ["Modelfile", "model.gguf"]
    return Exported(small, merged, out)


@pytest.fixture(scope="session")
def llama(small_llama: Small) -> Exported:
    return _exported(small_llama)


@pytest.fixture(scope="session")
def gemma3(small_gemma: Small) -> Exported:
    return _exported(small_gemma)


@pytest.fixture(params=["llama", "gemma3"])
def exported(request: Any) -> Exported:
    """Each of them."""
    found: Exported = request.getfixturevalue(request.param)
    return found
