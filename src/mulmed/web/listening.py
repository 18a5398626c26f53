"""Where a server listens, and under which address a browser finds it."""

from __future__ import annotations

import socket

from mulmed.errors import MulmedError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 is any free one.

    Raises:
        MulmedError: the port is taken, or the address not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise MulmedError(
            f"The server cannot listen: {error.strerror}.",
            where=f"{host}, port {port}",
            remedy="Choose another --port, or a --host that is an address of this machine.",
        ) from error


def url_of(host: str, listening: socket.socket) -> str:
    """What to type into a browser for a socket of :func:`listen`."""
    at = f"[{host}]" if ":" in host else host
    return f"http://{at}:{listening.getsockname()[1]}"
