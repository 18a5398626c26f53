"""API keys: made once, kept as hashes, asked for before a request's body is read.

A key is 256 random bits, so that a plain hash of it gives nothing away. The file has a line a key: its name and its
SHA-256. It is read again when it changes: a line that is taken out is a key that no longer opens anything.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

from starlette.responses import JSONResponse

from mulmed.errors import MulmedError
from mulmed.serving.errors import ApiError
from mulmed.web.guard import App, Receive, Scope, Send

_LINE = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63}) ([0-9a-f]{64})")


class Keys:
    """The keys in a file.

    Raises:
        MulmedError: there is no such file, or a line of it is no key.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._names: dict[str, str] = {}
        self._read()

    def name_of(self, key: str) -> str | None:
        """Whose key it is; None: nobody's."""
        try:
            self._read()
        except (MulmedError, OSError):
            self._names = {}  # a file that cannot be read opens to nobody
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
        found = None
        for known, name in self._names.items():
            if hmac.compare_digest(known, digest):
                found = name
        return found

    def _read(self) -> None:
        try:
            stat = self._path.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if stamp == self._stamp:
                return
            lines = self._path.read_text(encoding="ascii").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MulmedError(
                "The file of API keys cannot be read.",
                where=str(self._path),
                remedy="Make a key: mulmed serve --new-key NAME.",
            ) from error
        names = {}
        for number, line in enumerate(lines, start=1):
            if not (match := _LINE.fullmatch(line)):
                raise MulmedError(
                    "This is no key: a name, a blank, 64 hexadecimal digits.",
                    where=f"{self._path}, line {number}",
                    remedy="Take the line out, and make a key: mulmed serve --new-key NAME.",
                )
            names[match[2]] = match[1]
        self._names, self._stamp = names, stamp


def new_key(path: Path, name: str) -> str:
    """A new key, whose hash is added to the file. It is told here and never again.

    Raises:
        MulmedError: the name is taken, or none.
    """
    key = f"mulmed-{secrets.token_urlsafe(32)}"
    line = f"{name} {hashlib.sha256(key.encode()).hexdigest()}"
    if not _LINE.fullmatch(line):
        raise MulmedError(
            f"{name!r} is no name of a key.",
            where="--new-key",
            remedy="Use letters, digits, dots, dashes, underscores.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    old = path.read_text(encoding="ascii") if path.exists() else ""
    if any(known.split(" ")[0] == name for known in old.splitlines()):
        raise MulmedError(
            f"There is a key called {name!r}.",
            where=str(path),
            remedy="Take its line out first, or choose another name.",
        )
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(old + line + "\n")
    fresh.replace(path)
    return key


class Locked:
    """ASGI middleware: the interface and the metrics open with a key only. Pages see to themselves.

    The key's name stands in ``scope["state"]["key"]``.
    """

    def __init__(self, app: App, keys: Keys) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(("/v1/", "/metrics")):
            await self._app(scope, receive, send)
            return
        given = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
        name = self._keys.name_of(given.removeprefix("Bearer "))
        if name is not None:
            scope.setdefault("state", {})["key"] = name
            await self._app(scope, receive, send)
            return
        error = ApiError(401, "invalid_api_key", "A valid key is needed: Authorization: Bearer KEY.")
        headers = {"WWW-Authenticate": "Bearer", "Connection": "close"}  # the body is not read
        await JSONResponse(error.body(), error.status, headers)(scope, receive, send)
