"""The review's server, as a process that can be killed or in a thread, and a small client of its pages."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from mulmed.review.app import make_app
from mulmed.review.database import open_store
from tests.runs import ENVIRONMENT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """Where a server listens."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@dataclass
class Process(Server):
    """``mulmed review serve`` as a user starts it."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """As a power cut would end it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def start(target: str, port: int | None = None) -> Process:
    port = port or free_port()
    command = [sys.executable, "-c", "from mulmed.cli import main; main()", "review", "serve", target]
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    server = Process(port, process)
    _wait_for(server, lambda: process.poll() is None)
    return server


def _wait_for(server: Server, alive: Callable[[], bool]) -> None:
    for _ in range(1200):
        assert alive(), "the server ended"
        try:
            httpx.get(server.url + "/static/shared/icon.svg", timeout=1)
            return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


@contextmanager
def serving(target: str) -> Iterator[Server]:
    """The same server in a thread, with a store of its own: a process takes two seconds to start."""
    port = free_port()
    config = uvicorn.Config(
        make_app(open_store(target)), port=port, access_log=False, log_level="error", server_header=False
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        _wait_for(Server(port), thread.is_alive)
        yield Server(port)
    finally:
        server.should_exit = True
        thread.join(20)


def sign_in(url: str, token: str) -> httpx.Client:
    """A client with a session."""
    client = httpx.Client(base_url=url, timeout=20)
    assert client.post(f"/invitation/{token}").status_code == 303
    return client


def page_data(html: str) -> dict[str, Any]:
    """What a rating page hands to its script."""
    import orjson

    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    assert found
    data: dict[str, Any] = orjson.loads(found[1])
    return data


def links(html: str) -> set[str]:
    """Paths that a page names in its attributes."""
    return {urllib.parse.urlsplit(u).path for u in re.findall(r'(?:href|src|action)="(/[^"#]*)', html)}
