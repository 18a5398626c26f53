"""What stands before every page: only known hosts, only our own pages may change anything, nothing from outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Written = Callable[[int, str], tuple[str, bytes]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}


def plainly(_status: int, reason: str) -> tuple[str, bytes]:
    """A refusal as text."""
    return "text/plain; charset=utf-8", reason.encode()


class Guard:
    """ASGI middleware.

    A request for an unknown host is refused (a page elsewhere could otherwise reach a loopback server under a name of its own),
    and so is a change that another site's page asks for, and a body larger than ``limit`` bytes. Every response carries
    :data:`HEADERS`.

    Args:
        hosts: names it may be called by, besides loopback's.
        limit: bytes a request's body may have.
        written: a refusal's status and reason as media type and body.
    """

    def __init__(
        self, app: App, hosts: Iterable[str] = (), limit: int = 1 << 17, written: Written = plainly
    ) -> None:
        self._app = app
        self._hosts = {*LOOPBACK, *hosts}
        self._limit = limit
        self._written = written

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                ours = {name.encode(): value.encode() for name, value in HEADERS.items()}
                theirs = [(k, v) for k, v in message.get("headers", ()) if k.lower() not in ours]
                message["headers"] = [*theirs, *ours.items()]
            await send(message)

        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        refused = self._refuse(scope["method"], headers)
        if refused:
            media_type, body = self._written(*refused)
            kind = [
                (b"content-type", media_type.encode()),
                (b"content-length", str(len(body)).encode()),
            ]
            await guarded({"type": "http.response.start", "status": refused[0], "headers": kind})
            await guarded({"type": "http.response.body", "body": body})
            return
        await self._app(scope, receive, guarded)

    def _refuse(self, method: str, headers: MutableMapping[str, str]) -> tuple[int, str] | None:
        host = headers.get("host", "")
        if (urlsplit(f"//{host}").hostname or "") not in {h.strip("[]") for h in self._hosts}:
            return 421, "Unknown host."
        if method in ("GET", "HEAD"):
            return None
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc != host:
            return 403, "Another site's page asked for this change."
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "Another site's page asked for this change."
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdigit() or int(length) > self._limit:
            return 413, "Too much."
        return None
