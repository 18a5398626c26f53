"""Databases to keep studies in, studies of invented answers."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mulmed.cli import main
from tests.review.studies import make_study


def _postgresql_binaries() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """Address of a server of our own, on a socket in a temporary folder, as ``URL%s`` for a database's name."""
    binaries = _postgresql_binaries()
    if binaries is None:
        pytest.skip("PostgreSQL's server is not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="the extra 'postgres' is not installed")
    user: str | None = None
    if os.geteuid() == 0:  # the server refuses to run as root
        user = "postgres"
        try:
            pwd.getpwnam(user)
        except KeyError:
            pytest.skip("PostgreSQL does not run as root, and there is no user 'postgres'")
    with tempfile.TemporaryDirectory(prefix="mulmed-pg-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        data, socket = folder / "data", folder / "socket"
        for part in (data, socket):
            part.mkdir(mode=0o700)
            if user:
                shutil.chown(part, user, user)
        run: dict[str, Any] = {
            "user": user,
            "cwd": folder,
            "capture_output": True,
            "text": True,
            "check": True,
        }
        if user:
            socket.chmod(0o777)
        subprocess.run(
            [binaries / "initdb", "-D", data, "-A", "trust", "-U", "mulmed", "-E", "UTF8", "--no-sync"], **run
        )
        server = subprocess.Popen(
            [
                binaries / "postgres",
                "-D",
                data,
                "-k",
                socket,
                "-c",
                "listen_addresses=",
                "-c",
                "max_connections=120",
                "-c",
                "fsync=off",
            ],
            user=user,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            ready = [binaries / "pg_isready", "-h", socket, "-t", "20"]
            for _ in range(200):
                if subprocess.run(ready, capture_output=True, check=False).returncode == 0:
                    break
                time.sleep(0.05)
            yield f"postgresql://mulmed@/%s?host={socket}"
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: nothing of it is kept
            server.wait(20)


@pytest.fixture(scope="session")
def new_postgresql(postgresql: str) -> Callable[[], str]:
    """Makes an empty database on the server and gives its URL."""
    import psycopg

    def make() -> str:
        name = f"study_{uuid.uuid4().hex}"
        with psycopg.connect(postgresql % "postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return postgresql % name

    return make


def target_maker(
    kind: str, request: pytest.FixtureRequest, factory: pytest.TempPathFactory
) -> Callable[[], str]:
    """Makes a place for a study in a database of a kind."""
    if kind == "sqlite":
        return lambda: str(factory.mktemp("sqlite") / "study.db")
    make: Callable[[], str] = request.getfixturevalue("new_postgresql")
    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def new_target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Makes a place for a study, once of each kind of database."""
    return target_maker(request.param, request, tmp_path_factory)


@pytest.fixture
def study(new_target: Callable[[], str]) -> Any:
    """An open study of three models, four questions in two languages, three annotators."""
    return make_study(new_target())


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `mulmed review ...` in this process and gives what it printed; ``fails`` is the exit code expected."""

    def run(*arguments: str | Path, fails: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["mulmed", "review", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "200")
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert int(ended.value.code or 0) == fails, printed.err
        return printed.err if fails else printed.out

    return run
