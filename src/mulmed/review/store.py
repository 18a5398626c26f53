"""A study in its database: made, opened, rated, locked, unblinded. What a function has returned is on disk."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, get_args

import orjson
from sqlalchemy import Connection, func, insert, select, update

from mulmed.artifact import hash_bytes
from mulmed.errors import MulmedError
from mulmed.review import audit
from mulmed.review.candidates import Candidates, Question
from mulmed.review.database import Store, canonical, now
from mulmed.review.plan import Annotator, Turn
from mulmed.review.rubric import OnUnsafe, Rubric
from mulmed.review.schema import (
    annotators,
    assignments,
    invitations,
    items,
    questions,
    revisions,
    sealed,
    sessions,
    study,
)

State = Literal["draft", "open", "locked", "unblinded"]
STATES: tuple[State, ...] = get_args(State)
Status = Literal["open", "draft", "done", "skipped"]
INVITATION_DAYS = 14
SESSION_DAYS = 60


@dataclass(frozen=True, slots=True)
class Study:
    """What is the same for all annotators."""

    state: State
    settings: Mapping[str, Any]
    rubric: Rubric
    created_at: str

    @property
    def on_unsafe(self) -> OnUnsafe:
        return "stop" if self.settings["on_unsafe"] == "stop" else "score_all"


@dataclass(frozen=True, slots=True)
class Place:
    """One place in an annotator's order."""

    id: str
    position: int
    kind: str
    status: Status
    version: int


class Conflict(Exception):
    """The rating has been changed meanwhile, in another tab; ``version`` is the present one."""

    def __init__(self, version: int) -> None:
        self.version = version
        super().__init__(f"the rating is at version {version}")


