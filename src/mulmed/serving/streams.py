"""Responses that come in pieces, and work that ends when nobody waits for it any more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import orjson
from fastapi.responses import Response
from starlette.types import Receive, Scope, Send

#: A stream is not silent for longer (seconds): proxies cut those that are.
QUIET = 20.0
T = TypeVar("T")
Write = Callable[[bytes], Awaitable[None]]


class ClientLeft(Exception):
    """Nobody waits for the answer any more."""


async def unless_left(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns; it is cancelled when the client closes the connection.

    Raises:
        ClientLeft: it was.
    """

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    doing, leaving = asyncio.create_task(work), asyncio.create_task(left())
    try:
        await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientLeft
        return doing.result()
    finally:
        for task in (doing, leaving):
            task.cancel()
        await asyncio.wait({doing, leaving})
        for task in (doing, leaving):
            if not task.cancelled():
                task.exception()  # else asyncio would log it, words and all


class EventStream(Response):
    """Server-sent events.

    Args:
        produce: writes them; cancelled when the client leaves.
    """

    media_type = "text/event-stream"

    def __init__(self, produce: Callable[[Write], Coroutine[Any, Any, None]]) -> None:
        super().__init__(headers={"X-Accel-Buffering": "no"})  # proxies of nginx's kind pass them on at once
        del self.headers["content-length"]
        self._produce = produce

    async def __call__(self, _: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})

        loop = asyncio.get_running_loop()
        written = loop.time()

        async def write(data: bytes) -> None:
            nonlocal written
            written = loop.time()
            await send({"type": "http.response.body", "body": data, "more_body": True})

        async def stay() -> None:
            while True:
                await asyncio.sleep(QUIET / 2)
                if loop.time() - written > QUIET / 2:
                    await write(b": still there\n\n")

        staying = asyncio.create_task(stay())
        try:
            await unless_left(receive, self._produce(write))
        except ClientLeft:
            return
        finally:
            staying.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def event(document: Any, name: str = "") -> bytes:
    """One event."""
    head = f"event: {name}\n" if name else ""
    return head.encode() + b"data: " + orjson.dumps(document) + b"\n\n"
