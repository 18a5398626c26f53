"""Readers of published corpora, one module a layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

from mulmed.corpus.record import Turn
from mulmed.corpus.sources import alpaca, healthcaremagic, icliniq, laysumm, meddialog, messages
from mulmed.corpus.sources.layout import Found, Note, Parsed, Rejected
from mulmed.recipe import Layout

READERS: Mapping[Layout, Callable[[Path], Iterator[Found | Rejected]]] = {
    "alpaca": alpaca.read,
    "healthcaremagic": healthcaremagic.read,
    "icliniq": icliniq.read,
    "meddialog-zh": meddialog.read_zh,
    "meddialog-en": meddialog.read_en,
    "laysumm": laysumm.read,
    "messages": messages.read,
}
_SURROGATE = re.compile("[\ud800-\udfff]")


def read(layout: Layout, path: Path, turns: Literal["all", "first"] = "all") -> Iterator[Found | Rejected]:
    """Records of one file, in its order.

    ``turns="first"`` keeps the first question and answer of a dialogue and makes it a ``qa`` record.
    Lone surrogates, which JSON can spell but no encoding can store, become U+FFFD and are noted.

    Raises:
        MulmedError: the file cannot be read, decoded or parsed at all.
    """
    for item in READERS[layout](path):
        if isinstance(item, Found):
            parsed = item.parsed
            if turns == "first" and parsed.task == "dialogue":
                parsed = replace(parsed, task="qa", turns=parsed.turns[:2])
            item = replace(item, parsed=_without_surrogates(parsed))
        yield item


def _without_surrogates(parsed: Parsed) -> Parsed:
    texts = (*(turn.text for turn in parsed.turns), parsed.context, *parsed.baselines.values())
    lone = sum(len(_SURROGATE.findall(text)) for text in texts)
    if not lone:
        return parsed
    return replace(
        parsed,
        turns=tuple(Turn(turn.role, _SURROGATE.sub("\ufffd", turn.text)) for turn in parsed.turns),
        context=_SURROGATE.sub("\ufffd", parsed.context),
        baselines={system: _SURROGATE.sub("\ufffd", text) for system, text in parsed.baselines.items()},
        notes=(*parsed.notes, Note("lone surrogate replaced", lone)),
    )