class Refused(Exception):
    """A rating that cannot be saved; ``reason`` is ``closed`` or ``unknown``, or says what is wrong with it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Saved:
    """A rating on disk."""

    version: int
    saved_at: str


def create_study(
    store: Store,
    *,
    candidates: Candidates,
    chosen: Sequence[Question],
    orders: Mapping[str, Sequence[Turn]],
    people: Sequence[Annotator],
    rubric: Rubric,
    settings: Mapping[str, Any],
) -> None:
    """Write a new study, in state draft.

    Args:
        orders: by annotator's name; a training turn's question is its index in the rubric.
        settings: anything JSON; ``on_unsafe`` must be among it.

    Raises:
        MulmedError: the database already holds a study.
    """
    with store.engine.connect() as connection:
        connection = connection.execution_options(mulmed_write=True)
        with connection.begin():
            if connection.execute(select(func.count()).select_from(study)).scalar_one():
                raise MulmedError(
                    "The database already holds a study.",
                    where=store.where,
                    remedy="Give every study a database of its own.",
                )
            row = {"settings": canonical(dict(settings)), "rubric": canonical(rubric.model_dump(mode="json"))}
            connection.execute(
                insert(study).values(
                    id=1, state="draft", created_at=now(), rubric_sha256=rubric.sha256, **row
                )
            )
            items_of = _write_items(connection, candidates, chosen, rubric)
            for number, person in enumerate(people, 1):
                connection.execute(insert(annotators).values(id=number, name=person.name))
                rows = [
                    {
                        "id": secrets.token_hex(10),
                        "annotator_id": number,
                        "item_id": items_of[turn.question, turn.model],
                        "position": position,
                        "kind": turn.kind,
                        "version": 0,
                        "status": "open",
                    }
                    for position, turn in enumerate(orders[person.name], 1)
                ]
                if rows:
                    connection.execute(insert(assignments), rows)
            audit.log(connection, "command line", "created", {"content": audit.content_hash(connection)})


def _write_items(
    connection: Connection, candidates: Candidates, chosen: Sequence[Question], rubric: Rubric
) -> dict[tuple[str, str], int]:
    """Questions, answers and key; returns item ids by (question, model). Numbers are shuffled: they tell nothing."""
    found: dict[tuple[str, str], int] = {}
    texts: list[tuple[tuple[str, str], int, str, str | None]] = []
    for number, question in enumerate(chosen, 1):
        connection.execute(
            insert(questions).values(
                id=number,
                source_id=question.id,
                language=question.language,
                task=question.task,
                text=question.text,
                history=canonical([list(turn) for turn in question.history]),
            )
        )
        texts += [
            ((question.id, m), number, candidates.answers[question.id, m], None) for m in candidates.models
        ]
    for index, item in enumerate(rubric.training):
        number = len(chosen) + 1 + index
        connection.execute(
            insert(questions).values(
                id=number,
                source_id=f"training:{index}",
                language=item.language,
                task=item.task,
                text=item.question,
                history="[]",
            )
        )
        expected = canonical({"scores": item.scores, "feedback": item.feedback})
        texts.append(((str(index), ""), number, item.answer, expected))
    secrets.SystemRandom().shuffle(texts)
    for number, (key, question_id, answer, training) in enumerate(texts, 1):
        connection.execute(
            insert(items).values(id=number, question_id=question_id, answer=answer, training=training)
        )
        if training is None:
            connection.execute(insert(sealed).values(item_id=number, model=key[1]))
        found[key] = number
    return found


def read_study(store: Store) -> Study:
    """State, settings and rubric."""
    with store.read() as connection:
        row = connection.execute(select(study)).one_or_none()
    if row is None:
        raise store.without_study()
    return _study(row)


def _study(row: Any) -> Study:
    return Study(row.state, orjson.loads(row.settings), _rubric(row.rubric), row.created_at)


@functools.lru_cache(maxsize=8)
def _rubric(text: str) -> Rubric:
    return Rubric.model_validate(orjson.loads(text))


def move(store: Store, to: State, *, actor: str = "command line") -> None:
    """Draft to open, open to locked, locked to unblinded; each logged.

    Raises:
        MulmedError: the study is in another state than the one before.
    """
    before = STATES[STATES.index(to) - 1]
    with store.write() as (connection, row):
        if row.state != before:
            raise MulmedError(
                f"The study is {row.state}, and only one that is {before} becomes {to}.",
                where=store.where,
                remedy="The order is " + ", ".join(STATES) + "; there is no way back.",
            )
        connection.execute(update(study).values(state=to))
        audit.log(connection, actor, "state", {"from": before, "to": to})


def unsealed(store: Store) -> dict[int, str]:
    """Model by item number, of an unblinded study; that it was read is logged.

    Raises:
        MulmedError: the study is not unblinded.
    """
    with store.write() as (connection, row):
        if row.state != "unblinded":
            raise MulmedError(
                f"The study is {row.state}: which model gave which answer stays sealed.",
                where=store.where,
                remedy="Lock it when the rating is over, then unblind it.",
            )
        key = {r.item_id: r.model for r in connection.execute(select(sealed))}
        audit.log(connection, "command line", "key read", {})
    return key


# --- people -------------------------------------------------------------------------------------------------


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
        audit.log(connection, _actor(row.annotator_id), "signed in", {})
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
            audit.log(connection, _actor(row.annotator_id), "signed out", {})


def who(store: Store, token: str) -> tuple[int | None] | None:
    """Whose session it is, as a tuple of the annotator's number (None: the administrator); None if nobody's."""
    with store.read() as connection:
        row = connection.execute(
            select(sessions.c.annotator_id).where(
                sessions.c.token_sha256 == hash_bytes(token.encode()), sessions.c.expires_at > now()
            )
        ).one_or_none()
    return None if row is None else (row.annotator_id,)


def _actor(annotator: int | None) -> str:
    return f"annotator {annotator}" if annotator else "administrator"


# --- rating -------------------------------------------------------------------------------------------------


def places(store: Store, annotator: int) -> list[Place]:
    """An annotator's order."""
    a = assignments.c
    with store.read() as connection:
        rows = connection.execute(
            select(a.id, a.position, a.kind, a.status, a.version)
            .where(a.annotator_id == annotator)
            .order_by(a.position)
        ).all()
    return [Place(*row) for row in rows]


def read_item(store: Store, annotator: int, assignment: str) -> dict[str, Any] | None:
    """What an annotator may see of one of their places, None if it is not theirs.

    Keys: question, history, language, task, answer, training (None, or scores and feedback), kind, version, status, rating,
    saved_at.
    """
    with store.read() as connection:
        row = connection.execute(
            select(
                assignments.c.kind,
                assignments.c.version,
                assignments.c.status,
                questions.c.language,
                questions.c.task,
                questions.c.text.label("question"),
                questions.c.history,
                items.c.answer,
                items.c.training,
                revisions.c.rating,
                revisions.c.saved_at,
            )
            .select_from(assignments.join(items).join(questions))
            .outerjoin(
                revisions,
                (revisions.c.assignment_id == assignments.c.id)
                & (revisions.c.version == assignments.c.version),
            )
            .where(assignments.c.id == assignment, assignments.c.annotator_id == annotator)
        ).one_or_none()
    if row is None:
        return None
    found = dict(row._mapping)
    for key in ("history", "training", "rating"):
        found[key] = orjson.loads(found[key]) if found[key] else None
    return found


