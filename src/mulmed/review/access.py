"""Who may come in: annotators, single-use invitations, and the sessions that they become."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, select, update

from mulmed.artifact import hash_bytes
from mulmed.review import audit
from mulmed.review.database import Store, now
from mulmed.review.schema import annotators, invitations, sessions

INVITATION_DAYS = 14
SESSION_DAYS = 60


def names(store: Store) -> dict[int, str]:
    """Annotators by number."""
    with store.read() as connection:
        return {r.id: r.name for r in connection.execute(select(annotators).order_by(annotators.c.id))}


def invite(store: Store, annotator: int | None) -> str:
    """A new single-use token for an annotator, or for the administrator (None); earlier unused ones lapse."""
    token = secrets.token_urlsafe(24)
    with store.write() as (connection, _):
        mine = invitations.c.annotator_id == annotator if annotator else invitations.c.annotator_id.is_(None)
        connection.execute(
            update(invitations).where(mine, invitations.c.used_at.is_(None)).values(expires_at=now())
        )
        connection.execute(
            insert(invitations).values(
                token_sha256=hash_bytes(token.encode()),
                annotator_id=annotator,
                expires_at=now(timedelta(days=INVITATION_DAYS)),
            )
        )
        audit.log(connection, "command line", "invited", {"annotator": annotator})
    return token


def invitation_is_open(store: Store, token: str) -> bool:
    """Whether a token can still be used."""
    with store.read() as connection:
        return connection.execute(_open_invitation(token)).one_or_none() is not None


def begin_session(store: Store, token: str) -> str | None:
    """Use an invitation up: the token of a new session, or None if it was used, has lapsed or never was."""
    session = secrets.token_urlsafe(32)
    with store.write() as (connection, _):
        row = connection.execute(_open_invitation(token)).one_or_none()
        if row is None:
            return None
        connection.execute(
            update(invitations).where(invitations.c.token_sha256 == row.token_sha256).values(used_at=now())
        )
        connection.execute(
            insert(sessions).values(
                token_sha256=hash_bytes(session.encode()),
                annotator_id=row.annotator_id,
                expires_at=now(timedelta(days=SESSION_DAYS)),
            )
        )
        audit.log(connection, actor(row.annotator_id), "signed in", {})
    return session


def _open_invitation(token: str) -> Any:
    return select(invitations).where(
        invitations.c.token_sha256 == hash_bytes(token.encode()),
        invitations.c.used_at.is_(None),
        invitations.c.expires_at > now(),
    )


def end_session(store: Store, token: str) -> None:
    """Sign out."""
    with store.write() as (connection, _):
        mine = sessions.c.token_sha256 == hash_bytes(token.encode())
        row = connection.execute(select(sessions).where(mine)).one_or_none()
        if row is not None:
            connection.execute(sessions.delete().where(mine))
            audit.log(connection, actor(row.annotator_id), "signed out", {})


def who(store: Store, token: str) -> tuple[int | None] | None:
    """Whose session it is, as a tuple of the annotator's number (None: the administrator); None if nobody's."""
    with store.read() as connection:
        row = connection.execute(
            select(sessions.c.annotator_id).where(
                sessions.c.token_sha256 == hash_bytes(token.encode()), sessions.c.expires_at > now()
            )
        ).one_or_none()
    return None if row is None else (row.annotator_id,)


def actor(annotator: int | None) -> str:
    """What the log calls an annotator (a number, not a name) or the administrator (None)."""
    return f"annotator {annotator}" if annotator else "administrator"
