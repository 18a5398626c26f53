"""An annotator's places, and the ratings saved there: checked, once a request, never over another's change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from sqlalchemy import Connection, insert, select, update

from mulmed.review import audit
from mulmed.review.access import actor
from mulmed.review.database import Store, canonical
from mulmed.review.rubric import OnUnsafe, Rubric
from mulmed.review.schema import annotators, assignments, items, questions, revisions
from mulmed.review.study import from_row

Status = Literal["open", "draft", "done", "skipped"]


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
    """A rating that cannot be saved; ``reason`` is ``closed``, ``final`` or ``unknown``, or says what is wrong with it."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True, slots=True)
class Saved:
    """A rating on disk."""

    version: int
    saved_at: str


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


def judged(store: Store, judge: str, assignment: str) -> dict[str, int] | None:
    """The judge's scores of the answer at somebody's place, None where it gave none."""
    mine, theirs = assignments.alias(), assignments.alias()
    with store.read() as connection:
        text = connection.execute(
            select(revisions.c.rating)
            .select_from(mine.join(theirs, theirs.c.item_id == mine.c.item_id))
            .join(annotators, annotators.c.id == theirs.c.annotator_id)
            .join(
                revisions,
                (revisions.c.assignment_id == theirs.c.id) & (revisions.c.version == theirs.c.version),
            )
            .where(mine.c.id == assignment, annotators.c.name == judge, theirs.c.status == "done")
        ).scalar_one_or_none()
    return dict(orjson.loads(text)["scores"]) if text else None


def save_rating(
    store: Store, annotator: int, assignment: str, rating: Mapping[str, Any], base: int, request: str
) -> Saved:
    """Save a rating (see :func:`check_rating`) made on top of version ``base``; on disk when this returns.

    The same ``request`` again changes nothing and returns the same.

    Raises:
        Refused: the study is not open, the place is not the annotator's, its rating is final, or this one is wrong.
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
    try:
        text = canonical(dict(rating))
    except TypeError as error:  # half a character, a number of a hundred digits
        raise Refused("rating: it holds what cannot be written") from error
    earlier = connection.execute(select(revisions).where(revisions.c.request_id == request)).one_or_none()
    if earlier is not None:
        if (earlier.assignment_id, earlier.rating) != (assignment, text):
            raise Refused("request: one id for two different ratings")
        return Saved(earlier.version, earlier.saved_at)
    if row.state != "open":
        raise Refused("closed")
    checked = from_row(row)
    if checked.is_final(place.kind, place.status):
        raise Refused("final")
    if place.version != base:
        raise Conflict(place.version)
    status = check_rating(rating, checked.rubric, checked.on_unsafe, len(place.answer))
    version = base + 1
    digest = audit.revision_hash(assignment, version, status, text)
    at = audit.log(
        connection,
        actor(annotator),
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
        if skip not in [reason.key for reason in rubric.skip_reasons]:
            raise Refused("skip: unknown reason")
        return "skipped" if done else "draft"
    if done and len(scores) < len(asked):
        raise Refused(f"scores: {asked[len(scores)]!r} is missing")
    return "done" if done else "draft"


def _is_mark(mark: Any, axes: Mapping[str, Any], length: int) -> bool:
    if not isinstance(mark, dict) or set(mark) != {"axis", "start", "end"} or mark["axis"] not in list(axes):
        return False
    start, end = mark["start"], mark["end"]
    return type(start) is int and type(end) is int and 0 <= start < end <= length
