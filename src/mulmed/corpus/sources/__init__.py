"""Readers of published corpora, one module a layout.

Reading has two halves: :func:`raw` cuts a file into records, one after the other, and :func:`parse` makes
something of one of them, in whatever process. :func:`read` is both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from mulmed.corpus.record import Turn
from mulmed.corpus.sources import (
    alpaca,
    bentsao,
    cmtmedqa,
    columns,
    healthcaremagic,
    icliniq,
    jats,
    laysumm,
    meddialog,
    medquad,
    messages,
    transcripts,
)
from mulmed.corpus.sources.layout import Found, Note, Parsed, Raw, Rejected, Unusable
from mulmed.corpus.sources.rows import raw_rows, row_of
from mulmed.recipe import Columns, Layout, Source
from mulmed.recipe.language import added, is_known

#: Layouts of which every row of a JSON, CSV, TSV or Parquet file is a record.
ROWS: Mapping[Layout, Callable[[Mapping[str, Any]], Parsed]] = {
    "aci-bench": transcripts.parse_aci,
    "alpaca": alpaca.parse,
    "bentsao": bentsao.parse,
    "cmtmedqa": cmtmedqa.parse,
    "disc-medllm": messages.parse_disc,
    "healthcaremagic": healthcaremagic.parse,
    "icliniq": icliniq.parse,
    "laysumm": laysumm.parse,
    "messages": messages.parse,
    "mts-dialog": transcripts.parse_mts,
    "sharegpt": messages.parse_sharegpt,
}
#: Layouts of text files, which are runs of blocks.
TEXTS: Mapping[Layout, Callable[[bytes], Parsed]] = {
    "meddialog-en": meddialog.parse_en,
    "meddialog-zh": meddialog.parse_zh,
}
#: Layouts of XML documents, which say their encoding themselves.
DOCUMENTS: Mapping[Layout, Callable[[Path], Iterator[Raw]]] = {
    "jats": jats.raw,
    "medquad": medquad.raw,
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SCRIPTS = {"zh": re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]"), "en": re.compile("[A-Za-z]")}


def read(source: Source, path: Path) -> Iterator[Found | Rejected]:
    """Records of one file of a source, in its order: what :func:`parse` makes of those of :func:`raw`.

    Raises:
        MulmedError: the file cannot be read, decoded or parsed at all, or lacks a column.
    """
    return (parse(source, row) for row in raw(source, path))


def raw(source: Source, path: Path) -> Iterator[Raw]:
    """The records of one file of a source as they stand there, in its order.

    Raises:
        MulmedError: the file cannot be read, decoded or cut up, or lacks a column.
    """
    if (documents := DOCUMENTS.get(source.layout)) is not None:
        return documents(path)
    if source.layout in TEXTS:
        found: Iterator[tuple[int, Any]] = meddialog.raw(path, source.encoding)
    elif source.layout in ROWS:
        found = raw_rows(path, source.encoding)
    else:
        found = columns.raw(path, source.encoding, _columns(source))
    return (Raw(row, line, value) for row, (line, value) in enumerate(found))


def parse(source: Source, row: Raw) -> Found | Rejected:
    """The record, or why it cannot be used.

    A record none of whose texts has a character of the source's script (Chinese, Latin, or the letters of the
    language's file), but one of another, is rejected: corpora said to be Chinese hold records left in English. Where the answer alone
    is so, it may be a translation, a formula or a program, and is kept and noted. A record that states
    its own language is taken at its word.

    ``turns: first`` keeps the first question and answer of a dialogue and makes it a ``qa`` record.
    Lone surrogates, which JSON can spell but no encoding can store, become U+FFFD and are noted.
    """
    try:
        parsed = _parsed(source, row.value)
        if source.turns == "first" and parsed.task == "dialogue":
            parsed = replace(parsed, task="qa", turns=parsed.turns[:2])
        if parsed.language is None:
            parsed = _in_language(parsed, source.language)
        elif not is_known(parsed.language):
            raise Unusable("record is in a language that has no file")
    except Unusable as unusable:
        return Rejected(row.row, row.line, str(unusable), row.member)
    return Found(row.row, row.line, _without_surrogates(parsed), row.member)


def _parsed(source: Source, value: Any) -> Parsed:
    if isinstance(value, Parsed):
        return value
    if isinstance(value, Rejected):
        raise Unusable(value.reason)
    if (text := TEXTS.get(source.layout)) is not None:
        return text(value)
    if (parse_row := ROWS.get(source.layout)) is not None:
        return parse_row(row_of(value))
    return columns.parse(row_of(value), _columns(source))


def _columns(source: Source) -> Columns:
    return source.columns or columns.PUBLISHED[source.layout]


def _in_language(parsed: Parsed, language: str) -> Parsed:
    """The record, with a note where its answer is in another script than the language's.

    Raises:
        Unusable: all of it is.
    """
    own = added().get(language)
    if own is not None:
        script, other = _scripts(own.letters)
    else:
        script, other = _SCRIPTS[language], _SCRIPTS["en" if language == "zh" else "zh"]
    if script.search(parsed.turns[-1].text):
        return parsed
    texts = (*(turn.text for turn in parsed.turns), parsed.context)
    if not any(map(script.search, texts)):
        if any(map(other.search, texts)):
            raise Unusable("record is not in the source's language")
        return parsed
    if not other.search(parsed.turns[-1].text):
        return parsed
    note = Note("answer is not in the source's language", changes=False)
    return replace(parsed, notes=(*parsed.notes, note))


@cache
def _scripts(letters: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A letter of a language's script, and one of any other."""
    return re.compile(f"[{letters}]"), re.compile(rf"(?![{letters}])[^\W\d_]")


def _without_surrogates(parsed: Parsed) -> Parsed:
    texts = [parsed.context, *[turn.text for turn in parsed.turns], *parsed.baselines.values()]
    lone = _surrogates("".join(texts))
    if not lone:
        return parsed
    return replace(
        parsed,
        turns=tuple(Turn(turn.role, _replaced(turn.text)) for turn in parsed.turns),
        context=_replaced(parsed.context),
        baselines={system: _replaced(text) for system, text in parsed.baselines.items()},
        notes=(*parsed.notes, Note("lone surrogate replaced", lone)),
    )


def _surrogates(text: str) -> int:
    if not text.isascii():
        try:
            text.encode()  # faster than a search
        except UnicodeEncodeError:
            return len(_SURROGATE.findall(text))
    return 0


def _replaced(text: str) -> str:
    return _SURROGATE.sub("\ufffd", text)
