"""``mulmed review``: make a study, serve it, end it, and take its results out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mulmed.errors import MulmedError
from mulmed.terminal import err, out

app = typer.Typer(
    help="Blind review of answers by people: make a study, serve it, read its results.", no_args_is_help=True
)

Study = Annotated[
    str,
    typer.Argument(
        help="The study's database: a file, or postgresql://USER@HOST/DATABASE.", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine-readable output.")]
Address = Annotated[str, typer.Option("--url", help="Where annotators reach the server.")]
LOCAL = "http://127.0.0.1:8765"


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
            help="A model that rates everything too: export its --sheets, have any engine fill them in, import."
        ),
    ] = None,
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
    )
    if as_json:
        _print_json(
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
    )


@app.command()
def invite(
    study: Study,
    annotator: Annotated[list[str] | None, typer.Option(help="Whom; default: every annotator.")] = None,
    admin: Annotated[bool, typer.Option(help="A link to the administrator's page instead.")] = False,
    url: Address = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Print links that work once and sign an annotator in. Earlier unused links lapse."""
    from mulmed.review.database import open_store
    from mulmed.review.store import invite as new_token
    from mulmed.review.store import names, read_study

    store = open_store(study)
    judge = read_study(store).settings["judge"]
    by_name = {name: number for number, name in names(store).items() if name != judge}
    wanted: dict[str, int | None] = (
        {"administrator": None} if admin else {n: by_name.get(n, 0) for n in annotator or by_name}
    )
    if odd := [name for name, number in wanted.items() if number == 0]:
        raise MulmedError(
            f"The study has no annotator {odd[0]!r}.",
            where="--annotator",
            remedy=f"Its annotators are: {', '.join(by_name)}.",
        )
    links = {
        name: f"{url.rstrip('/')}/invitation/{new_token(store, number)}" for name, number in wanted.items()
    }
    if as_json:
        _print_json(links)
        return
    for name, link in links.items():
        out.print(f"{name}: {link}", soft_wrap=True, markup=False)


@app.command()
def serve(
    study: Study,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8765,
    url: Annotated[
        str | None,
        typer.Option(help="Where annotators reach it, if not directly: https://review.example.org"),
    ] = None,
) -> None:
    """Serve the review's pages, on this machine only unless told otherwise."""
    import socket
    from urllib.parse import urlsplit

    import uvicorn

    from mulmed.review.app import make_app
    from mulmed.review.database import open_store

    store = open_store(study)
    address = urlsplit(url or "")
    if url and (address.scheme not in ("http", "https") or not address.hostname):
        raise MulmedError("This is no address.", where=f"--url {url}", remedy="Write https://HOST.")
    secure = address.scheme == "https"
    if host not in ("127.0.0.1", "::1", "localhost") and not secure:
        err.print(
            "[bold]Listening beyond this machine without HTTPS:[/bold] ratings and sessions can be read on the way. Put an HTTPS proxy before it and give its address with --url."
        )
    app_ = make_app(store, [address.hostname or host], secure=secure)
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        raise MulmedError(
            f"The server cannot listen: {error.strerror}.",
            where=f"{host}, port {port}",
            remedy="Choose another --port.",
        ) from error
    # Paths hold invitation tokens: no access log.
    config = uvicorn.Config(
        app_, access_log=False, log_level="warning", server_header=False, proxy_headers=False
    )
    at = f"[{host}]" if ":" in host else host
    where = url or f"http://{at}:{listening.getsockname()[1]}"
    out.print(f"Serving {store.where} at {where}  (Ctrl-C ends it)", soft_wrap=True)
    uvicorn.Server(config).run(sockets=[listening])


@app.command("open")
def open_study(study: Study) -> None:
    """Let the annotators rate."""
    _move(study, "open")


@app.command()
def lock(
    study: Study,
    incomplete: Annotated[bool, typer.Option(help="Although answers are still to be rated.")] = False,
) -> None:
    """End the rating for good."""
    from mulmed.review.database import open_store
    from mulmed.review.monitor import progress
    from mulmed.review.ratings import read_rows

    left = sum(p.total - p.done - p.skipped for p in progress(read_rows(open_store(study))))
    if left and not incomplete:
        raise MulmedError(
            f"{left} answers are still to be rated.",
            where=study,
            remedy="Wait for the annotators, or lock it as it is with --incomplete. There is no way back.",
        )
    _move(study, "locked")


@app.command()
def unblind(study: Study) -> None:
    """Make the key of a locked study readable."""
    _move(study, "unblinded")


@app.command()
def status(study: Study, as_json: AsJson = False) -> None:
    """State, progress and agreement so far."""
    from dataclasses import asdict

    from rich.table import Table

    from mulmed.review.database import open_store
    from mulmed.review.monitor import agreement, progress
    from mulmed.review.ratings import apart, read_rows
    from mulmed.review.store import read_study

    store = open_store(study)
    found, rows = read_study(store), read_rows(store)
    people, axes = progress(rows), agreement(apart(rows, found.settings["judge"])[0], found.rubric)
    if as_json:
        _print_json(
            {
                "state": found.state,
                "progress": [asdict(p) for p in people],
                "agreement": [asdict(a) for a in axes],
            }
        )
        return
    out.print(f"{found.settings['name']}: {found.state}", markup=False)
    table = Table("annotator", "rated", "skipped", "begun", "all", "last saved", box=None)
    for p in people:
        table.add_row(p.name, *map(str, (p.done, p.skipped, p.drafts, p.total)), p.last or "never")
    out.print(table)
    table = Table("axis", "scores", "alpha", "AC2", "raw", "same on repeats", box=None)
    for a in axes:
        values = ("undefined" if v is None else f"{v:.3f}" for v in (a.alpha, a.ac2, a.raw))
        table.add_row(a.axis, str(a.scores), *values, f"{a.same} of {a.twice}")
    out.print(table)


