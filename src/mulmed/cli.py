"""The command line: parse, call one function, print. Heavy libraries load only when a stage needs them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from mulmed import __version__
from mulmed.errors import MulmedError

app = typer.Typer(
    name="mulmed",
    help="Make, judge and serve a cross-lingual, multi-task medical language model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
corpus_app = typer.Typer(help="Build the cleaned corpus of a recipe, and look at it.", no_args_is_help=True)
app.add_typer(corpus_app, name="corpus")

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

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
        _print_scores(_read_scores(work.root / "evaluate"))
        out.print(f"\nReport: [bold]{report}[/bold]", soft_wrap=True)


@corpus_app.command("build")
def corpus_build(
    recipe: RecipeFile, overrides: Overrides = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """Read and clean the corpora of a recipe."""
    work = _open(recipe, overrides, data)
    _bring_up_to_date(work, ["corpus"], as_json)
    if not as_json:
        _print_funnel(work)


@corpus_app.command("stats")
def corpus_stats(
    recipe: RecipeFile, overrides: Overrides = None, data: DataFolder = None, as_json: AsJson = False
) -> None:
    """Table 1 of the paper for the recipe's corpora, and the funnel of cleaning."""
    import orjson

    work = _open(recipe, overrides, data)
    _bring_up_to_date(work, ["corpus"], as_json=False, quiet=as_json)
    folder = work.root / "corpus"
    if as_json:
        merged = {n: orjson.loads((folder / f"{n}.json").read_bytes()) for n in ("statistics", "funnel")}
        typer.echo(orjson.dumps(merged, option=orjson.OPT_INDENT_2).decode())
        return
    _print_table1(orjson.loads((folder / "statistics.json").read_bytes())["table1"])
    _print_funnel(work)


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
    folder: Annotated[Path | None, typer.Option("--out", help="Where scores with --predictions go.")] = None,
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
    from mulmed.recipe import Evaluation

    named = _named_files(predictions or [])
    if recipe.suffix == ".jsonl":
        settings, seed, answers = Evaluation(), 42, []
        questions, target = read_questions([recipe]), folder or Path("runs") / f"{recipe.stem}-scores"
    else:
        work = _open(recipe, overrides, data)
        _bring_up_to_date(work, ["evaluate"], as_json=False, quiet=as_json)
        settings, seed = work.recipe.evaluation, work.recipe.seed
        files = [work.root / f"generate-{model}" / "answers.jsonl" for model in work.recipe.models]
        answers, questions = read_answers(files), read_questions(files)
        target = folder or work.root / ("evaluate-elsewhere" if named else "evaluate")
    for name, file in named.items():
        answers += read_predictions(file, name, questions)
    if named or recipe.suffix == ".jsonl":
        scores = write_scores_of(answers, target, settings, seed)
    else:
        scores = _read_scores(target)
    if samples is not None:
        write_samples(answers, read_answers([target / "scores_per_question.jsonl"]), samples)
    if as_json:
        typer.echo((target / "scores.json").read_text(encoding="utf-8"))
    else:
        _print_scores(scores)
        if named:
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
    shower = _Shower(quiet=quiet or as_json)
    try:
        ran = work.pipeline.run(targets, announce=shower.announce, progress=shower.progress)
    finally:
        shower.close()
    if as_json:
        import orjson

        rows = {"ran": ran, "seconds": round(time.monotonic() - started, 2), "output": str(work.root)}
        typer.echo(orjson.dumps(rows, option=orjson.OPT_INDENT_2).decode())
    elif not ran and not quiet:
        out.print("Everything is up to date.")


