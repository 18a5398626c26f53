"""The record of decisions: a chain nobody can change unseen, without words, with deletion."""

from __future__ import annotations

import multiprocessing
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import orjson
import pytest

from mulmed.errors import MulmedError
from mulmed.safety import AuditRecord, audit, keyed_hash, mask, red_flags
from tests.runs import ENVIRONMENT

KEY = bytes(range(32))
CANARY = "My name is Ewa Lindqvist, 555-014-2236, and I want to kill myself"


def record(number: int, user: str = "") -> AuditRecord:
    return AuditRecord(
        f"r{number}",
        "m" * 64,
        "t" * 64,
        {"temperature": 0.2, "seed": number},
        keyed_hash(KEY, user),
        counts={"turns": number},
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    for number in range(1, 7):
        audit.append(path, KEY, record(number, "anna" if number % 2 else "bert"), at=number * 86_400.0)
    return path


def test_a_log_as_it_was_written_verifies(log: Path) -> None:
    verified = audit.verify(log, KEY)
    assert (verified.lines, verified.deleted) == (6, 0)
    assert orjson.loads(log.read_bytes().splitlines()[-1])["hash"] == verified.head
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def edited(log: Path, change: str) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    if change == "word":
        lines[2] = lines[2].replace(b'"seed":3', b'"seed":4')
    elif change == "time":
        lines[2] = lines[2].replace(b"259200.0", b"259201.0")
    elif change == "removed":
        del lines[2]
    elif change == "first":
        del lines[0]
    elif change == "swapped":
        lines[2], lines[3] = lines[3], lines[2]
    elif change == "twice":
        lines.insert(2, lines[2])
    elif change == "cut":
        del lines[-2:]
    elif change == "empty":
        lines.clear()
    elif change == "body of another":
        third, fourth = orjson.loads(lines[2]), orjson.loads(lines[3])
        lines[2] = orjson.dumps(third | {"body": fourth["body"]}) + b"\n"
    elif change == "junk":
        lines[2] = b"junk\n"
    elif change == "forged":
        line = orjson.loads(lines[-1])
        lines[-1] = (
            orjson.dumps(audit._line(b"x" * 32, line["number"], 1.0, line["before"], line["body"])) + b"\n"
        )
    log.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    "change",
    [
        "word",
        "time",
        "removed",
        "first",
        "swapped",
        "twice",
        "cut",
        "empty",
        "body of another",
        "junk",
        "forged",
    ],
)
def test_any_change_is_seen(log: Path, change: str) -> None:
    edited(log, change)
    with pytest.raises(MulmedError, match="Line"):
        audit.verify(log, KEY)


def test_another_key_does_not_verify(log: Path) -> None:
    with pytest.raises(MulmedError, match="another key"):
        audit.verify(log, bytes(32))


def test_a_missing_head_is_told(log: Path) -> None:
    log.with_name("audit.jsonl.head").unlink()
    with pytest.raises(MulmedError, match="head"):
        audit.verify(log, KEY)


def test_retention_deletes_bodies_and_the_chain_still_verifies(log: Path) -> None:
    assert audit.retain(log, KEY, days=3, now=6 * 86_400.0) == 2
    assert audit.verify(log, KEY) == audit.Verified(7, 2, audit.verify(log, KEY).head)
    lines = [orjson.loads(line) for line in log.read_bytes().splitlines()]
    assert [line["body"] is None for line in lines] == [True, True, False, False, False, False, False]
    assert audit.retain(log, KEY, days=3, now=6 * 86_400.0) == 0
    audit.append(log, KEY, record(7), at=7 * 86_400.0)
    assert audit.verify(log, KEY).lines == 8
    # a deleted body cannot come back as another one
    edited = orjson.dumps(lines[0] | {"body": lines[2]["body"]}) + b"\n"
    log.write_bytes(edited + b"".join(log.read_bytes().splitlines(keepends=True)[1:]))
    with pytest.raises(MulmedError, match="Line 1"):
        audit.verify(log, KEY)


