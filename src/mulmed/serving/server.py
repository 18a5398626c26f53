"""The process: uvicorn on a socket, and an end that lets answers under way finish."""

from __future__ import annotations

import asyncio
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from mulmed.serving.service import Service

#: Seconds after which a thread that computes hands the interpreter on. The event loop gives it up with everything it sends, and would get it
#: back only after Python's 5 ms each time, as long as the safety layer's threads read a message.
_SWITCH = 0.0005


class _Server(uvicorn.Server):
    """uvicorn that, told to end, lets nobody new in, and after the time for it ends what still runs with an error."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._loop is not None and not self.should_exit:
            self._loop.call_soon_threadsafe(self._drain)
        super().handle_exit(sig, frame)

    def _drain(self) -> None:
        self._service.drain()
        assert self._loop is not None
        self._loop.call_later(self._service.settings.limits.drain, self._service.cut)


def run(app: FastAPI, service: Service, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    # Paths and query strings may hold anything: no access log.
    config = uvicorn.Config(
        app,
        access_log=False,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(service.settings.limits.drain) + 5,
    )
    sys.setswitchinterval(_SWITCH)
    try:
        _Server(config, service).run(sockets=[listening])
    finally:
        service.close()