class _Shower:
    """Progress of the stages: bars on a terminal, a line every ten seconds elsewhere."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._live = err.is_terminal and not quiet
        self._bars: Bars | None = None
        self._task: Any = None
        self._title = ""
        self._started = self._told = 0.0

    def announce(self, stage: Any, status: Any) -> None:
        self._finish_stage()
        if status.state == "fresh":
            return
        self._title = stage.title
        self._started = self._told = time.monotonic()
        if self._quiet:
            return
        verb = "resuming" if status.state == "resumable" else "running"
        err.print(
            f"[bold]{stage.name}[/bold]: {stage.title} [dim]({verb}; {status.reason})[/dim]", soft_wrap=True
        )
        if self._live:
            self._bars = Bars(
                TextColumn("  {task.description}"),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(elapsed_when_finished=True),
                console=err,
                transient=True,
            )
            self._bars.start()
            self._task = self._bars.add_task("starting", total=None)

    def progress(self, stage: Any) -> Callable[[str, int, int], None]:
        def show(label: str, done: int, total: int) -> None:
            if self._bars is not None:
                self._bars.update(self._task, description=label, completed=done, total=total or None)
                return
            now = time.monotonic()
            if self._quiet or now - self._told < 10:
                return
            self._told = now
            left = (now - self._started) / done * (total - done) if done and total else None
            tail = f", about {left:.0f} s left" if left is not None else ""
            err.print(f"  {stage.name}: {done}/{total} {label}{tail}", soft_wrap=True)

        return show

    def _finish_stage(self) -> None:
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
        if self._title and not self._quiet:
            err.print(f"  [green]done[/green] in {time.monotonic() - self._started:.1f} s")
        self._title = ""

    def close(self) -> None:
        if sys.exc_info()[0] is not None:
            self._title = ""
        self._finish_stage()


def _dry_run(work: Any, as_json: bool) -> None:
    from mulmed.estimate import estimate

    rows = work.pipeline.statuses(work.pipeline.stages)
    figures = estimate(work)
    if as_json:
        import orjson

        stages = [{"stage": s.name, "state": st.state, "reason": st.reason} for s, st in rows]
        typer.echo(orjson.dumps({"stages": stages, "steps": figures}, option=orjson.OPT_INDENT_2).decode())
        return
    from rich.table import Table

    table = Table("stage", "what it does", "state", "why", box=None, pad_edge=False)
    colours = {"fresh": "green", "stale": "yellow", "resumable": "cyan"}
    for stage, status in rows:
        table.add_row(stage.name, stage.title, f"[{colours[status.state]}]{status.state}[/]", status.reason)
    out.print(table)
    table = Table("step", "examples", "tokens", "optimizer steps", "memory", "time", box=None, pad_edge=False)
    for f in figures:
        table.add_row(
            f["step"],
            f"{f['examples']:,}",
            f"{f['tokens']:,}",
            f"{f['optimizer_steps']:,}",
            f"{f['memory_bytes'] / 2**30:.1f} GiB",
            _duration(f["seconds"]),
        )
    out.print()
    out.print(table)
    out.print(f"[dim]Estimated {figures[0]['basis']}; on {figures[0]['device']}.[/dim]")


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _read_scores(folder: Path) -> dict[str, Any]:
    import orjson

    scores: dict[str, Any] = orjson.loads((folder / "scores.json").read_bytes())
    return scores


def _print_scores(scores: dict[str, Any]) -> None:
    from rich.table import Column, Table

    shown = ("f1", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2")
    table = Table(
        "language",
        Column("model", no_wrap=True),
        "n",
        *shown,
        title="All tasks, 95% intervals in the report",
        box=None,
        padding=(0, 0, 0, 1),  # six measures and a long name fit into 80 columns
    )
    cells = {(r["language"], r["model"], r["metric"]): r for r in scores["rows"] if r["task"] == "all"}
    for language, model in dict.fromkeys(key[:2] for key in cells):
        row = [cells[language, model, metric] for metric in shown]
        table.add_row(language, model, str(row[0]["n"]), *(f"{r['value']:.3f}" for r in row))
    out.print(table)


def _print_funnel(work: Any) -> None:
    import orjson
    from rich.table import Table

    funnel = orjson.loads((work.root / "corpus" / "funnel.json").read_bytes())
    table = Table("stage", "in", "out", "changed", "dropped", "rules", box=None, title="Cleaning")
    for s in funnel["stages"]:
        rules = ", ".join(f"{k} {v}" for k, v in sorted(s["rules"].items(), key=lambda kv: -kv[1]))
        table.add_row(s["stage"], *(f"{s[k]:,}" for k in ("in", "out", "changed", "dropped")), rules)
    out.print(table)


def _print_table1(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    columns = ("size", "abstract", "summary", "question", "answer", "turns")
    table = Table("source", "task", "language", *columns, box=None, title="Table 1")
    for r in rows:
        table.add_row(
            r["source"],
            r["task"],
            r["language"],
            *("–" if r[c] is None else f"{r[c]:,}" if c == "size" else f"{r[c]:.1f}" for c in columns),
        )
    out.print(table)


def main() -> None:
    """Entry point: errors a user can mend are printed in three parts, with exit code 2."""
    try:
        app(prog_name="mulmed")
    except MulmedError as error:
        err.print(f"[bold red]error:[/] {_escape(error.what)}", soft_wrap=True)
        if error.where:
            err.print(f"  where: {_escape(error.where)}", soft_wrap=True)
        if error.remedy:
            err.print(f"  remedy: {_escape(error.remedy)}", soft_wrap=True)
        raise SystemExit(2) from None
    except SystemExit as end:
        if end.code == 130:  # how typer ends on Ctrl-C
            err.print("\nStopped. The same command goes on from here.")
        raise


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
