"""What every cleaning stage shares: from a decision about each record to table, audit and counters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import polars as pl

from mulmed.corpus.batch import Change, StageResult, audit_frame, from_batch, to_batch
from mulmed.corpus.record import Record, Turn


class Finding(NamedTuple):
    """A rule that fired, on how many spans, and what may be told about it (never the words)."""

    rule: str
    spans: int
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage decided about a record: the record to keep (``None``: dropped), and why."""

    record: Record | None
    findings: tuple[Finding, ...] = ()


#: Cleans one text in a language; returns the text and what was found in it.
TextFunction = Callable[[str, str], tuple[str, list[Finding]]]


def texts_of(record: Record) -> list[str]:
    """All texts of a record: its turns, its context, the answers of other systems."""
    return [*(t.text for t in record.turns), record.context, *record.baselines.values()]


def map_texts(record: Record, function: TextFunction) -> Outcome:
    """The record with ``function`` applied to each of its texts, and the findings summed."""
    findings: Counter[tuple[str, str]] = Counter()

    def apply(text: str) -> str:
        if not text:
            return text
        cleaned, found = function(text, record.language)
        for rule, count, detail in found:
            findings[rule, detail] += count
        return cleaned

    turns = tuple(Turn(t.role, apply(t.text)) for t in record.turns)
    context = apply(record.context)
    baselines = {system: apply(text) for system, text in record.baselines.items()}
    if not findings:
        return Outcome(record)
    return Outcome(
        replace(record, turns=turns, context=context, baselines=baselines),
        tuple(Finding(rule, count, detail) for (rule, detail), count in findings.items()),
    )


def result(stage: str, decided: Iterable[tuple[Record, Outcome]]) -> StageResult:
    """Table of the records kept, in their order, with one audit row for each finding."""
    kept: list[Record] = []
    changes: list[Change] = []
    counters: Counter[str] = Counter()
    for before, outcome in decided:
        after = outcome.record
        if after is not None:
            kept.append(after)
        if not outcome.findings:
            continue
        counters["records changed" if after is not None else "records dropped"] += 1
        chars_before = sum(map(len, texts_of(before)))
        chars_after = 0 if after is None else sum(map(len, texts_of(after)))
        for rule, count, detail in outcome.findings:
            counters[rule] += count
            changes.append(
                Change(
                    id=before.id,
                    source=before.source,
                    stage=stage,
                    action="changed" if after is not None else "dropped",
                    rule=rule,
                    count=count,
                    chars_before=chars_before,
                    chars_after=chars_after,
                    detail=detail,
                )
            )
    return StageResult(to_batch(kept), audit_frame(changes), dict(counters))


def each_record(batch: pl.DataFrame, stage: str, decide: Callable[[Record], Outcome]) -> StageResult:
    """:func:`result` of a decision that looks at one record at a time."""
    return result(stage, ((record, decide(record)) for record in from_batch(batch)))
