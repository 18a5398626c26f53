"""The command line: parse, call one function, print. Heavy libraries load only when a stage needs them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from mulmed import __version__, cli_chat, cli_review, cli_scores, cli_serve
from mulmed.cli_recipe import (
    AsJson,
    DataFolder,
    Overrides,
    RecipeFile,
    bring_up_to_date,
    chosen,
    open_run,
    print_json,
)
from mulmed.errors import MulmedError
from mulmed.report.files import read_json
from mulmed.terminal import (
    err,
    out,
    print_engines,
    print_error,
    print_funnel,
    print_path,
    print_plan,
    print_scores,
    print_table1,
)

app = typer.Typer(
    name="mulmed",
    help="Make, judge and serve a cross-lingual, multi-task medical language model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
corpus_app = typer.Typer(help="Build the cleaned corpus of a recipe, and look at it.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")
app.add_typer(cli_review.app, name="review")
app.command()(cli_serve.serve)
app.command()(cli_chat.chat)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version),
    ] = False,
) -> None:
    del version


@app.command()
def run(
    recipe: RecipeFile,
    overrides: Overrides = None,
    data: DataFolder = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the stages, what is stale and why, and an estimate.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """The whole recipe: clean, train, merge, answer, score, report. Does only what is not done yet."""
    work = open_run(recipe, overrides, data)
    if dry_run:
        _dry_run(work, as_json)
        return
    bring_up_to_date(work, ["report"], as_json)
    if not as_json:
        print_scores(read_json(work.root / "evaluate" / "scores.json"))
        print_engines(read_json(work.root / "evaluate" / "engines.json"))
        out.print()
        print_path("Report", work.root / "report" / "index.html")


@corpus_app.command("build")
def corpus_build(
    recipe: RecipeFile, overrides: Overrides = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """Read and clean the corpora of a recipe."""
    work = open_run(recipe, overrides, data)
    bring_up_to_date(work, ["corpus"], as_json)
    if not as_json:
        print_funnel(read_json(work.root / "corpus" / "funnel.json"))


@corpus_app.command("stats")
def corpus_stats(
    recipe: RecipeFile, overrides: Overrides = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """Table 1 of the paper for the recipe's corpora, and the funnel of cleaning."""
    work = open_run(recipe, overrides, data)
    bring_up_to_date(work, ["corpus"], as_json=False, quiet=as_json)
    documents = {name: read_json(work.root / "corpus" / f"{name}.json") for name in ("statistics", "funnel")}
    if as_json:
        print_json(documents)
        return
    print_table1(documents["statistics"]["table1"])
    print_funnel(documents["funnel"])


@corpus_app.command("clean-text")
def corpus_clean_text(
    profile: Annotated[
        Literal["fast", "full"], typer.Option(help="De-identify by rules, or by rules and a model of names.")
    ] = "full",
) -> None:
    """Repair, de-identify and judge single texts: JSON Lines from standard input to standard output.

    A line is a JSON string, or an object with "text" and, if known, "language".
    """
    import orjson

    from mulmed.corpus.clean_text import clean_lines

    failed = 0
    for result in clean_lines(sys.stdin.buffer, profile):
        failed += "error" in result
        sys.stdout.buffer.write(orjson.dumps(result, option=orjson.OPT_APPEND_NEWLINE))
        sys.stdout.buffer.flush()
    if failed:
        raise MulmedError(
            f"{failed} lines could not be used.",
            where="standard input",
            remedy="Their places in the output say why.",
        )


@app.command()
def preview(
    recipe: RecipeFile,
    step: Annotated[str | None, typer.Option(help="Which step; default: the last one.")] = None,
    count: Annotated[int, typer.Option("--count", "-n", min=0, help="Examples a task and language.")] = 1,
    overrides: Overrides = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Examples as the model sees them: what is learned (green) and what is not; target-token shares."""
    work = open_run(recipe, overrides, data)
    (name,) = chosen("step", step, list(work.recipe.steps)[-1:], work.recipe.steps)
    bring_up_to_date(work, ["corpus"], as_json=False, quiet=True)
    from mulmed.preview import show_preview

    show_preview(work, name, count, out, as_json=as_json)


@app.command()
def train(
    recipe: RecipeFile,
    step: Annotated[str | None, typer.Option(help="Which step; default: all of them.")] = None,
    overrides: Overrides = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Train and merge the steps of a recipe."""
    work = open_run(recipe, overrides, data)
    targets = [f"merge-{s}" for s in chosen("step", step, work.recipe.steps, work.recipe.steps)]
    bring_up_to_date(work, targets, as_json)


@app.command()
def generate(
    recipe: RecipeFile,
    model: Annotated[str | None, typer.Option(help="Which model; default: all of the recipe.")] = None,
    overrides: Overrides = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Answer the test questions."""
    work = open_run(recipe, overrides, data)
    targets = [f"generate-{m}" for m in chosen("model", model, work.recipe.models, work.recipe.models)]
    bring_up_to_date(work, targets, as_json)


app.command()(cli_scores.evaluate)
app.command()(cli_scores.report)


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(help="A merged model: the folder merge-STEP of a run.", show_default=False)
    ],
    target: Annotated[
        Path,
        typer.Option(
            "--out", help="NAME.gguf for llama.cpp; else a folder, laid out for the hub.", show_default=False
        ),
    ],
    precision: Annotated[
        Literal["f32", "f16", "q8_0"],
        typer.Option(help="GGUF only, of the matrices: 32, 16 or 8 bits a weight."),
    ] = "f16",
    review: Annotated[
        Path | None,
        typer.Option(help="For the folder's model card: results.json of `mulmed review results`."),
    ] = None,
) -> None:
    """Write a merged model as GGUF for llama.cpp and Ollama, or as a folder with its cards, ready for the hub.

    Nothing is uploaded.
    """
    if target.suffix != ".gguf":
        from mulmed.report.hub import export_folder

        export_folder(folder, target, review)
        out.print(
            f"Written: [bold]{escape(str(target))}[/bold]. Read its README.md before you pass it on.",
            soft_wrap=True,
        )
        return
    if review is not None:
        raise MulmedError(
            "A GGUF file has no model card for the review.",
            where="--review",
            remedy="Leave it out, or export a folder: --out FOLDER.",
        )
    from mulmed.export.gguf import export_gguf

    modelfile = export_gguf(folder, target, precision)
    print_path("Written", target)
    out.print(f"For Ollama: ollama create NAME -f [bold]{escape(str(modelfile))}[/bold]", soft_wrap=True)


def _dry_run(work: Any, as_json: bool) -> None:
    from mulmed.estimate import estimate

    stages, steps = work.pipeline.statuses(work.pipeline.stages), estimate(work)
    if as_json:
        rows = [{"stage": s.name, "state": st.state, "reason": st.reason} for s, st in stages]
        print_json({"stages": rows, "steps": steps})
    else:
        print_plan(stages, steps)


def main() -> None:
    """Entry point: errors a user can mend are printed in three parts, with exit code 2."""
    try:
        app(prog_name="mulmed")
    except MulmedError as error:
        print_error(error)
        raise SystemExit(2) from None
    except SystemExit as end:
        if end.code == 130:  # how typer ends on Ctrl-C
            err.print("\nStopped. The same command goes on from here.")
        raise
