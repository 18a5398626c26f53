"""``mulmed review``: the commands of a study's life, from its opening to its key, and the server."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from mulmed.cli_recipe import AsJson, print_json
from mulmed.cli_review.common import Study, app
from mulmed.errors import MulmedError
from mulmed.terminal import err, out

Address = Annotated[str, typer.Option("--url", help="Where annotators reach the server.")]
LOCAL = "http://127.0.0.1:8765"


@app.command()
def invite(
    study: Study,
    annotator: Annotated[list[str] | None, typer.Option(help="Whom; default: every annotator.")] = None,
    admin: Annotated[bool, typer.Option(help="A link to the administrator's page instead.")] = False,
    url: Address = LOCAL,
    as_json: AsJson = False,
) -> None:
    """Print links that work once and sign an annotator in. Earlier unused links lapse."""
    from mulmed.review.access import invite as new_token
    from mulmed.review.access import names
    from mulmed.review.database import open_store
    from mulmed.review.study import read_study

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
        print_json(links)
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
    from urllib.parse import urlsplit

    import uvicorn

    from mulmed.review.app import make_app
    from mulmed.review.database import open_store
    from mulmed.web.listening import listen, url_of

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
    listening = listen(host, port)
    # Paths hold invitation tokens: no access log.
    config = uvicorn.Config(
        app_, access_log=False, log_level="warning", server_header=False, proxy_headers=False
    )
    where = url or url_of(host, listening)
    out.print(f"Serving {store.where} at {where}  (Ctrl-C ends it)", soft_wrap=True, markup=False)
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
    from mulmed.review.study import read_study

    store = open_store(study)
    found, rows = read_study(store), read_rows(store)
    people, axes = progress(rows), agreement(apart(rows, found.settings["judge"])[0], found.rubric)
    if as_json:
        print_json(
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


def _move(study: str, to: Literal["open", "locked", "unblinded"]) -> None:
    from mulmed.review.database import open_store
    from mulmed.review.study import move

    move(open_store(study), to)
    out.print(f"The study is {to}.")
