"""Databases to keep studies in, studies of invented answers, a browser."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

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
                import time

                time.sleep(0.05)
            yield f"postgresql://mulmed@/%s?host={socket}"
        finally:
            server.send_signal(signal.SIGINT)  # do not wait for connections that tests left open
            server.wait(20)


@pytest.fixture
def new_postgresql(postgresql: str) -> Callable[[], str]:
    """Makes an empty database on the server and gives its URL."""
    import psycopg

    def make() -> str:
        name = f"study_{uuid.uuid4().hex}"
        with psycopg.connect(postgresql % "postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")  # type: ignore[arg-type]
        return postgresql % name

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def new_target(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], str]:
    """Makes a place for a study, once of each kind of database."""
    if request.param == "sqlite":
        return lambda: str(tmp_path / f"{uuid.uuid4().hex}.db")
    make: Callable[[], str] = request.getfixturevalue("new_postgresql")
    return make


@pytest.fixture
def study(new_target: Callable[[], str]) -> Any:
    """An open study of three models, four questions in two languages, three annotators."""
    return make_study(new_target())


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium, headless."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("there is no browser (Debian: apt-get install chromium)")
    from playwright.sync_api import sync_playwright

    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=path, args=[*quiet, "--disable-sync", "--no-first-run"]
        )
        yield found
        found.close()
