"""``mulmed serve``: a model behind an HTTP API, on this machine unless told otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import typer

from mulmed.cli_serving import GgufPrecision, ServingFile, ServingOverrides, Threads
from mulmed.errors import MulmedError
from mulmed.terminal import err, out, tell

LOOPBACK = ("127.0.0.1", "::1", "localhost")
#: What lies in the service's folder.
KEYS, RECORD, RECORD_KEY, USE = "keys.txt", "decisions.jsonl", "decisions.key", "use.db"


def serve(
    model: Annotated[
        str | None,
        typer.Argument(help="A run's folder merge-STEP, or an embedded base by name.", show_default=False),
    ] = None,
    engine: Annotated[
        Literal["llamacpp", "transformers", "vllm"] | None,
        typer.Option(
            help="What computes; default: llama.cpp where it is installed and the base is embedded."
        ),
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 8000,
    url: Annotated[
        str | None, typer.Option(help="Where clients reach it, if not directly: https://mulmed.example.org")
    ] = None,
    settings: ServingFile = None,
    overrides: ServingOverrides = None,
    state: Annotated[
        Path, typer.Option(help="Folder of API keys, the record of decisions, counts of use.")
    ] = Path("serving"),
    record_key: Annotated[
        Path | None, typer.Option(help="Key of the record, best kept elsewhere; default: in --state.")
    ] = None,
    precision: GgufPrecision = "f16",
    threads: Threads = None,
    python: Annotated[
        str | None, typer.Option(help="Python of the environment that has vLLM; default: this one.")
    ] = None,
    evaluation: Annotated[
        bool,
        typer.Option(
            "--evaluation",
            help="To measure the model: no safety layer, plain prompts, logprobs. Loopback only.",
        ),
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Beyond this machine without keys or HTTPS, all the same.")
    ] = False,
    make_key: Annotated[
        str | None, typer.Option("--new-key", metavar="NAME", help="Make an API key, show it once, and end.")
    ] = None,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check that the record of decisions is whole, and end.")
    ] = False,
    forget: Annotated[
        str | None,
        typer.Option(metavar="USER", help="Delete a user's decisions from the record, and end."),
    ] = None,
) -> None:
    """Serve a model: OpenAI's protocol and one endpoint a task, the safety layer before and after it."""
    record, key_file = state / RECORD, record_key or state / RECORD_KEY
    if make_key is not None or verify or forget is not None:
        _keep(state, record, key_file, make_key, verify=verify, forget=forget)
        return
    if model is None:
        raise MulmedError("No model is named.", where="mulmed serve MODEL", remedy="Name a run's merge-STEP.")
    from mulmed.chat.page import add_page
    from mulmed.chat.watch import Watch
    from mulmed.monitoring.store import Monitor
    from mulmed.recipe import load_serving
    from mulmed.serving.app import create_app
    from mulmed.serving.model import open_model, start_engine
    from mulmed.serving.records import Records
    from mulmed.serving.second_reader import open_reader
    from mulmed.serving.server import run
    from mulmed.serving.service import Service
    from mulmed.web.listening import listen, url_of

    hosts, keys = _admitted(host, url, state / KEYS, insecure=insecure, evaluation=evaluation)
    chosen = load_serving(settings, tuple(overrides or ()))
    listening = listen(host, port)  # before the model is loaded: a port that is taken is told at once
    found = open_model(model, tell)
    if chosen.require_review is not None:
        from mulmed.review.clearance import require_review  # brings a database's library along

        require_review(found.reviewed_as, chosen.require_review)
    if not found.trained:
        err.print(f"{found.name} is a base model as it is: it was not trained to answer medical questions.")
    if evaluation:
        err.print("[bold]Evaluation:[/bold] there is no safety layer. No patient may talk with this.")
    computing = start_engine(
        found,
        engine,
        slots=chosen.limits.slots,
        context=chosen.limits.context,
        precision=precision,
        threads=threads,
        tell=tell,
        **({"python": python} if python else {}),
    )
    records = None if evaluation else Records(record, key_file, chosen.audit_days)
    reader = None if evaluation else open_reader(chosen.reader, tell)
    service = Service(found, computing, chosen, records, reader=reader, evaluation=evaluation)
    watch = None if evaluation else Watch(Monitor(state / USE))
    pages = [] if watch is None else [add_page(watch)]  # what is measured is not talked with
    where = url or url_of(host, listening)
    out.print(
        f"Serving {found.name} by {computing.name} at {where}  (Ctrl-C ends it)", soft_wrap=True, markup=False
    )
    try:
        run(create_app(service, pages, hosts=hosts, keys=keys), service, listening)
    finally:
        if watch is not None:
            watch.close()


def _keep(
    state: Path, record: Path, key_file: Path, make_key: str | None, *, verify: bool, forget: str | None
) -> None:
    """Make a key, or look after the record."""
    if make_key is not None:
        from mulmed.serving.keys import new_key

        out.print(new_key(state / KEYS, make_key), markup=False, soft_wrap=True)
        err.print("This is shown only now. Clients send it as Authorization: Bearer KEY.", soft_wrap=True)
        return
    from mulmed.safety import audit

    key = audit.load_key(key_file) if key_file.exists() else None
    if key is None:
        raise MulmedError(
            "The record's key is not there.", where=str(key_file), remedy="Name it with --record-key."
        )
    if forget is not None:
        count = audit.forget(record, key, audit.keyed_hash(key, forget))
        out.print(f"Deleted: {count} decisions. That they were is on record.")
    if verify:
        found = audit.verify(record, key)
        out.print(
            f"All of it holds: {found.lines} lines, {found.deleted} deleted, the last one's hash is {found.head}",
            soft_wrap=True,
        )


def _admitted(
    host: str, url: str | None, keys: Path, *, insecure: bool, evaluation: bool
) -> tuple[list[str], Any]:
    """Names the service may be called by, and the keys that open it (None: none is needed).

    Raises:
        MulmedError: it would listen beyond this machine without a key, without HTTPS before it, or without its safety
            layer.
    """
    from mulmed.serving.keys import Keys

    address = urlsplit(url or "")
    if url and (address.scheme not in ("http", "https") or not address.hostname):
        raise MulmedError("This is no address.", where=f"--url {url}", remedy="Write https://HOST.")
    beyond = host not in LOOPBACK or (address.hostname or host) not in LOOPBACK
    if beyond and evaluation:
        raise MulmedError(
            "Without its safety layer a model is not served beyond this machine.",
            where="--evaluation",
            remedy="Listen on loopback, or leave --evaluation out.",
        )
    if beyond and not insecure:
        if not keys.exists():
            raise MulmedError(
                "Beyond this machine the service asks for API keys, and there is none.",
                where=str(keys),
                remedy="Make one: mulmed serve --new-key NAME. (Or insist on none: --insecure.)",
            )
        if address.scheme != "https":
            raise MulmedError(
                "Beyond this machine questions, answers and keys could be read on the way.",
                where=f"--host {host}",
                remedy="Put an HTTPS proxy before it and give its address: --url https://HOST. (Or insist: --insecure.)",
            )
    if host in ("0.0.0.0", "::") and not url:
        raise MulmedError(
            "Listening on every address, the service must know its name.",
            where=f"--host {host}",
            remedy="Say where clients reach it: --url http://HOST:PORT.",
        )
    return [address.hostname or host], Keys(keys) if keys.exists() else None
