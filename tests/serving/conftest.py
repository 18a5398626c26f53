"""A service over a small model, as a server in a thread."""

from __future__ import annotations

import importlib.util
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from mulmed.base.embedded import identity
from mulmed.recipe import Serving
from mulmed.serving.app import Extension, create_app
from mulmed.serving.engine import ServingEngine
from mulmed.serving.model import Model, open_model, start_engine
from mulmed.serving.observe import Finished
from mulmed.serving.service import Service
from tests.bases import installed
from tests.conftest import Small
from tests.export.merges import make_merged

needs_llama_cpp = pytest.mark.skipif(
    importlib.util.find_spec("xllamacpp") is None,
    reason="llama.cpp (the extra `llamacpp`) is not installed: pip install xllamacpp",
)


@pytest.fixture(scope="session")
def merged(tmp_path_factory: pytest.TempPathFactory, small_llama: Small) -> Path:
    """A finished merge that knows the answers of ``TEXTS`` by heart."""
    folder = tmp_path_factory.mktemp("served") / "merge-mulmed"
    return make_merged(folder, identity(small_llama.base), small_llama.taught, small_llama.renderer)


@pytest.fixture(scope="session")
def endless(tmp_path_factory: pytest.TempPathFactory, small_llama: Small) -> Path:
    """A merge with the base's random weights: its greedy answers do not end by themselves."""
    folder = tmp_path_factory.mktemp("endless") / "merge-mulmed"
    return make_merged(folder, identity(small_llama.base), small_llama.converted, small_llama.renderer)


@pytest.fixture(scope="session")
def model(merged: Path, small_llama: Small) -> Model:
    with installed(small_llama.packages, small_llama.base):
        return open_model(str(merged), print)


@pytest.fixture(scope="session")
def start(model: Model, small_llama: Small) -> Callable[..., ServingEngine]:
    """Start an engine by name."""

    def started(name: Any, other: Model | None = None) -> ServingEngine:
        with installed(small_llama.packages, small_llama.base):
            return start_engine(
                other or model, name, slots=4, context=1024, precision="f32", threads=1, tell=lambda _: None
            )

    return started


@pytest.fixture(scope="session")
def llamacpp(start: Callable[..., ServingEngine]) -> ServingEngine:
    if importlib.util.find_spec("xllamacpp") is None:
        pytest.skip("llama.cpp (the extra `llamacpp`) is not installed: pip install xllamacpp")
    return start("llamacpp")


@dataclass
class Served:
    """Where it listens, and what was observed."""

    url: str
    service: Service
    finished: list[Finished]
    client: httpx.Client

    def wait_for(self, count: int) -> list[Finished]:
        """What was observed, when it is so many requests."""
        for _ in range(200):
            if len(self.finished) >= count:
                break
            time.sleep(0.02)
        assert len(self.finished) == count
        return self.finished


Serve = Callable[..., AbstractContextManager[Served]]


@contextmanager
def serving(
    model: Model,
    engine: ServingEngine,
    settings: Serving | None = None,
    extensions: Iterable[Extension] = (),
    *,
    evaluation: bool = False,
) -> Iterator[Served]:
    """The application under uvicorn, on a port of its own."""
    service = Service(model, engine, settings or Serving(), evaluation=evaluation)
    finished: list[Finished] = []
    service.observers.append(finished.append)
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    config = uvicorn.Config(create_app(service, extensions), access_log=False, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        with httpx.Client(base_url=url, timeout=60) as client:
            assert client.get("/health").json() == {"status": "ok"}
            yield Served(url, service, finished, client)
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def serve(model: Model) -> Serve:
    """``with serve(engine, settings) as served``."""

    def served(engine: ServingEngine, settings: Serving | None = None, extensions: Any = ()) -> Any:
        return serving(model, engine, settings, extensions)

    return served


@pytest.fixture
def served(llamacpp: ServingEngine, serve: Serve) -> Iterator[Served]:
    with serve(llamacpp) as found:
        yield found
