"""Records in columns: the one table layout that every cleaning stage reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import polars as pl

from mulmed.corpus.record import Record, Split, Task, Turn

TURN = pl.Struct({"role": pl.String, "text": pl.String})
ANSWER = pl.Struct({"system": pl.String, "text": pl.String})

#: One row is one :class:`~mulmed.corpus.record.Record`.
SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "task": pl.String(),
    "language": pl.String(),
    "split": pl.String(),
    "source": pl.String(),
    "file": pl.String(),
    "row": pl.Int64(),
    "context": pl.String(),
    "turns": pl.List(TURN),
    "answer_cut": pl.Boolean(),
    "baselines": pl.List(ANSWER),
}

#: One row is one change to one record. It tells what kind of change and how large, never the words.
AUDIT_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "source": pl.String(),
    "stage": pl.String(),  # read, repair, deidentify, moderate, truncate, deduplicate, decontaminate
    "action": pl.String(),  # changed | dropped
    "rule": pl.String(),  # what fired, for example "mojibake", "PHONE", "advertisement"
    "count": pl.Int64(),  # how many spans of this rule in this record
    "chars_before": pl.Int64(),
    "chars_after": pl.Int64(),  # lengths of all the record's text; 0 when dropped
    "detail": pl.String(),  # id of the record it duplicates, overlap share...; never removed text
}


@dataclass(frozen=True, slots=True)
class Change:
    """What one stage did to one record (becomes an audit row)."""

    id: str
    source: str
    stage: str
    action: str
    rule: str
    count: int = 1
    chars_before: int = 0
    chars_after: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True)
class StageResult:
    """What a cleaning stage returns: the records kept, an audit row a change, and counters.

    Counters are additive over batches (``{"records changed": 3, "PHONE": 5, ...}``).
    """

    batch: pl.DataFrame
    audit: pl.DataFrame
    counters: Mapping[str, int] = field(default_factory=dict)


def to_batch(records: Iterable[Record]) -> pl.DataFrame:
    """Table with :data:`SCHEMA` from records, in their order."""
    rows = [
        {
            "id": r.id,
            "task": r.task,
            "language": r.language,
            "split": r.split,
            "source": r.source,
            "file": r.file,
            "row": r.row,
            "context": r.context,
            "turns": [{"role": t.role, "text": t.text} for t in r.turns],
            "answer_cut": r.answer_cut,
            "baselines": [{"system": k, "text": v} for k, v in r.baselines.items()],
        }
        for r in records
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def from_batch(batch: pl.DataFrame) -> Iterator[Record]:
    """Records of a table with :data:`SCHEMA`, in its order."""
    for row in batch.iter_rows(named=True):
        yield Record(
            id=row["id"],
            task=cast(Task, row["task"]),
            language=row["language"],
            split=cast(Split, row["split"]),
            source=row["source"],
            file=row["file"],
            row=row["row"],
            context=row["context"],
            turns=tuple(Turn(t["role"], t["text"]) for t in row["turns"]),
            answer_cut=row["answer_cut"],
            baselines={b["system"]: b["text"] for b in row["baselines"]},
        )


def audit_frame(changes: Iterable[Change]) -> pl.DataFrame:
    """Table with :data:`AUDIT_SCHEMA`."""
    rows: list[dict[str, Any]] = [{k: getattr(c, k) for k in AUDIT_SCHEMA} for c in changes]
    return pl.DataFrame(rows, schema=AUDIT_SCHEMA)
