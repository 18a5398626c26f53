"""Counts of what a service did, by quarters of an hour, in an SQLite file. No words, no people, no single requests.

Every name that can be counted is known beforehand; anything else is refused, so that nothing a user or a model wrote
can get in by mistake. Several processes may count into one file; a count is on disk (but for a power cut) when
:meth:`Monitor.count` returns.
"""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from mulmed.corpus.deidentify import KINDS as IDENTIFIERS
from mulmed.corpus.record import TASKS, Task
from mulmed.errors import MulmedError
from mulmed.monitoring.shape import LANGUAGES, LENGTHS, Shape, topics
from mulmed.safety.lexicon import rules
from mulmed.safety.policy import KINDS, Action
from mulmed.safety.redflags import Certainty

#: Seconds that are counted together.
BUCKET = 900
#: Upper ends of the classes of latency, in seconds: four to every factor of ten. The last class has none.
LATENCIES = (0.05, 0.1, 0.18, 0.32, 0.56, 1.0, 1.8, 3.2, 5.6, 10.0, 18.0, 32.0, 56.0, 100.0, 180.0)
_VERSION = 1

Audience = Literal["patient", "clinician", "client"]
Outcome = Literal["ok", "left", "deadline", "refused", "drained", "failed"]
Reason = Literal["wrong", "unsafe", "unclear", "impolite", "language", "other"]
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)
REASONS: tuple[Reason, ...] = get_args(Reason)
_Key = tuple[str, tuple[str, ...]]  # a name and the words of its key
AUDIENCES: tuple[Audience, ...] = get_args(Audience)


@dataclass(frozen=True, slots=True)
class Served:
    """One request, as it is counted.

    Attributes:
        task: ``summary``, ``qa``, ``dialogue``, or ``instruction`` where a program asked without one.
        shape: of the last message.
        outcome: ``ok``; ``left``: the user stopped it or went away; ``deadline``: took too long; ``refused``: too long or too
            many; ``drained``: the service ended; ``failed``.
        audience: ``patient`` or ``clinician`` as chosen on the page; ``client``: a program.
        flags: red flags: kind to certainty.
        actions: of the output policy: ``kind:action`` to how often.
        masked: identifiers masked, by kind in lower case.
        first: seconds to the first token; ``None`` where none came.
        total: seconds to the end.
    """

    task: Task
    shape: Shape
    outcome: Outcome
    audience: Audience = "client"
    flags: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, int] = field(default_factory=dict)
    masked: Mapping[str, int] = field(default_factory=dict)
    first: float | None = None
    total: float | None = None


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a user thought of one reply: ``good`` or not, and then a reason of the list."""

    task: Task
    shape: Shape
    good: bool
    reason: Reason | None = None


class Monitor:
    """Counts into a file, which is made if it is not there. Safe to call from several threads.

    Raises:
        MulmedError: the file is no monitoring file, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(
                path, timeout=10, isolation_level=None, check_same_thread=False
            )
            # Several services may begin on one new file at once: whoever comes first makes it.
            self._connection.execute("BEGIN IMMEDIATE")
            self._prepare(path)
            self._connection.execute("COMMIT")
            self._connection.execute("PRAGMA journal_mode=WAL")
            self._connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error as error:
            raise _unusable(path, error) from error

    def _prepare(self, path: Path) -> None:
        version = self._connection.execute("PRAGMA user_version").fetchone()[0]
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            self._connection.execute(
                "CREATE TABLE counts (bucket INTEGER NOT NULL, name TEXT NOT NULL, key TEXT NOT NULL,"
                " count INTEGER NOT NULL, PRIMARY KEY (bucket, name, key)) WITHOUT ROWID"
            )
            self._connection.execute(f"PRAGMA user_version={_VERSION}")
        elif version != _VERSION:
            raise _unusable(path, f"version {version}")

    def count(self, served: Served, at: float | None = None) -> None:
        """Count a request.

        Args:
            at: seconds since the epoch; now if left out.

        Raises:
            ValueError: a name is none of those that may be counted. Nothing is counted then.
        """
        language = served.shape.language
        keys: list[_Key] = [
            ("request", (served.task, served.audience, language, served.outcome)),
            *_shape_keys(served.shape),
            *(("flag", (kind, certainty)) for kind, certainty in served.flags.items()),
        ]
        if served.flags:
            keys.append(("flagged", (language, "clear" if "clear" in served.flags.values() else "possible")))
        for name, seconds in (("first", served.first), ("total", served.total)):
            if seconds is not None:
                keys.append((name, (served.task, str(bisect_left(LATENCIES, seconds)))))
        counts = Counter(dict.fromkeys(keys, 1))
        for action, times in served.actions.items():
            counts["action", tuple(action.split(":"))] += times
        for kind, times in served.masked.items():
            counts["masked", (kind,)] += times
        self._add(counts, at)

    def feedback(self, feedback: Feedback, at: float | None = None) -> None:
        """Count what a user thought.

        Raises:
            ValueError: as :meth:`count`.
        """
        good = "good" if feedback.good else "bad"
        counts: dict[_Key, int] = {("feedback", (feedback.task, feedback.shape.language, good)): 1}
        if feedback.reason is not None:
            counts["reason", (feedback.reason,)] = 1
        self._add(counts, at)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._connection.close()

    def _add(self, counts: Mapping[_Key, int], at: float | None) -> None:
        bucket = int(time.time() if at is None else at) // BUCKET * BUCKET
        rows = []
        for (name, key), count in counts.items():
            allowed = _names()[name]
            if len(key) != len(allowed) or any(k not in a for k, a in zip(key, allowed, strict=True)):
                raise ValueError(f"not a name that is counted as {name}")  # and not told: it may be anything
            rows.append((bucket, name, "/".join(key), int(count)))
        with self._lock, self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(
                "INSERT INTO counts VALUES (?, ?, ?, ?)"
                " ON CONFLICT (bucket, name, key) DO UPDATE SET count = count + excluded.count",
                rows,
            )


