"""The review's server as a process of its own, as a user starts it, and a small client of its pages."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.runs import ENVIRONMENT


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Server:
    """``mulmed review serve`` on loopback."""

    target: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """As a power cut would end it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def start(target: str, port: int | None = None) -> Server:
    port = port or free_port()
    command = [sys.executable, "-c", "from mulmed.cli import main; main()", "review", "serve", target]
    process = subprocess.Popen(
        [*command, "--port", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=ENVIRONMENT
    )
    server = Server(target, port, process)
    for _ in range(600):
        assert process.poll() is None, "the server ended"
        try:
            httpx.get(server.url + "/static/shared/icon.svg", timeout=1)
            return server
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the server did not start")


@contextmanager
def serving(target: str) -> Iterator[Server]:
    server = start(target)
    try:
        yield server
    finally:
        server.process.terminate()
        server.process.wait(20)


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
