"""A service whose page is talked with: the small taught model, or an engine that says what a test wants said."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from mulmed.chat.page import add_page
from mulmed.chat.watch import Watch
from mulmed.monitoring.store import Monitor
from mulmed.recipe import Decoding, Serving
from mulmed.serving.app import create_app
from mulmed.serving.engine import Piece, ServingEngine
from mulmed.serving.keys import Keys
from mulmed.serving.model import Model
from mulmed.serving.service import Service
from tests.serving.conftest import merged, model, start

__all__ = ["merged", "model", "start"]


@dataclass
class Says:
    """An engine that says what it is told to, in the place of a model: no model can be made to say just that.

    Attributes:
        script: the answer to a prompt (as text), in pieces; ``None`` among them waits until ``go``.
        asked: the prompts so far.
        stopped: how many answers nobody waited for any more.
    """

    model: Model
    script: Callable[[str], Sequence[str | None]] = lambda _: ("I see.",)
    name: str = "a script"
    slots: int = 2
    context: int = 2048
    asked: list[str] = field(default_factory=list)
    stopped: int = 0
    go: threading.Event = field(default_factory=threading.Event)

    async def stream(self, prompt: Sequence[int], decoding: Decoding) -> AsyncGenerator[Piece]:
        text = self.model.renderer.tokenizer.decode(prompt)
        self.asked.append(text)
        try:
            for piece in self.script(text):
                while piece is None and not self.go.is_set():
                    await asyncio.sleep(0.01)
                yield Piece(piece or "", 1)
            yield Piece("", 0, "stop")
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise

    async def score(self, ids: Sequence[int], top: int) -> None:
        return None

    def close(self) -> None:
        pass


@dataclass
class Page:
    """Where the page is, and what stands behind it."""

    url: str
    engine: Any
    monitoring: Path
    service: Service


Serve = Callable[..., AbstractContextManager[Page]]


@contextmanager
def paging(
    model: Model, engine: ServingEngine, monitoring: Path, settings: Serving, keys: Keys | None = None
) -> Iterator[Page]:
    service = Service(model, engine, settings)
    watch = Watch(Monitor(monitoring))
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(service, [add_page(watch)], keys=keys), access_log=False, log_level="error"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        assert httpx.get(url + "/health").status_code == 200
        yield Page(url, engine, monitoring, service)
    finally:
        server.should_exit = True
        thread.join(20)
        watch.close()


@pytest.fixture(scope="session")
def says(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page over an engine that says what ``page.engine.script`` is set to."""
    path = tmp_path_factory.mktemp("page") / "use.db"
    with paging(model, Says(model), path, Serving(region="CN")) as page:
        yield page
