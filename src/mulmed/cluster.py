"""A Ray cluster, for who works on several machines."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from mulmed.errors import MulmedError


@contextmanager
def connected(address: str, key: str) -> Iterator[None]:
    """Connected to the cluster at an address (``auto`` for that of this machine), unless this process already is.

    Args:
        address: as ``ray.init`` takes it.
        key: of the recipe, for messages.

    Raises:
        MulmedError: Ray is not installed, or no cluster answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MulmedError(
            "Ray is not installed.",
            where=key,
            remedy="pip install 'mulmed[cluster]', here and on every node.",
        ) from error
    started = not ray.is_initialized()
    if started:
        _reachable(address, key)
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except ConnectionError as error:
            raise _no_cluster(address, key) from error
    try:
        yield
    finally:
        if started:
            ray.shutdown()


def _reachable(address: str, key: str) -> None:
    """Ray itself waits minutes for a cluster that is not there."""
    host, colon, port = address.rpartition(":")
    if not colon:  # `auto`
        return
    try:
        socket.create_connection((host.removeprefix("ray://"), int(port)), timeout=5).close()
    except (OSError, ValueError) as error:
        raise _no_cluster(address, key) from error


def _no_cluster(address: str, key: str) -> MulmedError:
    return MulmedError(
        f"No Ray cluster answers at {address!r}.",
        where=key,
        remedy="Start one (ray start --head), or name its address as host:port.",
    )
