"""``mulmed review create``: a study from answer files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mulmed.cli_recipe import AsJson, print_json
from mulmed.cli_review.common import Study, app
from mulmed.errors import MulmedError
from mulmed.terminal import out


@app.command()
def create(
    study: Study,
    answers: Annotated[
        list[Path] | None, typer.Option(help="An answers.jsonl of `mulmed generate`; repeat for more models.")
    ] = None,
    questions_from: Annotated[
        Path | None, typer.Option("--questions", help="Questions as JSON Lines, for --predictions.")
    ] = None,
    predictions: Annotated[
        list[str] | None, typer.Option(metavar="NAME=FILE", help="A model's answers made elsewhere.")
    ] = None,
    annotator: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME[:LANG,...]", help="Who rates, and the languages they read; default: all."),
    ] = None,
    count: Annotated[
        int, typer.Option(min=1, help="Questions to draw, by language and task in proportion.")
    ] = 40,
    overlap: Annotated[
        int | None,
        typer.Option(min=1, help="Annotators a question; default: all. Fewer: balanced incomplete blocks."),
    ] = None,
    repeats: Annotated[
        float, typer.Option(min=0, max=0.5, help="Share of answers that come again, unannounced.")
    ] = 0.05,
    on_unsafe: Annotated[
        Literal["score_all", "stop"],
        typer.Option(help="Whether an unacceptable answer is still rated on the later axes."),
    ] = "score_all",
    rubric: Annotated[Path | None, typer.Option(help="A rubric; default: the paper's.")] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            help="A model that rates everything too, unseen: `mulmed review judge`, or export its --sheets and import them."
        ),
    ] = None,
    show_judge: Annotated[
        bool,
        typer.Option(
            help="Annotators see the judge's scores after finishing their own, which are final then."
        ),
    ] = False,
    name: Annotated[str, typer.Option(help="What the report calls the study.")] = "Ethics review",
    seed: Annotated[int, typer.Option(min=0, help="Decides sample, assignment and order.")] = 42,
    as_json: AsJson = False,
) -> None:
    """Make a study, in state draft, from the answers of two or more models."""
    from mulmed.evaluation.comparison import read_answers
    from mulmed.evaluation.exchange import read_predictions, read_questions
    from mulmed.review.create import create as make
    from mulmed.review.database import open_store
    from mulmed.review.plan import Annotator
    from mulmed.review.rubric import PAPER, load_rubric

    people = []
    for given in annotator or []:
        person, _, languages = given.partition(":")
        people.append(Annotator(person.strip(), tuple(filter(None, languages.split(",")))))
    rows = read_answers(answers or [])
    if predictions and questions_from is None:
        raise MulmedError(
            "Predictions need the questions they answer.",
            where="--predictions",
            remedy="Add --questions FILE.",
        )
    if questions_from is not None:
        asked = read_questions([questions_from])
        for given in predictions or []:
            model, _, file = given.partition("=")
            if not model or not file:
                raise MulmedError(
                    f"{given!r} names no file.", where="--predictions", remedy="Write NAME=FILE."
                )
            rows += read_predictions(Path(file), model, asked)
    if show_judge and judge is None:
        raise MulmedError("There is no judge to show.", where="--show-judge", remedy="Add --judge NAME.")
    store = open_store(study, create=True)
    account = make(
        store,
        rows,
        people,
        load_rubric(rubric or PAPER),
        questions=count,
        overlap=overlap or max(len(people), 1),
        seed=seed,
        repeats=repeats,
        on_unsafe=on_unsafe,
        name=name,
        judge=judge,
        show_judge=show_judge,
    )
    if as_json:
        print_json(
            {
                "models": account.models,
                "questions": [
                    {"language": k[0], "task": k[1], "questions": n} for k, n in account.chosen.items()
                ],
                "ratings": account.ratings,
                "incomplete": account.incomplete,
                "named": [{"question": q, "model": m} for q, m in account.named],
            }
        )
        return
    chosen = ", ".join(f"{n} {language} {task}" for (language, task), n in account.chosen.items())
    out.print(f"Study of {len(account.models)} models: {chosen} questions.")
    for person_name, number in account.ratings.items():
        out.print(f"  {person_name}: {number} answers to rate", markup=False)
    if account.incomplete:
        out.print(f"Left out: {account.incomplete} questions that not every model answered.")
    if account.named:
        left = len({question for question, _ in account.named})
        out.print(f"Left out: {left} questions with an answer that names a model, such as:")
        for question, model in account.named[:5]:
            out.print(f"  {question} by {model}", markup=False)
    out.print(
        f"Next: mulmed review open {study}, mulmed review invite {study}, mulmed review serve {study}",
        soft_wrap=True,
        markup=False,
    )
