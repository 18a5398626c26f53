"""The ratings of a study as rows and as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
from sqlalchemy import select

from mulmed.review.database import Store
from mulmed.review.schema import annotators, assignments, items, questions, revisions

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One place with its latest rating (``rating`` None: nothing saved yet)."""

    assignment: str
    annotator: str
    item: int
    question: str
    language: str
    task: str
    kind: str
    status: str
    saved_at: str | None
    rating: dict[str, Any] | None

    @property
    def scores(self) -> dict[str, int]:
        """The scores that count: of a finished rating that was not skipped."""
        return dict(self.rating["scores"]) if self.rating and self.status == "done" else {}


def read_rows(store: Store) -> list[Row]:
    """All places of all annotators, training left out, in the annotators' orders."""
    with store.read() as connection:
        found = connection.execute(
            select(
                assignments.c.id.label("assignment"),
                annotators.c.name.label("annotator"),
                items.c.id.label("item"),
                questions.c.source_id.label("question"),
                questions.c.language,
                questions.c.task,
                assignments.c.kind,
                assignments.c.status,
                revisions.c.saved_at,
                revisions.c.rating,
            )
            .select_from(assignments.join(annotators).join(items).join(questions))
            .outerjoin(
                revisions,
                (revisions.c.assignment_id == assignments.c.id)
                & (revisions.c.version == assignments.c.version),
            )
            .where(assignments.c.kind != "training")
            .order_by(annotators.c.id, assignments.c.position)
        ).all()
    return [Row(**{**r._mapping, "rating": orjson.loads(r.rating) if r.rating else None}) for r in found]


def apart(rows: Sequence[Row], judge: str | None) -> tuple[list[Row], list[Row]]:
    """The people's rows, and those of the judge model."""
    return [r for r in rows if r.annotator != judge], [r for r in rows if r.annotator == judge]


def matrix(rows: Sequence[Row], axis: str) -> tuple[Floats, list[str], list[int]]:
    """Scores of one axis as (annotators, items) with NaN where there is none, the annotators' names and the items.

    Hidden repeats do not count: they are the same rater again.
    """
    people = list(dict.fromkeys(row.annotator for row in rows))
    numbers = sorted({row.item for row in rows})
    at_person, at_item = ({key: i for i, key in enumerate(keys)} for keys in (people, numbers))
    found = np.full((len(people), len(numbers)), np.nan)
    for row in rows:
        if row.kind == "rating" and axis in row.scores:
            found[at_person[row.annotator], at_item[row.item]] = row.scores[axis]
    return found, people, numbers


def repeats(rows: Sequence[Row], axis: str) -> list[tuple[str, int, int]]:
    """Annotator, first and second score of the answers that somebody rated twice."""
    first = {(r.annotator, r.item): r.scores for r in rows if r.kind == "rating"}
    return [
        (r.annotator, first[r.annotator, r.item][axis], r.scores[axis])
        for r in rows
        if r.kind == "repeat" and axis in r.scores and axis in first.get((r.annotator, r.item), {})
    ]
