"""Records in columns: the one table layout that every cleaning stage reads and writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from mulmed.corpus.record import Record, Turn

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
    "tags": pl.List(pl.String()),
}

#: One row is one change to one record: what kind, where and how large, never the words.
AUDIT_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "source": pl.String(),
    "stage": pl.String(),  # read, repair, deidentify, moderate, truncate, deduplicate, decontaminate
    "action": pl.String(),  # changed | dropped | tagged | noted (seen by a reader, left as it was)
    "rule": pl.String(),  # what fired, for example "mojibake", "PHONE", "advertisement"
    "count": pl.Int64(),  # how often; 1 where the row tells a place
    "field": pl.String(),  # "turns[0]", "context", "baselines[chatgpt]"; "" for the whole record
    "start": pl.Int64(),  # offsets of the stretch in the text the stage was given, or null
    "end": pl.Int64(),
    "removed": pl.Int64(),  # characters that went: of the stretch, or of the whole record when dropped
    "removed_hash": pl.String(),  # keyed hash of them, so that equal ones can be counted
    "replacement": pl.String(),  # what stands there now, or null
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
    field: str = ""
    start: int | None = None
    end: int | None = None
    removed: int = 0
    removed_hash: str = ""
    replacement: str | None = None
    detail: str = ""


def to_batch(records: Iterable[Record]) -> pl.DataFrame:
    """Table with :data:`SCHEMA` from records, in their order."""
    rows = list(records)
    turns, baselines = [len(r.turns) for r in rows], [len(r.baselines) for r in rows]
    said = [t for r in rows for t in r.turns]
    answers = [pair for r in rows for pair in r.baselines.items()]
    # Flat columns with offsets: building nested rows one by one takes ten times as long.
    columns = {
        **{name: pa.array([getattr(r, name) for r in rows], kind) for name, kind in _PLAIN.items()},
        "turns": _nested(turns, role=[t.role for t in said], text=[t.text for t in said]),
        "baselines": _nested(baselines, system=[k for k, _ in answers], text=[v for _, v in answers]),
        "tags": pa.array([r.tags for r in rows], pa.large_list(pa.large_string())),
    }
    frame = pl.from_arrow(pa.table({name: columns[name] for name in SCHEMA}))
    assert isinstance(frame, pl.DataFrame)
    return frame


_PLAIN = {
    **dict.fromkeys(("id", "task", "language", "split", "source", "file"), pa.large_string()),
    "row": pa.int64(),
    "context": pa.large_string(),
    "answer_cut": pa.bool_(),
}


def _nested(lengths: Sequence[int], **fields: Sequence[str]) -> Any:
    """A list column of structs of text, from how many each row has and from all of their fields."""
    offsets = pa.array([0, *itertools.accumulate(lengths)], pa.int64())
    arrays = [pa.array(values, pa.large_string()) for values in fields.values()]
    return pa.LargeListArray.from_arrays(offsets, pa.StructArray.from_arrays(arrays, list(fields)))


def from_batch(batch: pl.DataFrame) -> Iterator[Record]:
    """Records of a table with :data:`SCHEMA`, in its order."""
    roles, texts = _flat(batch["turns"], "role"), _flat(batch["turns"], "text")
    systems, answers = _flat(batch["baselines"], "system"), _flat(batch["baselines"], "text")
    said = map(Turn, roles, texts)
    other = zip(systems, answers, strict=True)
    for row in zip(
        *(batch[name].to_list() for name in _PLAIN),
        batch["turns"].list.len().to_list(),
        batch["baselines"].list.len().to_list(),
        batch["tags"].to_list(),
        strict=True,
    ):
        id_, task, language, split, source, file, position, context, cut, rounds, systems_here, tags = row
        yield Record(
            id=id_,
            task=task,
            language=language,
            turns=tuple(itertools.islice(said, rounds)),
            source=source,
            file=file,
            row=position,
            context=context,
            split=split,
            answer_cut=cut,
            baselines=dict(itertools.islice(other, systems_here)),
            tags=tuple(tags),
        )


def _flat(lists: pl.Series, field: str) -> list[Any]:
    """One field of all structs of a list column, row after row."""
    # An empty list becomes a null when it is exploded.
    return lists.filter(lists.list.len() > 0).explode().struct.field(field).to_list()


def audit_frame(changes: Iterable[Change]) -> pl.DataFrame:
    """Table with :data:`AUDIT_SCHEMA`."""
    rows = list(changes)
    return pl.DataFrame(
        {name: [getattr(c, name) for c in rows] for name in AUDIT_SCHEMA}, schema=AUDIT_SCHEMA
    )
