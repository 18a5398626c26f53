"""Tables whose columns the recipe names, and published tables whose columns are known."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from typing import Any

from mulmed.corpus.sources.layout import (
    Note,
    Parsed,
    Unusable,
    alternate,
    as_round,
    conversation,
    pair,
    rounds,
    text,
)
from mulmed.corpus.sources.rows import raw_rows, row_of
from mulmed.errors import MulmedError
from mulmed.recipe import Columns, Layout

#: The columns of published tables.
PUBLISHED: Mapping[Layout, Columns] = {
    # Description is the site's headline over what the patient wrote.
    "ai-medical-chatbot": Columns(question="Patient", answer="Doctor"),
    "huatuo26m": Columns(question="instruction", answer="output"),
    # questionDoctorQAs, ehealthforumQAs and the others of their collection
    "medical-qa": Columns(question="question", answer="answer"),
    # The title often holds the question, and `ask` no more than what led to it.
    "toyhom": Columns(question=("title", "ask"), answer="answer"),
}
#: Rows in which a column must occur at least once.
_FIRST = 100


def raw(path: Path, encoding: str, columns: Columns) -> Iterator[tuple[int, Any]]:
    """The file's :func:`~mulmed.corpus.sources.rows.raw_rows`, once its first ones were looked at.

    Raises:
        MulmedError: none of the first rows has one of the columns; the error names the nearest there is.
    """
    values = raw_rows(path, encoding)
    first = list(islice(values, _FIRST))
    known: set[str] = set()
    for _, value in first:
        with suppress(Unusable):
            known.update(row_of(value))
    _check(path, columns, known)
    return chain(first, values)


def _check(path: Path, columns: Columns, known: set[str]) -> None:
    for key, names in (
        ("question", columns.questions),
        ("answer", (columns.answer,)),
        ("context", (columns.context,)),
        ("language", (columns.language,)),
        ("history", (columns.history,)),
    ):
        for name in names:
            if known and name is not None and name not in known:
                near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.5)
                raise MulmedError(
                    f"No column is called {name!r}" + (f" (did you mean {near[0]!r}?)." if near else "."),
                    where=f"{path}, columns.{key}",
                    remedy=f"Name one of the file's columns: {', '.join(sorted(known))}.",
                )


def parse(row: Mapping[str, Any], columns: Columns) -> Parsed:
    """A record of the columns' task; with a history of one round or more, of task ``dialogue``.

    A list of one text is that text; of a longer list the first counts, and the others are noted.
    """
    notes: list[Note] = []
    question = _question(row, columns.questions, notes)
    answer = _text(row, columns.answer, notes)
    language = row.get(columns.language) if columns.language else None
    if language is not None and not (isinstance(language, str) and re.fullmatch("[a-z]{2}", language)):
        raise Unusable("language is not a two-letter code")
    if columns.history is not None:
        turns, left_out = alternate([*rounds(row.get(columns.history)), *as_round(question, answer)])
        return Parsed(conversation(turns), turns, language=language, notes=(*notes, *left_out))
    context = ""
    if columns.context is not None and not _is_empty(row.get(columns.context)):
        context = _text(row, columns.context, notes)
    return Parsed(columns.task, pair(question, answer), context, language=language, notes=tuple(notes))


def _question(row: Mapping[str, Any], names: tuple[str, ...], notes: list[Note]) -> str:
    if len(names) == 1:
        return _text(row, names[0], notes)
    parts: list[str] = []
    for name in names:
        if _is_empty(row.get(name)):
            continue
        part = _text(row, name, notes)
        if not any(part.strip() in other for other in parts):
            parts = [*(other for other in parts if other.strip() not in part), part]
    if not parts:
        raise Unusable("no question")
    return "\n".join(parts)


def _is_empty(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and not value.strip())


def _text(row: Mapping[str, Any], name: str, notes: list[Note]) -> str:
    value = row.get(name)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        if others := value[1:]:
            notes.append(Note("further texts of a list left out", len(others), sum(map(len, others))))
        return text({name: value[0]}, name)
    return text(row, name)
