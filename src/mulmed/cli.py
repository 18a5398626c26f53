"""The command line: parse, call one function, print. Heavy libraries load only when a stage needs them."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.markup import escape

from mulmed import __version__, cli_review
from mulmed.errors import MulmedError
from mulmed.terminal import (
    Shower,
    err,
    out,
    print_engines,
    print_error,
    print_funnel,
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

RecipeFile = Annotated[Path, typer.Argument(help="The recipe, a YAML file.", show_default=False)]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key: --set steps.mulmed.epochs=1"),
]
DataFolder = Annotated[
    Path | None, typer.Option("--data", help="Folder of the raw corpora, in place of the recipe's.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]


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
    work = _open(recipe, overrides, data)
    if dry_run:
        _dry_run(work, as_json)
        return
    _bring_up_to_date(work, ["report"], as_json)
    report = work.root / "report" / "index.html"
    if not as_json:
        print_scores(_read(work.root / "evaluate", "scores.json"))
        print_engines(_read(work.root / "evaluate", "engines.json"))
        out.print(f"\nReport: [bold]{report}[/bold]", soft_wrap=True)


@corpus_app.command("build")
def corpus_build(
    recipe: RecipeFile, overrides: Overrides = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """Read and clean the corpora of a recipe."""
    work = _open(recipe, overrides, data)
    _bring_up_to_date(work, ["corpus"], as_json)
    if not as_json:
        print_funnel(_read(work.root / "corpus", "funnel.json"))


@corpus_app.command("stats")
def corpus_stats(
    recipe: RecipeFile, overrides: Overrides = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """Table 1 of the paper for the recipe's corpora, and the funnel of cleaning."""
    work = _open(recipe, overrides, data)
    _bring_up_to_date(work, ["corpus"], as_json=False, quiet=as_json)
    documents = {name: _read(work.root / "corpus", f"{name}.json") for name in ("statistics", "funnel")}
    if as_json:
        _print_json(documents)
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
    work = _open(recipe, overrides, data)
    (name,) = _chosen("step", step, list(work.recipe.steps)[-1:], work.recipe.steps)
    _bring_up_to_date(work, ["corpus"], as_json=False, quiet=True)
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
    work = _open(recipe, overrides, data)
    targets = [f"merge-{s}" for s in _chosen("step", step, work.recipe.steps, work.recipe.steps)]
    _bring_up_to_date(work, targets, as_json)


