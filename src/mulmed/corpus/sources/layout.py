"""What every reader shares: what it yields, checks of a record's fields, turns that alternate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from mulmed.corpus.record import Role, Task, Turn


@dataclass(frozen=True, slots=True)
class Note:
    """Something a reader changed or left out on the way: how often, and how many characters it cost.

    With ``changes=False`` it was only seen, and the record left as it was.
    """

    rule: str
    count: int = 1
    characters: int = 0
    changes: bool = True


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a record says, before it is known where it stood and which split it belongs to.

    ``language`` is set only where the file itself tells it, a record at a time.
    """

    task: Task
    turns: tuple[Turn, ...]
    context: str = ""
    baselines: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """A usable record; ``row`` counts the file's records from 0, ``line`` its lines from 1.

    In an archive the lines are those of ``member``. Parquet has no lines: there it is the row from 1.
    """

    row: int
    line: int
    parsed: Parsed
    member: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be used. ``reason`` is one of a few fixed sentences, never its text."""

    row: int
    line: int
    reason: str
    member: str = ""


class Raw(NamedTuple):
    """A record as its file has it: cut out of the file, and as little looked at as that allows.

    ``value`` is the bytes (UTF-8) of a JSON value or of a block of text; a table's row as a mapping; or, where
    cutting takes parsing (XML), what was made of it: ``Parsed`` or ``Rejected``.
    """

    row: int
    line: int
    value: Any
    member: str = ""

    @property
    def size(self) -> int:
        """Bytes or characters of it, about."""
        value = self.value
        if isinstance(value, bytes):
            return len(value)
        if isinstance(value, Mapping):
            return sum(len(text) for text in value.values() if isinstance(text, str))
        return sum(len(turn.text) for turn in value.turns) if isinstance(value, Parsed) else 0


class Unusable(Exception):
    """Raised inside a reader's parse function; its message becomes the reason of a rejection."""


def pair(question: str, answer: str) -> tuple[Turn, Turn]:
    """The two turns of a record with one question and one answer."""
    return Turn("user", question), Turn("assistant", answer)


def text(row: Mapping[str, Any], key: str) -> str:
    """The non-empty text under ``key``, unchanged.

    Raises:
        Unusable: it is missing, not text, or nothing but white space.
    """
    value = row.get(key)
    if value is None:
        raise Unusable(f"{key} is missing")
    if not isinstance(value, str):
        raise Unusable(f"{key} is not text")
    if not value.strip():
        raise Unusable(f"{key} is empty")
    return value


def alternate(utterances: Iterable[tuple[Role, str]]) -> tuple[tuple[Turn, ...], tuple[Note, ...]]:
    """Turns that alternate, begin with the user and end with the assistant.

    Consecutive utterances of one speaker are joined by a line feed. What an assistant says before the
    first user turn answers nothing, and what a user says after the last answer is answered by nobody:
    both are left out and noted.

    Raises:
        Unusable: no question with an answer is left.
    """
    roles: list[Role] = []
    texts: list[list[str]] = []
    for role, said in utterances:
        if not said or said.isspace():
            continue
        if roles and roles[-1] == role:
            texts[-1].append(said)
        else:
            roles.append(role)
            texts.append([said])
    turns = [Turn(role, "\n".join(said)) for role, said in zip(roles, texts, strict=True)]
    notes = []
    if "user" not in roles:
        raise Unusable("no question")
    if turns[0].role == "assistant":
        notes.append(Note("leading answer left out", characters=len(turns[0].text)))
        turns = turns[1:]
    if turns[-1].role == "user":
        if len(turns) == 1:
            raise Unusable("no answer")
        notes.append(Note("trailing question left out", characters=len(turns[-1].text)))
        turns = turns[:-1]
    return tuple(turns), tuple(notes)


def conversation(turns: Sequence[Turn]) -> Task:
    """``dialogue`` for two rounds of question and answer or more, else ``qa``."""
    return "dialogue" if len(turns) > 2 else "qa"


def as_round(question: str, answer: str) -> tuple[tuple[Role, str], tuple[Role, str]]:
    """One question and its answer as utterances for :func:`alternate`."""
    return ("user", question), ("assistant", answer)


def rounds(history: Any) -> list[tuple[Role, str]]:
    """The utterances of a list of ``[question, answer]``; none of an absent or empty one.

    Raises:
        Unusable: it is anything else.
    """
    if history is None:
        return []
    utterances: list[tuple[Role, str]] = []
    for item in history if isinstance(history, list) else [None]:
        if not (isinstance(item, list) and len(item) == 2 and all(isinstance(said, str) for said in item)):
            raise Unusable("history is not a list of pairs of texts")
        utterances.extend(as_round(item[0], item[1]))
    return utterances
