"""Records in columns: the one table layout that every cleaning stage reads and writes."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

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


class Change(NamedTuple):
    """What one stage did to one record (becomes an audit row)."""

    id: str
    source: str
    stage: str
    action: str
    rule: str
    count: int = 1  # type: ignore[assignment]  # a tuple has a method of that name
    field: str = ""
    start: int | None = None
    end: int | None = None
    removed: int = 0
    removed_hash: str = ""
    replacement: str | None = None
    detail: str = ""


#: A table in memory, or the Arrow file it was left in for other processes.
Held = pl.DataFrame | Path


def hold(table: pl.DataFrame, folder: Path | None) -> Held:
    """The table, left in a new file of ``folder`` if there is one."""
    if folder is None:
        return table
    file = folder / f"{uuid4().hex}.arrow"
    table.write_ipc(file)
    return file


def held(table: Held) -> pl.DataFrame:
    """The table; of a file only what is looked at is read."""
    return pl.read_ipc(table) if isinstance(table, Path) else table


def to_batch(records: Iterable[Record]) -> pl.DataFrame:
    """Table with :data:`SCHEMA` from records, in their order."""
    rows = list(records)
    said = [t for r in rows for t in r.turns]
    answers = [pair for r in rows for pair in r.baselines.items()]
    columns = {name: pl.Series(list(map(attrgetter(name), rows)), dtype=SCHEMA[name]) for name in _PLAIN}
    columns["turns"] = _lists(
        [len(r.turns) for r in rows], _structs(role=[t.role for t in said], text=[t.text for t in said])
    )
    columns["baselines"] = _lists(
        [len(r.baselines) for r in rows],
        _structs(system=[k for k, _ in answers], text=[v for _, v in answers]),
    )
    columns["tags"] = _lists([len(r.tags) for r in rows], _strings([tag for r in rows for tag in r.tags]))
    return pl.DataFrame({name: columns[name] for name in SCHEMA}, schema=SCHEMA)


_PLAIN = ("id", "task", "language", "split", "source", "file", "row", "context", "answer_cut")


def _lists(lengths: Sequence[int], values: Any) -> pl.Series:
    """A list column from how many values each row has and from all of their values.

    Flat columns with offsets: building nested rows one by one takes ten times as long.
    """
    offsets = pl.Series([0, *itertools.accumulate(lengths)], dtype=pl.Int64).to_arrow()
    lists = pl.from_arrow(pa.LargeListArray.from_arrays(offsets, values))
    assert isinstance(lists, pl.Series)
    return lists


def _structs(**fields: Sequence[str]) -> Any:
    return pa.StructArray.from_arrays([_strings(values) for values in fields.values()], list(fields))


def _strings(values: Sequence[str]) -> Any:
    # Not pyarrow.array, which imports pandas at its first call: most of a second, in every process.
    return pl.Series(values, dtype=pl.String).to_arrow(compat_level=pl.CompatLevel.oldest())


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
    """Table with :data:`AUDIT_SCHEMA`, whose columns are a change's fields in their order."""
    columns = zip(*changes, strict=True)
    return pl.DataFrame(dict(zip(AUDIT_SCHEMA, columns, strict=False)), schema=AUDIT_SCHEMA)
