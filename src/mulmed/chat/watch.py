"""From what a service tells of every request to the counts of monitoring."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from mulmed.corpus.record import Task
from mulmed.monitoring.shape import Shape
from mulmed.monitoring.store import AUDIENCES, Audience, Feedback, Monitor, Reason, Served
from mulmed.serving.observe import Finished

#: So many requests may still be judged; of older ones it is forgotten what they were.
_REMEMBERED = 10_000


class Watch:
    """An observer that counts every request, and knows what recent ones were when users judge them.

    Args:
        monitor: closed with :meth:`close`.
    """

    def __init__(self, monitor: Monitor) -> None:
        self._monitor = monitor
        self._writer = ThreadPoolExecutor(1, "monitoring")  # the event loop does not wait for a disk
        self._recent: OrderedDict[str, tuple[Task, Shape]] = OrderedDict()

    def __call__(self, finished: Finished) -> None:
        audience: Audience = finished.endpoint if finished.endpoint in AUDIENCES else "client"
        task = cast(Task, finished.task)
        served = Served(
            task, finished.shape, finished.outcome, audience, finished.flags, finished.actions,
            finished.masked, finished.first, finished.seconds,
        )  # fmt: skip
        self._writer.submit(self._monitor.count, served, finished.at)
        if audience != "client":
            self._recent[finished.request] = (task, finished.shape)
            if len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)

    def judge(self, request: str, good: bool, reason: Reason | None) -> bool:
        """Count what a user thought of an answer; False where it is unknown or was judged before."""
        known = self._recent.pop(request, None)
        if known is None:
            return False
        self._writer.submit(self._monitor.feedback, Feedback(*known, good, reason))
        return True

    def close(self) -> None:
        """Count what is left."""
        self._writer.shutdown()
        self._monitor.close()