@functools.cache
def _names() -> Mapping[str, tuple[frozenset[str], ...]]:
    """What may be counted: for each name the words of its key."""
    tasks, languages = frozenset[str](TASKS), frozenset[str](LANGUAGES)
    certainties = frozenset[str](get_args(Certainty))
    latency = (tasks, frozenset(map(str, range(len(LATENCIES) + 1))))
    return {
        "request": (tasks, frozenset(AUDIENCES), languages, frozenset(OUTCOMES)),
        "length": (languages, frozenset(map(str, LENGTHS))),
        "topic": (languages, frozenset(topics())),
        "flag": (frozenset(rule.kind for rule in rules()), certainties),
        "flagged": (languages, certainties),
        "action": (frozenset(KINDS), frozenset(get_args(Action))),
        "masked": (frozenset(kind.lower() for kind in (*IDENTIFIERS, "TEXT")),),
        "first": latency,
        "total": latency,
        "feedback": (tasks, languages, frozenset({"good", "bad"})),
        "reason": (frozenset(REASONS),),
    }


def _shape_keys(shape: Shape) -> list[_Key]:
    return [
        ("length", (shape.language, str(shape.length))),
        ("topic", (shape.language, shape.topic)),
    ]


@dataclass(frozen=True, slots=True)
class Count:
    """So often was ``key`` counted under ``name`` in the :data:`BUCKET` seconds from ``bucket`` on."""

    bucket: int
    name: str
    key: tuple[str, ...]
    count: int


def read_counts(path: Path) -> list[Count]:
    """All counts of a file, in the order of time.

    Raises:
        MulmedError: there is no such file, or it is no monitoring file.
    """
    if not path.is_file():
        raise MulmedError(
            "There is no monitoring file.",
            where=str(path),
            remedy="Give the file that `mulmed serve --monitoring` counts into.",
        )
    try:
        with closing(sqlite3.connect(path, timeout=10)) as connection:
            rows: Iterable[tuple[int, str, str, int]] = connection.execute(
                "SELECT bucket, name, key, count FROM counts ORDER BY bucket, name, key"
            ).fetchall()
    except sqlite3.Error as error:
        raise _unusable(path, error) from error
    return [Count(bucket, name, tuple(key.split("/")), count) for bucket, name, key, count in rows]


def _unusable(path: Path, why: object) -> MulmedError:
    return MulmedError(
        f"This is no monitoring file that can be used ({why}).",
        where=str(path),
        remedy="Name another file; a new one is made by `mulmed serve`.",
    )
