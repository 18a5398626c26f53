"""``mulmed review judge``: the study's judge model rates what it has not rated."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Annotated

import typer

from mulmed.cli_recipe import AsJson, Overrides, open_run, print_json
from mulmed.cli_review.common import Study, app
from mulmed.terminal import Shower, out


@app.command()
def judge(
    study: Study,
    recipe: Annotated[
        Path,
        typer.Argument(help="A recipe with the judge among its models or baselines.", show_default=False),
    ],
    overrides: Overrides = None,
    folder: Annotated[Path, typer.Option("--out", help="Where its replies are kept.")] = Path("review-judge"),
    as_json: AsJson = False,
) -> None:
    """Let the study's judge model rate, by any engine that the recipe names it with."""
    from dataclasses import asdict

    from mulmed.review.database import open_store
    from mulmed.stages.judge import judge as ask

    store = open_store(study)
    run = open_run(recipe, overrides)
    shower = Shower(quiet=as_json)
    asking = SimpleNamespace(name="judge", title="rate the answers of the study")
    shower.announce(asking, SimpleNamespace(state="stale", reason=store.where))
    try:
        found = ask(run, store, folder, shower.progress(asking))
    finally:
        shower.close()
    if as_json:
        print_json(asdict(found))
        return
    out.print(f"{found.rated} answers rated; {found.unreadable} left, whose replies give no score.")
