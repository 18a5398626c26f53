"""``mulmed chat``: talk with a model in the terminal."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mulmed.cli_serving import GgufPrecision, ServingFile, ServingOverrides, Threads
from mulmed.terminal import out, tell


def chat(
    model: Annotated[
        str,
        typer.Argument(help="A run's folder merge-STEP, or an embedded base by name.", show_default=False),
    ],
    task: Annotated[
        Literal["qa", "dialogue", "summary"], typer.Option(help="What to begin with; /task changes it.")
    ] = "qa",
    language: Annotated[
        Literal["en", "zh"] | None, typer.Option(help="Of the program; default: as the system's.")
    ] = None,
    engine: Annotated[
        Literal["llamacpp", "transformers"] | None, typer.Option(help="What computes; as in serve.")
    ] = None,
    settings: ServingFile = None,
    overrides: ServingOverrides = None,
    precision: GgufPrecision = "f16",
    threads: Threads = None,
) -> None:
    """Talk with a model in the terminal, the safety layer before and after it. Nothing is kept."""
    import os

    from mulmed.chat.terminal import talk, typed
    from mulmed.recipe import load_serving
    from mulmed.serving.model import open_model, start_engine
    from mulmed.serving.second_reader import open_reader
    from mulmed.serving.service import Service

    chosen = load_serving(settings, tuple(overrides or ()))
    found = open_model(model, tell)
    if chosen.require_review is not None:
        from mulmed.review.clearance import require_review  # brings a database's library along

        require_review(found.reviewed_as, chosen.require_review)
    computing = start_engine(
        found,
        engine,
        slots=1,
        context=chosen.limits.context,
        precision=precision,
        threads=threads,
        tell=tell,
    )
    service = Service(found, computing, chosen, reader=open_reader(chosen.reader, tell))
    system = os.environ.get("LC_ALL") or os.environ.get("LANG") or ""
    try:
        talk(service, language or ("zh" if system.startswith("zh") else "en"), task, typed(lambda: "> "), out)
    finally:
        service.close()