def save_rating(
    store: Store, annotator: int, assignment: str, rating: Mapping[str, Any], base: int, request: str
) -> Saved:
    """Save a rating (see :func:`check_rating`) made on top of version ``base``; on disk when this returns.

    The same ``request`` again changes nothing and returns the same.

    Raises:
        Refused: the study is not open, the place is not the annotator's, or the rating is wrong.
        Conflict: the rating is no longer at version ``base``.
    """
    with store.write() as (connection, row):
        return save_in(connection, row, annotator, assignment, rating, base, request)


def save_in(
    connection: Connection,
    row: Any,
    annotator: int,
    assignment: str,
    rating: Mapping[str, Any],
    base: int,
    request: str,
) -> Saved:
    """:func:`save_rating` within a write transaction, whose study's row is ``row``."""
    place = connection.execute(
        select(assignments.c.version, assignments.c.kind, assignments.c.status, items.c.answer)
        .select_from(assignments.join(items))
        .where(assignments.c.id == assignment, assignments.c.annotator_id == annotator)
    ).one_or_none()
    if place is None:
        raise Refused("unknown")
    text = canonical(dict(rating))
    earlier = connection.execute(select(revisions).where(revisions.c.request_id == request)).one_or_none()
    if earlier is not None:
        if (earlier.assignment_id, earlier.rating) != (assignment, text):
            raise Refused("request: one id for two different ratings")
        return Saved(earlier.version, earlier.saved_at)
    if row.state != "open":
        raise Refused("closed")
    if place.version != base:
        raise Conflict(place.version)
    if place.kind == "training" and place.status != "open" and place.status != "draft":
        raise Refused("training: it is finished")
    checked = _study(row)
    status = check_rating(rating, checked.rubric, checked.on_unsafe, len(place.answer))
    version = base + 1
    digest = audit.revision_hash(assignment, version, status, text)
    at = audit.log(
        connection,
        _actor(annotator),
        "rating saved",
        {"assignment": assignment, "version": version, "sha256": digest},
    )
    connection.execute(
        insert(revisions).values(
            assignment_id=assignment,
            version=version,
            request_id=request,
            status=status,
            rating=text,
            saved_at=at,
        )
    )
    connection.execute(
        update(assignments).where(assignments.c.id == assignment).values(version=version, status=status)
    )
    return Saved(version, at)


def check_rating(rating: Mapping[str, Any], rubric: Rubric, on_unsafe: OnUnsafe, length: int) -> Status:
    """The status that a rating brings about: ``draft``, ``done`` or ``skipped``.

    Keys: ``scores`` (axis to score; a later axis only after the earlier ones), ``comment``, ``marks`` (axis, start and end in
    characters of the answer, which has ``length``), ``skip`` (a reason's key or None), ``done``.

    Raises:
        Refused: something in it is wrong or missing.
    """
    if set(rating) != {"scores", "comment", "marks", "skip", "done"}:
        raise Refused("rating: its keys are scores, comment, marks, skip and done")
    scores, comment, marks, skip, done = (rating[k] for k in ("scores", "comment", "marks", "skip", "done"))
    axes = {axis.key: axis for axis in rubric.axes}
    if not isinstance(scores, dict) or not isinstance(comment, str) or not isinstance(done, bool):
        raise Refused("rating: a value is of the wrong kind")
    for key, value in scores.items():
        if key not in axes or type(value) is not int or value not in axes[key].values:
            raise Refused(f"scores: {key!r} has no such score")
    asked = rubric.asked(scores, on_unsafe)
    if set(scores) != set(asked[: len(scores)]):
        raise Refused("scores: an axis was scored that was not asked yet")
    if len(comment) > 4000:
        raise Refused("comment: more than 4,000 characters")
    if not isinstance(marks, list) or len(marks) > 200 or not all(_is_mark(m, axes, length) for m in marks):
        raise Refused("marks: not within the answer")
    if skip is not None:
        if skip not in {reason.key for reason in rubric.skip_reasons}:
            raise Refused("skip: unknown reason")
        return "skipped" if done else "draft"
    if done and len(scores) < len(asked):
        raise Refused(f"scores: {asked[len(scores)]!r} is missing")
    return "done" if done else "draft"


def _is_mark(mark: Any, axes: Mapping[str, Any], length: int) -> bool:
    if not isinstance(mark, dict) or set(mark) != {"axis", "start", "end"} or mark["axis"] not in axes:
        return False
    start, end = mark["start"], mark["end"]
    return type(start) is int and type(end) is int and 0 <= start < end <= length
