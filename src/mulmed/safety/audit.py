"""A record of what the safety layer decided: hashes and counts, never the words, in a chain nobody can change unseen.

One JSON object a line. Each line carries a keyed hash (HMAC-SHA256) over its number, its time, the hash of the
line before it, and the hash of its body. The body itself may be deleted (retention, a person's wish): the hash of the
body stays, and the chain still verifies. Beside the log lies ``NAME.head`` with the last number and hash, so that
lines cut from the end are missed as well.

The key is the operator's secret (32 bytes, a file of its own). Without it nobody can tell whose message a hash is,
nor write a line that verifies.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from mulmed.errors import MulmedError

_FIRST = "0" * 64
#: The request of a line that tells of a deletion.
_DELETION = "(deletion)"


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What is kept of one request. Texts stand here as :func:`keyed_hash` only.

    Attributes:
        request: the request's id, made by the service.
        model: hash of the model's manifest.
        template: hash of the prompt template.
        settings: decoding settings.
        user: keyed hash of whose request it was; empty if unknown.
        question, answer: keyed hashes of the last message and of the reply as shown.
        counts: lengths in characters and tokens, numbers of turns, masked identifiers by kind.
        flags: kinds of red flags, each with its certainty.
        actions: what the output policy did, ``kind:action`` to how often.
    """

    request: str
    model: str
    template: str
    settings: Mapping[str, float | int | str | bool | None] = field(default_factory=dict)
    user: str = ""
    question: str = ""
    answer: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    flags: Mapping[str, str] = field(default_factory=dict)
    actions: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verified:
    """A log that verifies: how many lines it has, how many of them without a body, and the hash of the last."""

    lines: int
    deleted: int
    head: str


def keyed_hash(key: bytes, text: str) -> str:
    """What stands for a text in the log: the same text gives the same 32 hexadecimal digits under one key."""
    return hmac.new(key, b"text\0" + text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def load_key(path: Path) -> bytes:
    """The key in a file, which is made (32 random bytes, readable by its owner only) if it is not there.

    Raises:
        MulmedError: the file is no key, or others may read it.
    """
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32) + "\n")
    except FileExistsError:
        pass
    if path.stat().st_mode & 0o077:
        raise MulmedError("The audit key can be read by others", where=str(path), remedy=f"chmod 600 {path}")
    try:
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (ValueError, UnicodeDecodeError):
        key = b""
    if len(key) != 32:
        raise MulmedError(
            "The file is no audit key (64 hexadecimal digits)",
            where=str(path),
            remedy="restore the key; a new one cannot verify the old log",
        )
    return key


def append(path: Path, key: bytes, record: AuditRecord, at: float | None = None) -> str:
    """Add a line, and return its hash. Several processes may write to one log.

    A last line that was torn when its writer was killed is moved to ``NAME.torn`` first.

    Args:
        path: the log; made, readable by its owner only, if it is not there.
        key: as :func:`load_key` gives it.
        record: what to keep.
        at: seconds since the epoch; now if left out.

    Raises:
        MulmedError: the log's last whole line is no line of a log.
    """
    with _locked(path):
        number, before = _last(path)
        line = _line(key, number + 1, round(time.time() if at is None else at, 3), before, asdict(record))
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, orjson.dumps(line) + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        _write_head(path, line["number"], line["hash"])
    return str(line["hash"])


def verify(path: Path, key: bytes) -> Verified:
    """Check the whole log.

    Raises:
        MulmedError: a line was changed, added, moved or removed, a body is missing that nobody deleted on record, the key is another one, or there is no log.
    """
    before, count, deleted, told, number = _FIRST, 0, 0, 0, 0
    for position, line in enumerate(_lines(path), start=1):
        try:
            expected = _hash(key, line["number"], line["time"], line["before"], line["content"])
            bodied = line["body"] is None or line["content"] == _content(key, line["body"])
            whole = hmac.compare_digest(line["hash"], expected) and bodied
            follows = line["before"] == before and line["number"] == number + 1
        except (KeyError, TypeError):
            whole = follows = False
        if not whole:
            raise _broken(path, position, "was changed, or written under another key")
        if not follows:
            raise _broken(path, position, "does not follow the line before it")
        before, number = line["hash"], line["number"]
        count += 1
        deleted += line["body"] is None
        if line["body"] and line["body"].get("request") == _DELETION:
            told += line["body"]["counts"]["deleted"]
    head = _head_of(path)
    if head.exists():
        kept = orjson.loads(head.read_bytes())
        # A writer killed between the two files leaves a log that is one line ahead.
        if kept["number"] > number or (kept["number"] == number and kept["hash"] != before):
            raise _broken(path, count, "is not the last that was written: lines are missing behind it")
    elif count:
        raise MulmedError(
            "The audit log has no head file, so that nobody knows whether it is whole",
            where=str(head),
            remedy="restore it from the backup",
        )
    if deleted > told:
        raise MulmedError(
            f"Line bodies are missing: {deleted}, and only {told} were deleted on record",
            where=str(path),
            remedy="keep the file as evidence and compare it with a backup",
        )
    return Verified(count, deleted, before)


