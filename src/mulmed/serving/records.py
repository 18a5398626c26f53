"""The record of decisions of a service: written beside the answers by a thread of its own, deleted when its time is over."""

from __future__ import annotations

import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from mulmed.errors import MulmedError
from mulmed.safety import AuditRecord, keyed_hash
from mulmed.safety.audit import append, load_key, retain, verify
from mulmed.serving.exchange import Exchange
from mulmed.serving.model import Model
from mulmed.serving.observe import Finished

_DAY = 86_400.0


class Records:
    """An audit log that is being written.

    Attributes:
        failed: a line could not be written; nobody is answered any more without a record.

    Args:
        path: the log; made if it is not there.
        key: the file of its key; likewise.
        days: bodies older than that are deleted, now and once a day; None: never.

    Raises:
        MulmedError: the log was changed or cut, or the key is not its own.
    """

    def __init__(self, path: Path, key: Path, days: float | None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.failed = False
        self._path = path
        self._key = load_key(key)
        self._days = days
        self._retained = 0.0
        if path.exists():
            verify(path, self._key)
        self._writer = ThreadPoolExecutor(1, "records")
        self._keep()

    def write(self, exchange: Exchange, finished: Finished, model: Model) -> None:
        """Add the decisions about an exchange that has ended, soon."""
        ask = exchange.ask
        settings = {"endpoint": ask.endpoint, "task": ask.task, "language": exchange.language}
        counts = {
            "question_characters": finished.question_characters,
            "answer_characters": finished.answer_characters,
            "prompt_tokens": finished.prompt_tokens,
            "completion_tokens": finished.completion_tokens,
            "turns": finished.turns,
            "choices": len(exchange.choices),
        }
        record = AuditRecord(
            request=exchange.id,
            model=model.content,
            template=model.renderer.template.sha256,
            settings=settings | {"outcome": finished.outcome} | exchange.decoding.model_dump(),
            user=self._hash(ask.user),
            question=self._hash(ask.turns[-1].text),
            answer=self._hash("\0".join(choice.text for choice in exchange.choices)),
            counts=counts | {f"masked_{kind}": n for kind, n in exchange.masked.items()},
            flags=finished.flags,
            actions=finished.actions,
        )
        self._writer.submit(self._write, record).add_done_callback(self._told)

    def close(self) -> None:
        """Write what is left."""
        self._writer.shutdown()

    def _hash(self, text: str) -> str:
        """What stands for a text; empty for none."""
        return keyed_hash(self._key, text) if text else ""

    def _write(self, record: AuditRecord) -> None:
        append(self._path, self._key, record)
        self._keep()

    def _keep(self) -> None:
        now = time.time()
        if self._days is not None and self._path.exists() and now - self._retained > _DAY:
            retain(self._path, self._key, self._days, now)
            self._retained = now

    def _told(self, written: Future[None]) -> None:
        if error := written.exception():
            self.failed = True
            what = error.what if isinstance(error, MulmedError) else str(error)
            print(f"The record of decisions cannot be written: {what}", file=sys.stderr, flush=True)
