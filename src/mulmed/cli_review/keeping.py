"""``mulmed review``: what goes out of a study and comes into it: checks, copies, scores, results."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mulmed.cli_recipe import AsJson, print_json
from mulmed.cli_review.common import Study, app
from mulmed.errors import MulmedError
from mulmed.terminal import out, print_path


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
    out.print(f"Backup: {file}. It holds the key: keep it from the annotators.", soft_wrap=True, markup=False)


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(help="A backup.", show_default=False)],
    study: Study,
) -> None:
    """Put a backup, once it verifies, into a new file or an empty database."""
    from mulmed.review.transfer import restore as read

    read(file, study)
    out.print(f"Restored to {study}.", soft_wrap=True, markup=False)


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
    words: Annotated[
        bool,
        typer.Option(
            "--words/--no-words", help="With comments and marked words, which may quote patients, or without."
        ),
    ] = True,
) -> None:
    """Write the ratings; the models' names are among them once the study is unblinded."""
    from mulmed.review import transfer
    from mulmed.review.access import names
    from mulmed.review.database import open_store
    from mulmed.review.study import read_study

    store = open_store(study)
    found = read_study(store)
    rows = (
        list(transfer.sheets(store, found, names(store)))
        if sheets
        else transfer.exported(store, found, words=words)
    )
    transfer.write_rows(rows, file)
    out.print(f"{len(rows)} rows: {file}", soft_wrap=True, markup=False)


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
        print_json(found)
        return
    _print_results(found)
    print_path("Results", folder / "results.json")


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
