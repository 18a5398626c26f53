"""``mulmed evaluate`` and ``mulmed report``: scores of answers, and what is written about them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from mulmed.cli_recipe import (
    AsJson,
    DataFolder,
    Overrides,
    bring_up_to_date,
    open_run,
    print_json,
)
from mulmed.errors import MulmedError
from mulmed.report.files import read_json
from mulmed.terminal import out, print_engines, print_path, print_scores


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
        work = open_run(recipe, overrides, data)
        bring_up_to_date(work, ["evaluate"], as_json=False, quiet=as_json)
        settings, seed = work.recipe.evaluation, work.recipe.seed
        encoder = work.encoder.folder if work.encoder else None
        files = [work.root / f"generate-{model}" / "answers.jsonl" for model in work.recipe.models]
        answers, questions = read_answers(files), read_questions(files)
        target = folder or work.root / ("evaluate-elsewhere" if named else "evaluate")
    for name, file in named.items():
        answers += read_predictions(file, name, questions)
    own = folder is not None or bool(named)  # not the recipe's own evaluation
    scores = (
        write_scores_of(answers, target, settings, seed, encoder)
        if own
        else read_json(target / "scores.json")
    )
    if samples is not None:
        write_samples(answers, read_answers([target / "scores_per_question.jsonl"]), samples)
    if as_json:
        print_json(scores)
        return
    print_scores(scores)
    if recipe.suffix != ".jsonl":
        print_engines(read_json(work.root / "evaluate" / "engines.json"))
    if own:
        print_path("Scores", target / "scores.json")


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


def report(
    recipe: Annotated[
        Path,
        typer.Argument(
            help="The recipe; with --monitoring also questions as JSON Lines.", show_default=False
        ),
    ],
    monitoring: Annotated[
        Path | None,
        typer.Option(
            help="What `mulmed serve` counted: report on its use, and on drift from the test questions."
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option("--out", help="Where the report on monitoring goes; default: the run's folder."),
    ] = None,
    overrides: Overrides = None,
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Write the report."""
    if monitoring is not None:
        _report_monitoring(recipe, monitoring, folder, overrides, data, as_json)
        return
    if folder is not None:
        raise MulmedError(
            "The report of a recipe lies in its run's folder.",
            where="--out",
            remedy="Leave --out away, or add --monitoring.",
        )
    work = open_run(recipe, overrides, data)
    bring_up_to_date(work, ["report"], as_json)
    if not as_json:
        print_path("Report", work.root / "report" / "index.html")


def _report_monitoring(
    recipe: Path,
    counted: Path,
    folder: Path | None,
    overrides: list[str] | None,
    data: Path | None,
    as_json: bool,
) -> None:
    from mulmed.evaluation.exchange import read_questions
    from mulmed.monitoring.drift import profile_of
    from mulmed.monitoring.store import read_counts
    from mulmed.report.monitoring import build_monitoring, summary_lines

    counts = read_counts(counted)
    if recipe.suffix == ".jsonl":
        files, target = [recipe], folder or Path("runs") / f"{recipe.stem}-monitoring"
    else:
        work = open_run(recipe, overrides, data)
        bring_up_to_date(work, ["evaluate"], as_json=False, quiet=as_json)
        files = [work.root / f"generate-{model}" / "answers.jsonl" for model in work.recipe.models]
        target = folder or work.root / "monitoring"
    rows = read_questions(files).values()
    questions = [row["question"] for row in rows if isinstance(row.get("question"), str)]
    if len(questions) < len(rows):
        raise MulmedError(
            "A question of the test set has no wording.",
            where=", ".join(map(str, files)),
            remedy="Give every row the text field 'question'.",
        )
    document = build_monitoring(target, recipe.stem, counts, profile_of(questions))
    if as_json:
        print_json(document)
        return
    for line in summary_lines(document):
        out.print(line, soft_wrap=True)
    print_path("Report", target / "index.html")