def test_a_body_that_nobody_deleted_on_record_is_missed(log: Path) -> None:
    audit.retain(log, KEY, days=3, now=6 * 86_400.0)
    lines = log.read_bytes().splitlines(keepends=True)
    lines[4] = orjson.dumps(orjson.loads(lines[4]) | {"body": None}) + b"\n"
    log.write_bytes(b"".join(lines))
    with pytest.raises(MulmedError, match="missing: 3, and only 2"):
        audit.verify(log, KEY)


def test_the_record_of_a_deletion_stays(log: Path) -> None:
    audit.retain(log, KEY, days=0, now=1e12)
    assert audit.retain(log, KEY, days=0, now=1e12) == 0
    assert audit.verify(log, KEY).deleted == 6


def test_one_person_is_forgotten(log: Path) -> None:
    anna = keyed_hash(KEY, "anna")
    assert anna.encode() in log.read_bytes()
    assert audit.forget(log, KEY, anna) == 3
    assert anna.encode() not in log.read_bytes()
    assert audit.verify(log, KEY).deleted == 3
    assert audit.forget(log, KEY, "") == 0


def test_no_word_of_a_message_reaches_the_log(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    masked = mask([CANARY])
    flags = red_flags(CANARY)
    audit.append(
        path,
        KEY,
        AuditRecord(
            "r1", "m", "t", {}, keyed_hash(KEY, "ewa"), keyed_hash(KEY, CANARY), keyed_hash(KEY, "reply"), masked.vault.counts(),
            {flag.category: flag.certainty for flag in flags}, {"dosage:note": 1},
        ),
    )  # fmt: skip
    written = b"".join(p.read_bytes() for p in tmp_path.iterdir()).decode()
    for word in ("Ewa", "Lindqvist", "555", "2236", "kill", "myself"):
        assert word not in written
    body = orjson.loads(path.read_bytes())["body"]
    assert body["flags"] == {"suicide": "clear"}
    assert body["counts"] == {"name": 1, "phone": 1}


def test_hashes_are_keyed() -> None:
    assert keyed_hash(KEY, "a") == keyed_hash(KEY, "a")
    assert keyed_hash(KEY, "a") != keyed_hash(KEY, "b")
    assert keyed_hash(KEY, "a") != keyed_hash(bytes(32), "a")
    assert len(keyed_hash(KEY, "\ud800")) == 32


def test_the_key_is_made_once_and_is_nobody_elses_to_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.key"
    key = audit.load_key(path)
    assert len(key) == 32
    assert audit.load_key(path) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(MulmedError, match="read by others"):
        audit.load_key(path)
    path.chmod(0o600)
    path.write_text("abc")
    with pytest.raises(MulmedError, match="no audit key"):
        audit.load_key(path)


def test_a_torn_line_is_kept_aside(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b'{"number":7,"time":1')
    audit.append(log, KEY, record(7), at=7.0)
    assert audit.verify(log, KEY).lines == 7
    assert log.with_name("audit.jsonl.torn").read_bytes() == b'{"number":7,"time":1\n'


def _write(path: Path, first: int) -> None:
    for number in range(first, first + 10):
        audit.append(path, KEY, record(number))


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(path, 100 * i)) for i in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert audit.verify(path, KEY).lines == 20


def test_a_killed_writer_leaves_a_log_that_verifies(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    code = (
        "import sys; from pathlib import Path; from mulmed.safety import AuditRecord, audit\n"
        "n = 0\nwhile True:\n    n += 1\n    audit.append(Path(sys.argv[1]), bytes(range(32)), AuditRecord(f'r{n}', 'm' * 3000, 't'))"
    )
    for _ in range(2):
        size = path.stat().st_size if path.exists() else 0
        writer = subprocess.Popen([sys.executable, "-c", code, str(path)], env=ENVIRONMENT)
        deadline = time.monotonic() + 60
        while (not path.exists() or path.stat().st_size < size + 20_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        audit.append(path, KEY, record(1))
        assert audit.verify(path, KEY).lines >= 5
