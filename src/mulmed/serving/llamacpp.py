"""llama.cpp as a serving engine: its own server, inside this process, with continuous batching over its slots."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from mulmed.generation.llamacpp import LlamaCppEngine, request_settings
from mulmed.recipe import Decoding
from mulmed.serving.engine import EngineFailed, Finish, Piece, Scored
from mulmed.serving.upstream import events


class LlamaCpp:
    """Completions by llama.cpp, ``slots`` of them computed together.

    Args:
        gguf: the model.
        eos_id: the token at which an answer ends.
        slots, context: as :class:`mulmed.serving.engine.ServingEngine` says.
        threads: cores to compute on; None leaves the choice to llama.cpp.

    Raises:
        MulmedError: the library is not installed, or cannot read the file.
    """

    name = "llama.cpp"

    def __init__(
        self, gguf: Path, eos_id: int, *, slots: int, context: int, threads: int | None = None
    ) -> None:
        self.slots = slots
        self.context = context
        self._engine: Any = LlamaCppEngine(gguf, eos_id, slots=slots, context=context, threads=threads)

    async def stream(self, prompt: Sequence[int], decoding: Decoding) -> AsyncGenerator[Piece]:
        """The completion; when the connection is closed, llama.cpp stops computing it."""
        body = {"prompt": list(prompt), "seed": decoding.seed, "stream": True}
        body |= request_settings(decoding, self.context)
        counted = 0
        async with aclosing(events(f"{self._engine.address}/completion", self._engine.key, body)) as found:
            async for event in found:
                if not event["stop"]:
                    counted += len(event["tokens"])
                    yield Piece(event["content"], len(event["tokens"]))
                    continue
                finish: Finish = "stop" if event["stop_type"] == "eos" else "length"
                # Tokens that are parts of a character only are not told on the way; the end of text is no token of the answer.
                yield Piece(
                    event["content"], event["tokens_predicted"] - (finish == "stop") - counted, finish
                )
                return
        raise EngineFailed("llama.cpp broke off")

    async def score(self, _ids: Sequence[int], _top: int) -> list[Scored] | None:
        """llama.cpp's server tells nothing of a prompt's own tokens."""
        return None

    def close(self) -> None:
        """End llama.cpp's server."""
        self._engine = None