@app.command()
def generate(
    recipe: RecipeFile,
    model: Annotated[str | None, typer.Option(help="Which model; default: all of the recipe.")] = None,
    overrides: Overrides = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Answer the test questions."""
    work = _open(recipe, overrides, data)
    targets = [f"generate-{m}" for m in _chosen("model", model, work.recipe.models, work.recipe.models)]
    _bring_up_to_date(work, targets, as_json)


@app.command()
def evaluate(
    recipe: Annotated[
        Path, typer.Argument(help="The recipe, or questions as JSON Lines.", show_default=False)
    ],
    predictions: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=FILE", help="Also score a model's answers made elsewhere."),
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(help="Write every answer with its scores, as lm-evaluation-harness does.")
    ] = None,
    folder: Annotated[
        Path | None, typer.Option("--out", help="Where the scores go; default: the run's folder.")
    ] = None,
    overrides: Overrides = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Score the answers, and print the table.

    Questions as JSON Lines have id, language, task and reference; predictions have id and prediction, or are samples
    of lm-evaluation-harness.
    """
    from mulmed.evaluation.comparison import read_answers
    from mulmed.evaluation.exchange import read_predictions, read_questions, write_samples
    from mulmed.evaluation.score import write_scores_of
    from mulmed.recipe import Evaluation, Recipe

    named = _named_files(predictions or [])
    if recipe.suffix == ".jsonl":
        if not named:
            raise MulmedError(
                "There are questions, but no answers to score.",
                where="--predictions",
                remedy="Name a file of answers: --predictions NAME=FILE.",
            )
        settings, seed, answers = Evaluation(), Recipe.model_fields["seed"].default, []
        encoder = None
        questions, target = read_questions([recipe]), folder or Path("runs") / f"{recipe.stem}-scores"
    else:
        work = _open(recipe, overrides, data)
        _bring_up_to_date(work, ["evaluate"], as_json=False, quiet=as_json)
        settings, seed = work.recipe.evaluation, work.recipe.seed
        encoder = work.encoder.folder if work.encoder else None
        files = [work.root / f"generate-{model}" / "answers.jsonl" for model in work.recipe.models]
        answers, questions = read_answers(files), read_questions(files)
        target = folder or work.root / ("evaluate-elsewhere" if named else "evaluate")
    for name, file in named.items():
        answers += read_predictions(file, name, questions)
    own = folder is not None or bool(named)  # not the recipe's own evaluation
    scores = (
        write_scores_of(answers, target, settings, seed, encoder) if own else _read(target, "scores.json")
    )
    if samples is not None:
        write_samples(answers, read_answers([target / "scores_per_question.jsonl"]), samples)
    if as_json:
        _print_json(scores)
        return
    print_scores(scores)
    if recipe.suffix != ".jsonl":
        print_engines(_read(work.root / "evaluate", "engines.json"))
    if own:
        out.print(f"Scores: {target / 'scores.json'}", soft_wrap=True)


def _named_files(options: Iterable[str]) -> dict[str, Path]:
    """``NAME=FILE`` options; raises MulmedError for others and for a name given twice."""
    found: dict[str, Path] = {}
    for option in options:
        name, _, file = option.partition("=")
        if not name or not file or name in found:
            raise MulmedError(
                f"{option!r} does not name a file of answers, or a name comes twice.",
                where="--predictions",
                remedy="Write NAME=FILE, a name of its own for each file.",
            )
        found[name] = Path(file)
    return found


@app.command()
def report(
    recipe: RecipeFile, overrides: Overrides = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """Write the report."""
    work = _open(recipe, overrides, data)
    _bring_up_to_date(work, ["report"], as_json)
    if not as_json:
        out.print(f"Report: [bold]{work.root / 'report' / 'index.html'}[/bold]", soft_wrap=True)


@app.command()
def export(
    folder: Annotated[
        Path, typer.Argument(help="A merged model: the folder merge-STEP of a run.", show_default=False)
    ],
    file: Annotated[Path, typer.Option("--out", help="The file to write, NAME.gguf.", show_default=False)],
    precision: Annotated[
        Literal["f32", "f16", "q8_0"], typer.Option(help="Of the matrices: 32, 16 or 8 bits a weight.")
    ] = "f16",
) -> None:
    """Write a merged model as GGUF, for llama.cpp and Ollama."""
    from mulmed.export.gguf import export_gguf

    modelfile = export_gguf(folder, file, precision)
    out.print(f"Written: [bold]{escape(str(file))}[/bold]", soft_wrap=True)
    out.print(f"For Ollama: ollama create NAME -f [bold]{escape(str(modelfile))}[/bold]", soft_wrap=True)


def _open(recipe: Path, overrides: list[str] | None, data: Path | None) -> Any:
    from mulmed.recipe import load_recipe
    from mulmed.stages import Run

    changes = list(overrides or [])
    if data is not None:
        changes.append(f"data={str(data.resolve())!r}")
    return Run(load_recipe(recipe, tuple(changes)), tell=lambda line: err.print(line, style="dim"))


def _chosen(kind: str, name: str | None, default: Iterable[str], known: Iterable[str]) -> list[str]:
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


def _bring_up_to_date(work: Any, targets: list[str], as_json: bool, *, quiet: bool = False) -> None:
    started = time.monotonic()
    shower = Shower(quiet=quiet or as_json)
    try:
        ran = work.pipeline.run(targets, announce=shower.announce, progress=shower.progress)
    finally:
        shower.close()
    if as_json:
        seconds = round(time.monotonic() - started, 2)
        _print_json({"ran": ran, "seconds": seconds, "output": str(work.root)})
    elif not ran and not quiet:
        out.print("Everything is up to date.")


def _dry_run(work: Any, as_json: bool) -> None:
    from mulmed.estimate import estimate

    stages, steps = work.pipeline.statuses(work.pipeline.stages), estimate(work)
    if as_json:
        rows = [{"stage": s.name, "state": st.state, "reason": st.reason} for s, st in stages]
        _print_json({"stages": rows, "steps": steps})
    else:
        print_plan(stages, steps)


def _read(folder: Path, name: str) -> dict[str, Any]:
    """A JSON document of a stage."""
    import orjson

    document: dict[str, Any] = orjson.loads((folder / name).read_bytes())
    return document


def _print_json(document: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())


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
