"""What commands on a recipe have in common: their options, the stages brought up to date; and JSON for machines."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from mulmed.errors import MulmedError
from mulmed.terminal import Shower, out, tell

RecipeFile = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set steps.mulmed.epochs=1"),
]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Folder of the raw corpora, in place of the recipe's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


def open_run(recipe: Path, overrides: list[str] | None, data: Path | None = None) -> Any:
    """The run that a recipe with its overrides describes."""
    from mulmed.recipe import load_recipe
    from mulmed.stages import Run

    changes = list(overrides or [])
    if data is not None:
        changes.append(f"data={str(data.resolve())!r}")
    return Run(load_recipe(recipe, tuple(changes)), tell)


def chosen(kind: str, name: str | None, default: Iterable[str], known: Iterable[str]) -> list[str]:
    """What an option names, or the default."""
    if name is None:
        return list(default)
    if name not in known:
        raise MulmedError(
            f"The recipe has no {kind} {name!r}.",
            where=f"--{kind}",
            remedy=f"Its {kind}s are: {', '.join(known)}.",
        )
    return [name]


def bring_up_to_date(work: Any, targets: list[str], as_json: bool, *, quiet: bool = False) -> None:
    """Make what is stale of the stages in ``targets``; tell on the terminal, unless ``quiet``, or as JSON what ran."""
    started = time.monotonic()
    shower = Shower(quiet=quiet or as_json)
    try:
        ran = work.pipeline.run(targets, announce=shower.announce, progress=shower.progress)
    finally:
        shower.close()
    if as_json:
        seconds = round(time.monotonic() - started, 2)
        print_json({"ran": ran, "seconds": seconds, "output": str(work.root)})
    elif not ran and not quiet:
        out.print("Everything is up to date.")


def print_json(document: Any) -> None:
    """For machines, on standard output."""
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