@app.command()
def verify(study: Study) -> None:
    """Check the log's chain, and that nothing was changed behind it."""
    from mulmed.review.audit import head
    from mulmed.review.audit import verify as check
    from mulmed.review.database import open_store

    store = open_store(study)
    wrong = check(store)
    if wrong:
        for line in wrong:
            out.print(line, markup=False)
        raise MulmedError(
            f"{len(wrong)} things are not as they were recorded.",
            where=study,
            remedy="Restore the last backup that verifies, and find out who could write to the database.",
        )
    entries, last = head(store)
    out.print(f"All of it holds: {entries} log entries, the last one's hash is {last}", soft_wrap=True)


@app.command()
def backup(
    study: Study, file: Annotated[Path, typer.Argument(help="A new file.", show_default=False)]
) -> None:
    """Copy the whole study, in use or not, into one file."""
    from mulmed.review.database import open_store
    from mulmed.review.transfer import backup as write

    write(open_store(study), file)
    out.print(f"Backup: {file}. It holds the key: keep it from the annotators.", soft_wrap=True)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.", show_default=False)],
    study: Study,
) -> None:
    """Put a backup, once it verifies, into a new file or an empty database."""
    from mulmed.review.transfer import restore as read

    read(file, study)
    out.print(f"Restored to {study}.", soft_wrap=True)


@app.command()
def export(
    study: Study,
    file: Annotated[Path, typer.Argument(help="Ends in .csv or .jsonl.", show_default=False)],
    sheets: Annotated[
        bool,
        typer.Option(
            help="Questions and answers with empty scores instead, to be rated elsewhere and imported."
        ),
    ] = False,
) -> None:
    """Write the ratings; the models' names are among them once the study is unblinded."""
    from mulmed.review import transfer
    from mulmed.review.database import open_store
    from mulmed.review.store import names, read_study

    store = open_store(study)
    found = read_study(store)
    rows = list(transfer.sheets(store, found, names(store))) if sheets else transfer.exported(store, found)
    transfer.write_rows(rows, file)
    out.print(f"{len(rows)} rows: {file}", soft_wrap=True)


@app.command("import")
def import_(
    study: Study,
    file: Annotated[Path, typer.Argument(help="A filled-in sheet, .csv or .jsonl.", show_default=False)],
) -> None:
    """Take in scores made elsewhere: all of a file or nothing of it."""
    from mulmed.review.database import open_store
    from mulmed.review.transfer import import_scores

    taken, passed = import_scores(open_store(study), file)
    out.print(f"{taken} ratings taken in; {passed} rows had none or are known.")


@app.command()
def results(
    study: Study,
    folder: Annotated[Path, typer.Option("--out", help="Where results.json and the figures go.")] = Path(
        "review"
    ),
    as_json: AsJson = False,
) -> None:
    """Scores, agreement and comparisons of an unblinded study, with the paper's Figure 4."""
    from mulmed.artifact import write_json
    from mulmed.report import figures
    from mulmed.report.review_figures import scores_figure, shares_figure
    from mulmed.review.database import open_store
    from mulmed.review.results import results as compute

    found = compute(open_store(study))
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", found)
    with figures.style():
        figures.save(scores_figure(found), folder, "review-scores")
        figures.save(shares_figure(found), folder, "review-shares")
    if as_json:
        _print_json(found)
        return
    _print_results(found)
    out.print(f"Results: {folder / 'results.json'}", soft_wrap=True)


def _print_results(found: dict[str, Any]) -> None:
    from rich.table import Table

    from mulmed.review.agreement import why_undefined

    table = Table("axis", "model", "questions", "mean", "95% interval", *"012", box=None)
    for row in found["scores"]:
        if row["language"] == "all":
            known = row["mean"] is not None
            table.add_row(
                row["axis"],
                row["model"],
                str(row["questions"]),
                f"{row['mean']:.2f}" if known else "none",
                f"{row['low']:.2f} to {row['high']:.2f}" if known else "",
                *(f"{share:.0%}" if known else "" for share in row["shares"]),
            )
    out.print(table)
    table, reasons = Table("axis", "alpha", "AC2", "kappa", "raw", box=None), []
    for row in found["agreement"]:
        if row["language"] == "all":
            values = [row[name]["value"] for name in ("alpha", "ac2", "kappa", "raw")]
            table.add_row(row["axis"], *("undefined" if v is None else f"{v:.3f}" for v in values))
            if None in values:
                reasons.append(f"{row['axis']}: {why_undefined(row['rated_twice'], row['distinct'])}")
    out.print(table)
    for reason in reasons:
        out.print(reason)


def _move(study: str, to: Literal["open", "locked", "unblinded"]) -> None:
    from mulmed.review.database import open_store
    from mulmed.review.store import move

    move(open_store(study), to)
    out.print(f"The study is {to}.")


def _print_json(document: Any) -> None:
    import orjson

    typer.echo(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode())