def delete_bodies(path: Path, key: bytes, chosen: Callable[[float, Mapping[str, Any]], bool]) -> int:
    """Delete the bodies of the lines for which ``chosen(time, body)`` is true; how many.

    Numbers, times and hashes stay, a line at the end tells how many bodies were deleted, and the log still verifies.
    The file is replaced as a whole.
    """
    with _locked(path):
        number, before = _last(path)
        fresh = path.with_name(path.name + ".new")
        removed = 0
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            for line in _lines(path):
                body = line["body"]
                if body is not None and body.get("request") != _DELETION and chosen(line["time"], body):
                    line["body"] = None
                    removed += 1
                file.write(orjson.dumps(line) + b"\n")
            if removed:
                told = AuditRecord(_DELETION, "", "", counts={"deleted": removed})
                line = _line(key, number + 1, round(time.time(), 3), before, asdict(told))
                file.write(orjson.dumps(line) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        if removed:
            fresh.replace(path)
            _write_head(path, line["number"], line["hash"])
        else:
            fresh.unlink()
    return removed


def retain(path: Path, key: bytes, days: float, now: float | None = None) -> int:
    """Delete the bodies of all lines older than ``days``; how many."""
    oldest = (time.time() if now is None else now) - days * 86_400
    return delete_bodies(path, key, lambda at, _: at < oldest)


def forget(path: Path, key: bytes, user: str) -> int:
    """Delete the bodies of all lines of one user, given by keyed hash; how many."""
    return delete_bodies(path, key, lambda _, body: bool(user) and body.get("user") == user)


# --- lines -------------------------------------------------------------------------------------------


def _content(key: bytes, body: Mapping[str, Any]) -> str:
    """The keyed hash of a body, which outlives it."""
    return hmac.new(
        key, b"body\0" + orjson.dumps(body, option=orjson.OPT_SORT_KEYS), hashlib.sha256
    ).hexdigest()


def _hash(key: bytes, number: int, at: float, before: str, content: str) -> str:
    return hmac.new(key, f"line\0{number}\0{at!r}\0{before}\0{content}".encode(), hashlib.sha256).hexdigest()


def _line(key: bytes, number: int, at: float, before: str, body: Mapping[str, Any]) -> dict[str, Any]:
    content = _content(key, body)
    return {
        "number": number, "time": at, "before": before, "content": content, "hash": _hash(key, number, at, before, content), "body": body,
    }  # fmt: skip


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        file = path.open("rb")
    except FileNotFoundError:
        raise MulmedError(
            "There is no audit log", where=str(path), remedy="name the file the service writes to"
        ) from None
    with file:
        for position, raw in enumerate(file, start=1):
            try:
                line = orjson.loads(raw)
            except orjson.JSONDecodeError:
                raise _broken(path, position, "is not JSON") from None
            if not isinstance(line, dict) or "body" not in line:
                raise _broken(path, position, "is no line of an audit log")
            yield line


def _broken(path: Path, position: int, why: str) -> MulmedError:
    return MulmedError(
        f"Line {position} of the audit log {why}",
        where=str(path),
        remedy="keep the file as evidence and compare it with a backup",
    )


def _last(path: Path) -> tuple[int, str]:
    """Number and hash of the last line; what a killed writer left behind it is moved away."""
    if not path.exists() or path.stat().st_size == 0:
        return 0, _FIRST
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        tail, position = b"", end
        while position and tail.count(b"\n") < 2:
            position = max(position - 65_536, 0)
            file.seek(position)
            tail = file.read(end - position)
        whole, newline, torn = tail.rpartition(b"\n")
        if torn:
            with path.with_name(path.name + ".torn").open("ab") as aside:
                aside.write(torn + b"\n")
            file.truncate(end - len(torn))
        if not newline:
            return 0, _FIRST
    try:
        line = orjson.loads(whole.rpartition(b"\n")[2])
        return int(line["number"]), str(line["hash"])
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
        raise MulmedError(
            "The last line of the audit log cannot be read",
            where=str(path),
            remedy="move the file aside as evidence; a new one is begun",
        ) from None


def _head_of(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def _write_head(path: Path, number: int, last: str) -> None:
    fresh = path.with_name(path.name + ".head.new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(orjson.dumps({"number": number, "hash": last}))
    fresh.replace(_head_of(path))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One writer at a time, on this machine."""
    with path.with_name(path.name + ".lock").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
