"""Mistakes of the program are logged by kind and place: an exception's own words may be a patient's."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

from mulmed.serving.errors import ApiError
from mulmed.web.guard import App, Receive, Scope, Send


class Wordless:
    """ASGI middleware, outside all others."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            places = [
                f"{f.filename}:{f.lineno} in {f.name}" for f in traceback.extract_tb(error.__traceback__)
            ]
            print(f"{type(error).__name__} at", *places[-8:], sep="\n  ", file=sys.stderr, flush=True)
            if started:
                return  # the connection is closed: the answer is not whole
            body = json.dumps(ApiError(500, "internal_error", "The service made a mistake.").body()).encode()
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            await send({"type": "http.response.body", "body": body})
