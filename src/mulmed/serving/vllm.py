"""vLLM as a serving engine: a process of its own beside this one, asked with token ids over its OpenAI protocol."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from mulmed.errors import MulmedError
from mulmed.generation.vllm import sampling
from mulmed.recipe import Decoding
from mulmed.serving.engine import EngineFailed, Finish, Piece, Scored
from mulmed.serving.upstream import events


class Vllm:
    """Completions by a server of vLLM's protocol.

    Args:
        url: of the server, without a path.
        key: without which it answers nobody.
        eos_id: the token at which an answer ends.
        slots, context: as :class:`mulmed.serving.engine.ServingEngine` says.
        process: the server, if this one started it.
    """

    name = "vLLM"

    def __init__(
        self,
        url: str,
        key: str,
        eos_id: int,
        *,
        slots: int,
        context: int,
        process: subprocess.Popen[bytes] | None = None,
    ) -> None:
        self.slots = slots
        self.context = context
        self._url = f"{url}/v1/completions"
        self._key = key
        self._eos_id = eos_id
        self._process = process

    async def stream(self, prompt: Sequence[int], decoding: Decoding) -> AsyncGenerator[Piece]:
        """The completion; when the connection is closed, vLLM stops computing it."""
        body: dict[str, Any] = {
            **sampling(decoding, self._eos_id, decoding.seed),
            "model": "model",
            "prompt": list(prompt),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        del body["detokenize"]  # of the library; a server always does
        finish: Finish | None = None
        async with aclosing(events(self._url, self._key, body)) as found:
            async for event in found:
                for choice in event["choices"]:
                    if choice["finish_reason"]:
                        finish = "length" if choice["finish_reason"] == "length" else "stop"
                    if choice["text"]:
                        yield Piece(choice["text"])
                if finish and event.get("usage"):
                    # The end of text is no token of the answer.
                    count = event["usage"]["completion_tokens"] - (finish == "stop")
                    yield Piece("", count, finish)
                    return
        raise EngineFailed("vLLM broke off")

    async def score(self, _ids: Sequence[int], _top: int) -> list[Scored] | None:
        """Left to the reference."""
        return None

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def start_vllm(
    python: str, folder: Path, eos_id: int, *, slots: int, context: int, tell: Callable[[str], None]
) -> Vllm:
    """vLLM's server with the model, by the Python of an environment that has it.

    It listens on loopback with a key of its own, reports nothing to anybody, and asks no hub.

    Raises:
        MulmedError: it ends before it answers.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    key = secrets.token_hex(16)
    command = [
        *(python, "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)),
        *("--served-model-name", "model", "--host", "127.0.0.1", "--port", str(port)),
        *("--max-model-len", str(context), "--max-num-seqs", str(slots), "--load-format", "safetensors"),
        *("--generation-config", "vllm", "--no-enable-prefix-caching", "--uvicorn-log-level", "error"),
    ]
    environment = os.environ | {
        "VLLM_API_KEY": key, "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1",
        "VLLM_CONFIGURE_LOGGING": "0",
    }  # fmt: skip
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        raise _not_started(python, str(error.strerror)) from error
    engine = Vllm(f"http://127.0.0.1:{port}", key, eos_id, slots=slots, context=context, process=process)
    began = told = time.monotonic()
    try:
        while not _answers(port):
            if process.poll() is not None:
                raise _not_started(python, f"it ended with code {process.returncode}")
            if time.monotonic() - told > 10:
                told = time.monotonic()
                tell(f"vLLM is loading the model ({told - began:.0f} s; minutes at the first start)")
            time.sleep(0.2)
    except BaseException:
        engine.close()
        raise
    return engine


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False


def _not_started(python: str, why: str) -> MulmedError:
    return MulmedError(
        f"vLLM's server did not start: {why}.",
        where=f"--python {python}",
        remedy="Name the Python of an environment with vLLM, on a machine with a GPU (pip install 'mulmed[vllm]'), "
        "or choose another --engine.",
    )
