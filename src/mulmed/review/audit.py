"""The audit log: each entry carries the hash of the one before it, so that none can be changed or removed unseen."""

from __future__ import annotations

from typing import Any

import orjson
from sqlalchemy import Connection, insert, select

from mulmed.artifact import hash_bytes
from mulmed.review.database import Store, canonical, now
from mulmed.review.schema import assignments, audit, items, questions, revisions, sealed, study

GENESIS = "0" * 64


def log(connection: Connection, actor: str, event: str, detail: dict[str, Any]) -> str:
    """Add an entry within a write transaction; returns its time. Details never hold a patient's or annotator's words."""
    last = connection.execute(
        select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
    ).one_or_none()
    entry = {
        "seq": last.seq + 1 if last else 1,
        "at": now(),
        "actor": actor,
        "event": event,
        "detail": canonical(detail),
        "previous": last.hash if last else GENESIS,
    }
    connection.execute(insert(audit).values(**entry, hash=hash_bytes(canonical(entry).encode())))
    return str(entry["at"])


def content_hash(connection: Connection) -> str:
    """Hash over rubric, settings, questions, answers, key and assignments: what a study is made of, fixed at its creation."""
    rows: list[Any] = []
    rows += connection.execute(select(study.c.settings, study.c.rubric))
    rows += connection.execute(select(questions).order_by(questions.c.id))
    rows += connection.execute(select(items).order_by(items.c.id))
    rows += connection.execute(select(sealed).order_by(sealed.c.item_id))
    fixed = (
        assignments.c.id,
        assignments.c.annotator_id,
        assignments.c.item_id,
        assignments.c.position,
        assignments.c.kind,
    )
    rows += connection.execute(select(*fixed).order_by(assignments.c.annotator_id, assignments.c.position))
    return hash_bytes(canonical([list(row) for row in rows]).encode())


def revision_hash(assignment: str, version: int, status: str, rating: str) -> str:
    """What the log says of a saved rating."""
    return hash_bytes(canonical([assignment, version, status, rating]).encode())


def verify(store: Store) -> list[str]:
    """What is wrong with a study's records, in words; empty when all of it holds.

    Checked: the chain of the log; that the study's content is what was created; that each saved revision is in the log and each
    logged one still there, unchanged; that each rating's current state is its latest revision; the rubric's hash.
    """
    wrong = []
    with store.read() as connection:
        row = connection.execute(select(study)).one_or_none()
        if row is None:
            raise store.without_study()
        previous, logged, created = GENESIS, {}, None
        for number, e in enumerate(connection.execute(select(audit).order_by(audit.c.seq)), 1):
            entry = {k: getattr(e, k) for k in ("seq", "at", "actor", "event", "detail", "previous")}
            if e.seq != number or e.previous != previous or e.hash != hash_bytes(canonical(entry).encode()):
                wrong.append(f"audit entry {e.seq}: the chain of hashes breaks here")
                break
            previous = e.hash
            if e.event in ("rating saved", "created"):
                detail = orjson.loads(e.detail)
                if e.event == "created":
                    created = detail["content"]
                else:
                    logged[detail["assignment"], detail["version"]] = detail["sha256"]
        if not wrong and created != content_hash(connection):
            wrong.append("study: questions, answers, key or assignments are not those it was created with")
        latest: dict[str, tuple[int, str]] = {}
        for r in connection.execute(
            select(revisions).order_by(revisions.c.assignment_id, revisions.c.version)
        ):
            key = (r.assignment_id, r.version)
            if not wrong and logged.pop(key, None) != revision_hash(*key, r.status, r.rating):
                wrong.append(
                    f"assignment {r.assignment_id}, version {r.version}: not what the log says was saved"
                )
            latest[r.assignment_id] = (r.version, r.status)
        if not wrong:
            wrong += [f"assignment {a}, version {v}: logged as saved, but missing" for a, v in sorted(logged)]
        for a in connection.execute(select(assignments.c.id, assignments.c.version, assignments.c.status)):
            if (a.version, a.status) != latest.get(a.id, (0, "open")):
                wrong.append(f"assignment {a.id}: its state is not that of its latest revision")
    return wrong


def head(store: Store) -> tuple[int, str]:
    """How many entries the log has, and the last one's hash: kept elsewhere, it proves that none was cut off since."""
    with store.read() as connection:
        last = connection.execute(
            select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
        ).one()
    return last.seq, last.hash
