"""Options of ``serve`` and ``chat`` alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ServingFile = Annotated[
    Path | None, typer.Option("--settings", help="Numbers, policy, limits: a YAML file (docs/serving.md).")
]
ServingOverrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="One of them: --set region=CN")
]
GgufPrecision = Annotated[
    Literal["f32", "f16", "q8_0"], typer.Option("--gguf", help="Precision of the matrices for llama.cpp.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="Cores llama.cpp computes on.")]
