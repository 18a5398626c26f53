"""A real engine whose pieces come when a test lets them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from mulmed.recipe import Decoding
from mulmed.serving.engine import Piece, ServingEngine


class Held:
    """Gives the first piece at once and the others after :attr:`go` is set.

    Attributes:
        closed: how many streams have been closed.
    """

    def __init__(self, engine: ServingEngine) -> None:
        self._engine: Any = engine
        self.name, self.slots, self.context = engine.name, engine.slots, engine.context
        self.go = threading.Event()
        self.closed = 0

    async def stream(self, prompt: Sequence[int], decoding: Decoding) -> AsyncGenerator[Piece]:
        try:
            async with aclosing(self._engine.stream(prompt, decoding)) as pieces:
                yield await anext(pieces)
                while not self.go.is_set():
                    await asyncio.sleep(0.005)
                async for piece in pieces:
                    yield piece
        finally:
            self.closed += 1

    async def score(self, ids: Sequence[int], top: int) -> Any:
        return await self._engine.score(ids, top)

    def close(self) -> None:
        """The engine is another's."""
