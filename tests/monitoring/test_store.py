"""The file of counts: what gets in, and that nothing else does."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from mulmed.errors import MulmedError
from mulmed.monitoring.shape import Shape, shape_of
from mulmed.monitoring.store import BUCKET, Feedback, Monitor, Served, read_counts
from tests.runs import ENVIRONMENT

CANARY = "Xanthippe Quellmalz 138-0013-8000"
SERVED = Served(
    "dialogue",
    shape_of(f"I am {CANARY} and my heart races"),
    "ok",
    "patient",
    flags={"heart": "possible", "suicide": "clear"},
    actions={"dosage:note": 2, "doctor:soften": 1},
    masked={"name": 1, "phone": 1},
    first=0.2,
    total=200.0,
)


def counts(path: Path) -> dict[tuple[int, str, tuple[str, ...]], int]:
    return {(c.bucket, c.name, c.key): c.count for c in read_counts(path)}


def test_a_request_is_counted_in_all_its_parts(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "m.db")
    monitor.count(SERVED, at=BUCKET * 10 + 1)
    monitor.count(SERVED, at=BUCKET * 11 - 0.1)
    monitor.count(Served("qa", shape_of("?"), "refused", "clinician"), at=BUCKET * 11)
    monitor.feedback(Feedback("dialogue", SERVED.shape, good=False, reason="unsafe"), at=BUCKET * 11)
    monitor.close()
    first, second = BUCKET * 10, BUCKET * 11
    assert counts(tmp_path / "m.db") == {
        (first, "request", ("dialogue", "patient", "en", "ok")): 2,
        (first, "length", ("en", "40")): 2,
        (first, "topic", ("en", "heart")): 2,
        (first, "flag", ("heart", "possible")): 2,
        (first, "flag", ("suicide", "clear")): 2,
        (first, "flagged", ("en", "clear")): 2,
        (first, "action", ("dosage", "note")): 4,
        (first, "action", ("doctor", "soften")): 2,
        (first, "masked", ("name",)): 2,
        (first, "masked", ("phone",)): 2,
        (first, "first", ("dialogue", "3")): 2,  # above 0.18 s, at most 0.32 s
        (first, "total", ("dialogue", "15")): 2,  # above all of them
        (second, "request", ("qa", "clinician", "other", "refused")): 1,
        (second, "length", ("other", "0")): 1,
        (second, "topic", ("other", "none")): 1,
        (second, "feedback", ("dialogue", "en", "bad")): 1,
        (second, "reason", ("unsafe",)): 1,
    }


def poisoned() -> list[Any]:
    """The request with the canary in each of its fields, as a value and as a key."""
    found = []
    for field in fields(Served):
        value: Any = getattr(SERVED, field.name)
        if isinstance(value, str):
            found.append({field.name: CANARY})
        elif isinstance(value, dict):
            found.append({field.name: {CANARY: next(iter(value.values()))}})
            if any(isinstance(v, str) for v in value.values()):
                found.append({field.name: {next(iter(value)): CANARY}})
        elif isinstance(value, Shape):
            found += [
                {field.name: replace(value, **{part: CANARY})} for part in ("language", "length", "topic")
            ]
    return found


@pytest.mark.parametrize("change", poisoned(), ids=lambda change: next(iter(change)))
def test_nothing_but_known_names_is_counted(tmp_path: Path, change: dict[str, Any]) -> None:
    monitor = Monitor(tmp_path / "m.db")
    with pytest.raises(ValueError, match="not a name") as refused:
        monitor.count(replace(SERVED, **change))
    assert CANARY not in str(refused.value)
    monitor.close()
    assert read_counts(tmp_path / "m.db") == []  # not even the fields that were in order
    for file in tmp_path.iterdir():
        assert b"Xanthippe" not in file.read_bytes()


def test_words_of_the_message_are_nowhere_in_the_file(tmp_path: Path) -> None:
    monitor = Monitor(tmp_path / "m.db")
    monitor.count(SERVED)
    for file in tmp_path.iterdir():  # before and after closing: the log beside the file as well
        for word in (b"Xanthippe", b"8000", b"races"):
            assert word not in file.read_bytes()


def test_every_kind_of_flag_action_and_identifier_can_be_counted(tmp_path: Path) -> None:
    """What the safety layer may say is what may be counted."""
    from mulmed.safety import mask, red_flags
    from mulmed.safety.policy import KINDS, Policy, PolicyFilter

    message = "I am John Smith, call 415-555-2671, I took 40 tablets of Tylenol and want to die. [NAME_1]"
    flags = {flag.category: flag.certainty for flag in red_flags(message)}
    masked = mask([message]).vault.counts()
    assert flags
    assert {"name", "phone", "text"} <= set(masked)
    reply = PolicyFilter(Policy(), "en")
    reply.feed("As a doctor, I prescribe 500 mg twice a day. You definitely have flu. This will cure you.\n")
    assert {action.split(":")[0] for action in reply.actions} <= set(KINDS)
    assert reply.actions
    monitor = Monitor(tmp_path / "m.db")
    monitor.count(replace(SERVED, flags=flags, masked=masked, actions=reply.actions))
    assert {c.name for c in read_counts(tmp_path / "m.db")} >= {"flag", "masked", "action"}


def test_threads_and_other_processes_lose_no_count(tmp_path: Path) -> None:
    path = tmp_path / "m.db"
    monitors = [Monitor(path), Monitor(path)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: monitors[i % 2].count(SERVED, at=0), range(200)))
    assert counts(path)[0, "masked", ("name",)] == 200


def test_what_was_counted_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal, pathlib\n"
        "from mulmed.monitoring.store import *\nfrom mulmed.monitoring.shape import shape_of\n"
        "m = Monitor(pathlib.Path(sys.argv[1]))\n"
        "for _ in range(5): m.count(Served('qa', shape_of('ear'), 'ok'), at=0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    path = tmp_path / "m.db"
    done = subprocess.run([sys.executable, "-c", code, str(path)], env=ENVIRONMENT, check=False)
    assert done.returncode == -signal.SIGKILL
    assert counts(path)[0, "topic", ("en", "senses")] == 5
    Monitor(path).count(Served("qa", shape_of("ear"), "ok"), at=0)
    assert counts(path)[0, "topic", ("en", "senses")] == 6


def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, " * 100)
    other = tmp_path / "study.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE ratings (score INTEGER)")
    before = {path: path.read_bytes() for path in (text, other)}
    for path in before:
        with pytest.raises(MulmedError, match="no monitoring file"):
            Monitor(path)
        with pytest.raises(MulmedError, match="no monitoring file"):
            read_counts(path)
        assert path.read_bytes() == before[path]
    with pytest.raises(MulmedError, match="There is no monitoring file"):
        read_counts(tmp_path / "absent.db")
    assert not (tmp_path / "absent.db").exists()
    with pytest.raises(MulmedError, match="no monitoring file"):
        Monitor(tmp_path / "no" / "folder.db")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "study.db"]
