"""What every reader shares: what it yields, JSON records one by one, checks of their fields."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from mulmed.corpus.files import lines
from mulmed.corpus.record import Role, Task, Turn
from mulmed.errors import MulmedError


@dataclass(frozen=True, slots=True)
class Note:
    """Something a reader changed or left out on the way: how often, and how many characters it cost."""

    rule: str
    count: int = 1
    characters: int = 0


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
    """A usable record; ``row`` counts the file's records from 0, ``line`` its lines from 1."""

    row: int
    line: int
    parsed: Parsed


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be used. ``reason`` is one of a few fixed sentences, never its text."""

    row: int
    line: int
    reason: str


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


def read_json(path: Path, parse: Callable[[Mapping[str, Any]], Parsed]) -> Iterator[Found | Rejected]:
    """Records of a JSON array or of JSON Lines, whichever the file holds.

    A record that ``parse`` cannot use, and a line of JSON Lines that is not JSON, is rejected; so is
    whatever is not an object.

    Raises:
        MulmedError: the array's syntax is broken; nothing after the break can be trusted.
    """
    for row, (line, value) in enumerate(_json_values(path)):
        if isinstance(value, Rejected):
            yield Rejected(row, line, value.reason)
        elif not isinstance(value, dict):
            yield Rejected(row, line, "record is not an object")
        else:
            try:
                yield Found(row, line, parse(value))
            except Unusable as unusable:
                yield Rejected(row, line, str(unusable))


def _json_values(path: Path) -> Iterator[tuple[int, Any]]:
    """(line, value) of each record."""
    numbered = enumerate(lines(path), start=1)
    number, head = next(((n, content) for n, content in numbered if content.strip()), (0, ""))
    if head.lstrip().startswith("["):
        # One string, but never all of its objects at once.
        content = "\n".join([*[""] * (number - 1), head, *(line for _, line in numbered)])
        yield from _array_elements(path, content)
    else:
        for position, line in chain([(number, head)], numbered):
            if line.strip():
                yield position, _json_line(position, line)


def _json_line(number: int, content: str) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return Rejected(0, number, "line is not valid JSON")


_SPACE = re.compile(r"[ \t\r\n]*")


def _array_elements(path: Path, content: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    position = _skip(content, _skip(content, 0) + 1)
    line, counted = 1, 0
    first = True
    while content[position : position + 1] != "]":
        if not first:
            if content[position : position + 1] != ",":
                raise _broken(path, content, position, "expected a comma or the end of the array")
            comma = position
            position = _skip(content, position + 1)
            if content[position : position + 1] == "]":
                raise _broken(path, content, comma, "a comma after the last record")
        first = False
        try:
            value, end = decoder.raw_decode(content, position)
        except json.JSONDecodeError as error:
            raise _broken(path, content, error.pos, error.msg.lower()) from error
        except RecursionError as error:
            raise _broken(path, content, position, "nested too deeply") from error
        line += content.count("\n", counted, position)
        counted = position
        yield line, value
        position = _skip(content, end)
    after = _skip(content, position + 1)
    if after < len(content):
        raise _broken(path, content, after, "something follows the end of the array")


def _skip(content: str, position: int) -> int:
    match = _SPACE.match(content, position)
    return match.end() if match else position


def _broken(path: Path, content: str, position: int, problem: str) -> MulmedError:
    line = content.count("\n", 0, position) + 1
    column = position - content.rfind("\n", 0, position)
    return MulmedError(
        f"The file is not valid JSON: {problem}.",
        where=f"{path}, line {line}, column {column}",
        remedy="Mend that place, or turn the file into JSON Lines, of which single records may be broken.",
    )


def alternate(utterances: Iterable[tuple[Role, str]]) -> tuple[tuple[Turn, ...], tuple[Note, ...]]:
    """Turns that alternate, begin with the user and end with the assistant.

    Consecutive utterances of one speaker are joined by a line feed. What an assistant says before the
    first user turn answers nothing, and what a user says after the last answer is answered by nobody:
    both are left out and noted.

    Raises:
        Unusable: no question with an answer is left.
    """
    turns = [
        Turn(role, "\n".join(said for _, said in group))
        for role, group in groupby(
            ((role, said) for role, said in utterances if said.strip()), key=lambda utterance: utterance[0]
        )
    ]
    notes = []
    if not any(turn.role == "user" for turn in turns):
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
