"""The study itself: made, opened, locked, unblinded; what a function has returned is on disk."""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import orjson
from sqlalchemy import Connection, func, insert, select, update

from mulmed.errors import MulmedError
from mulmed.review import audit
from mulmed.review.candidates import Candidates, Question
from mulmed.review.database import Store, canonical, now
from mulmed.review.plan import Annotator, Turn
from mulmed.review.rubric import OnUnsafe, Rubric
from mulmed.review.schema import annotators, assignments, items, questions, sealed, study

State = Literal["draft", "open", "locked", "unblinded"]
STATES: tuple[State, ...] = get_args(State)


@dataclass(frozen=True, slots=True)
class Study:
    """What is the same for all annotators."""

    state: State
    settings: Mapping[str, Any]
    rubric: Rubric
    created_at: str

    @property
    def on_unsafe(self) -> OnUnsafe:
        """Whether an answer that fails at a gate is still rated on the later axes."""
        return "stop" if self.settings["on_unsafe"] == "stop" else "score_all"

    def is_final(self, kind: str, status: str) -> bool:
        """Whether a place's rating can no longer be changed: what it should have been, or the judge's scores, were shown."""
        shown = kind == "training" or bool(self.settings["show_judge"])
        return shown and status in ("done", "skipped")


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
    return from_row(row)


def from_row(row: Any) -> Study:
    """The study of its table's row, within a transaction that has read it."""
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
