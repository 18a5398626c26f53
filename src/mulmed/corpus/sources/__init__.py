"""Readers of published corpora, one module a layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

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
from mulmed.corpus.sources.layout import Found, Note, Parsed, Rejected
from mulmed.corpus.sources.rows import Parse, read_rows
from mulmed.recipe import Layout, Source

#: Layouts of which every row of a JSON, CSV, TSV or Parquet file is a record.
ROWS: Mapping[Layout, Parse] = {
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
#: Layouts of text files.
TEXTS: Mapping[Layout, Callable[[Path, str], Iterator[Found | Rejected]]] = {
    "meddialog-en": meddialog.read_en,
    "meddialog-zh": meddialog.read_zh,
}
#: Layouts of XML documents, which say their encoding themselves.
DOCUMENTS: Mapping[Layout, Callable[[Path], Iterator[Found | Rejected]]] = {
    "jats": jats.read,
    "medquad": medquad.read,
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SCRIPTS = {"zh": re.compile("[\u3400-\u9fff\U00020000-\U0003ffff]"), "en": re.compile("[A-Za-z]")}


def read(source: Source, path: Path) -> Iterator[Found | Rejected]:
    """Records of one file of a source, in its order.

    A record none of whose texts has a character of the source's script (Chinese or Latin), but one of the
    other's, is rejected: corpora said to be Chinese hold records left in English. Where the answer alone
    is so, it may be a translation, a formula or a program, and is kept and noted. A record that states
    its own language is taken at its word.

    ``turns: first`` keeps the first question and answer of a dialogue and makes it a ``qa`` record.
    Lone surrogates, which JSON can spell but no encoding can store, become U+FFFD and are noted.

    Raises:
        MulmedError: the file cannot be read, decoded or parsed at all, or lacks a column.
    """
    for item in _read(source, path):
        if isinstance(item, Rejected):
            yield item
            continue
        parsed = item.parsed
        if source.turns == "first" and parsed.task == "dialogue":
            parsed = replace(parsed, task="qa", turns=parsed.turns[:2])
        foreign = _foreign(parsed, source.language) if parsed.language is None else ""
        if foreign == "record":
            yield Rejected(item.row, item.line, "record is not in the source's language", item.member)
            continue
        if foreign == "answer":
            parsed = replace(
                parsed, notes=(*parsed.notes, Note("answer is not in the source's language", changes=False))
            )
        parsed = _without_surrogates(parsed)
        yield item if parsed is item.parsed else replace(item, parsed=parsed)


def _read(source: Source, path: Path) -> Iterator[Found | Rejected]:
    if (parse := ROWS.get(source.layout)) is not None:
        return read_rows(path, source.encoding, parse)
    if (read_text := TEXTS.get(source.layout)) is not None:
        return read_text(path, source.encoding)
    if (read_documents := DOCUMENTS.get(source.layout)) is not None:
        return read_documents(path)
    return columns.read(path, source.encoding, source.columns or columns.PUBLISHED[source.layout])


def _foreign(parsed: Parsed, language: str) -> str:
    """``record`` or ``answer``, whichever is in another script than the language's; else nothing."""
    script = _SCRIPTS.get(language)
    if script is None or script.search(parsed.turns[-1].text):
        return ""
    other = _SCRIPTS["en" if language == "zh" else "zh"]
    texts = (*(turn.text for turn in parsed.turns), parsed.context)
    if not any(map(script.search, texts)):
        return "record" if any(map(other.search, texts)) else ""
    return "answer" if other.search(parsed.turns[-1].text) else ""


def _without_surrogates(parsed: Parsed) -> Parsed:
    lone = _surrogates(parsed.context)
    for turn in parsed.turns:
        lone += _surrogates(turn.text)
    for text in parsed.baselines.values():
        lone += _surrogates(text)
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
