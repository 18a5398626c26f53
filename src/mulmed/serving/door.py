"""The door: while there is no place, who asks for an answer is told so before a byte of the request's body is read.

Under ten times the load nine of ten requests are refused, and all of them share one event loop with those that were let in.
What is done for them is done for nothing: so nothing is parsed, masked, counted in tokens or looked at.
"""

from __future__ import annotations

from starlette.responses import JSONResponse

from mulmed.serving.service import Service
from mulmed.web.guard import App, Receive, Scope, Send

#: Where answers are asked for, and what the endpoint is called in counts.
_ASKING = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/page/send": "page",
    **{
        f"/v1/tasks/{name}{batch}": name
        for name in ("summarize", "answer", "dialogue")
        for batch in ("", "/batch")
    },
}


class Door:
    """ASGI middleware, inside those that ask for host and key."""

    def __init__(self, app: App, service: Service) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asking = scope["type"] == "http" and scope["method"] == "POST" and _ASKING.get(scope["path"])
        error = self._service.turn_away(asking) if asking else None
        answer = JSONResponse(error.body(), error.status, error.headers) if error else self._app
        await answer(scope, receive, send)
