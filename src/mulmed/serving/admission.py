"""Who may come in: places to compute, a bounded queue before them, and the door that closes when the service ends."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from mulmed.serving.errors import ApiError


class Admission:
    """Counts completions. All calls come from one event loop.

    Attributes:
        draining: nobody new comes in.

    Args:
        slots: completions computed at a time.
        queue: how many may wait besides.
    """

    def __init__(self, slots: int, queue: int) -> None:
        self.draining = False
        self._places = slots + queue
        self._slots = slots
        self._inside = 0
        self._running = 0
        self._free = asyncio.Semaphore(slots)
        self._seconds = 1.0  # what a completion takes, lately

    @property
    def running(self) -> int:
        """Completions being computed."""
        return self._running

    @property
    def waiting(self) -> int:
        """Completions that have been let in and are not being computed."""
        return self._inside - self._running

    def enter(self, counts: Sequence[int]) -> list[Hold]:
        """Let requests of so many completions each in, all of them or none.

        Raises:
            ApiError: 503 while the service ends, 429 when as many as that are not free, with the seconds until
                they should be.
        """
        count = sum(counts)
        refused = self.refusal(count)
        if refused is not None:
            raise refused
        self._inside += count
        return [Hold(self, count) for count in counts]

    def refusal(self, count: int) -> ApiError | None:
        """Why so many completions cannot come in now (see :meth:`enter`); None: they can."""
        if self.draining:
            return ApiError(503, "shutting_down", "The service is ending.", retry_after=30)
        if self._inside + count <= self._places:
            return None
        rounds = (self._inside + count - self._places) / self._slots
        wait = max(1, math.ceil(rounds * self._seconds))
        return ApiError(429, "queue_full", "Too many requests at once; try again later.", retry_after=wait)

    def _leave(self, count: int) -> None:
        self._inside -= count

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for a place to compute, first come, first served."""
        async with self._free:
            self._running += 1
            began = time.monotonic()
            try:
                yield
            finally:
                self._running -= 1
                self._seconds += 0.2 * (time.monotonic() - began - self._seconds)


class Hold:
    """The places of a request that was let in."""

    def __init__(self, admission: Admission, count: int) -> None:
        self._admission = admission
        self._count = count

    def leave(self) -> None:
        """Give them back; once is enough."""
        self._admission._leave(self._count)
        self._count = 0
