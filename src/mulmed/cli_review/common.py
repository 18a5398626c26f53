"""What the commands of ``mulmed review`` share."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(
    help="Blind review of answers by people: make a study, serve it, read its results.", no_args_is_help=True
)

Study = Annotated[
    str,
    typer.Argument(
        help="The study's database: a file, or postgresql://USER@HOST/DATABASE.", show_default=False
    ),
]
