"""From files to records: one process cuts the files up, and those that clean the chunks parse them."""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from mulmed.corpus import sources
from mulmed.corpus.batch import Change
from mulmed.corpus.record import Record, record_id
from mulmed.corpus.sources.layout import Found, Raw, Rejected
from mulmed.corpus.split import draw, split_of
from mulmed.errors import MulmedError
from mulmed.recipe import Corpus, Source

Progress = Callable[[str, int, int], None]
#: Rows that are worked on together: some megabytes, so that handing them over costs next to nothing.
CHUNK = 2048
#: Bytes after which a chunk ends however few rows it has.
CHUNK_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one file, in its order, as :func:`mulmed.corpus.sources.raw` cuts them out."""

    source: str
    file: str
    rows: tuple[Raw, ...]


#: What is worked on together: a few files' rows.
Chunk = tuple[Rows, ...]


@dataclass(slots=True)
class Read:
    """What a chunk's rows turned out to be.

    Attributes:
        rejected: source, file, row, line, reason (and the archive's member) of each that cannot be used.
    """

    records: list[Record] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)


def parse(corpus: Corpus, seed: int, chunk: Chunk) -> Read:
    """The chunk's records with their splits, what their readers changed, and the rows that are none."""
    read = Read()
    for part in chunk:
        source = corpus.sources[part.source]
        for row in part.rows:
            item = sources.parse(source, row)
            if isinstance(item, Rejected):
                where = {"source": part.source, "file": part.file, "row": item.row, "line": item.line}
                if item.member:
                    where["member"] = item.member
                read.rejected.append(where | {"reason": item.reason})
                continue
            record = _record(part.source, source, part.file, item, seed)
            read.records.append(record)
            read.changes.extend(
                Change(
                    record.id, record.source, "read", "changed" if note.changes else "noted",
                    note.rule, note.count, removed=note.characters,
                )
                for note in item.parsed.notes
            )  # fmt: skip
    return read


def _record(name: str, source: Source, file: str, item: Found, seed: int) -> Record:
    parsed = item.parsed
    return Record(
        id=record_id(name, file, item.row, parsed.turns, parsed.context),
        task=parsed.task,
        language=parsed.language or source.language,
        turns=parsed.turns,
        source=name,
        file=file,
        row=item.row,
        context=parsed.context,
        split=split_of(source, parsed.turns[0].text, parsed.context, seed),
        baselines=parsed.baselines,
    )


class Reader:
    """Cuts the files of all sources into chunks that do not depend on who works on them.

    Attributes:
        error: why reading ended early. The chunks before it are whole, and what is wrong with them comes
            first: so the same error is told however many processes are ahead of each other.
        over_limit: by source, how many records a limit left out.
    """

    def __init__(
        self, settings: Corpus, paths: Mapping[str, Sequence[Path]], seed: int, report: Progress
    ) -> None:
        self._settings, self._paths, self._seed, self._report = settings, paths, seed, report
        self._sizes = {path: path.stat().st_size for found in paths.values() for path in found}
        self._behind = 0  # bytes of the files that are done
        self._within = 0  # bytes that came out of the file at hand
        self.error: MulmedError | None = None
        self.over_limit: Counter[str] = Counter()

    def chunks(self) -> Iterator[Chunk]:
        """All rows; ends at the first file that cannot be read."""
        pending: list[tuple[str, str, Raw]] = []
        size, total = 0, sum(self._sizes.values())
        try:
            for row in self._all():
                pending.append(row)
                size += row[2].size
                if len(pending) >= CHUNK or size >= CHUNK_BYTES:
                    yield _chunk(pending)
                    pending, size = [], 0
                    self._report("KiB cleaned", (self._behind + self._within) >> 10, total >> 10)
        except MulmedError as error:
            self.error = error
        if pending:
            yield _chunk(pending)
        if self.error is None:
            self._report("KiB cleaned", total >> 10, total >> 10)

    def _all(self) -> Iterator[tuple[str, str, Raw]]:
        for name, source in self._settings.sources.items():
            rows = self._rows(source, self._paths[name])
            if source.limit is not None:
                rows = self._limited(name, source, source.limit, rows)
            for file, row in rows:
                yield name, file, row

    def _rows(self, source: Source, paths: Sequence[Path]) -> Iterator[tuple[str, Raw]]:
        for path in paths:
            file, size = path.name, self._sizes[path]
            for row in sources.raw(source, path):
                # How much of a compressed file is read is not known; what came out of it comes near.
                self._within = min(self._within + row.size, size)
                yield file, row
            self._behind += size
            self._within = 0

    def _limited(
        self, name: str, source: Source, limit: int, rows: Iterable[tuple[str, Raw]]
    ) -> Iterator[tuple[str, Raw]]:
        """As many records as the limit allows, chosen by their ids' hashes, in the order of the files."""
        best: list[tuple[float, int, str, Raw]] = []  # a heap: the largest number drawn is its first
        for position, (file, row) in enumerate(rows):
            item = sources.parse(source, row)
            if isinstance(item, Rejected):
                yield file, row
                continue
            id_ = record_id(name, file, row.row, item.parsed.turns, item.parsed.context)
            entry = (-draw(self._seed, "limit", id_), -position, file, row)
            if len(best) < limit:
                heapq.heappush(best, entry)
            else:
                heapq.heappushpop(best, entry)
                self.over_limit[name] += 1
        for _, _, file, row in sorted(best, key=lambda entry: -entry[1]):
            yield file, row


def _chunk(rows: Sequence[tuple[str, str, Raw]]) -> Chunk:
    return tuple(
        Rows(source, file, tuple(row for _, _, row in group))
        for (source, file), group in groupby(rows, key=lambda row: row[:2])
    )


def check_rejected(
    name: str, source: Source, usable: int, over: int, rejected: Sequence[Mapping[str, Any]], file: Path
) -> None:
    """Whether enough of a source can be used.

    Args:
        usable: its records that can be.
        over: those that a limit left out.
        rejected: the rows that cannot be.
        file: where all rejected rows are listed.

    Raises:
        MulmedError: more of it is rejected than the recipe allows, or nothing can be used.
    """
    total = usable + over + len(rejected)
    if usable and len(rejected) <= source.max_rejected * total:
        return
    where = f"corpus.sources.{name}"
    if not rejected:
        raise MulmedError(
            "The source has no record.",
            where=f"{where}: {', '.join(source.paths)}",
            remedy=f"Check that the file is in the {source.layout} layout and not empty.",
        )
    reason, times = Counter(entry["reason"] for entry in rejected).most_common(1)[0]
    first = next(entry for entry in rejected if entry["reason"] == reason)
    remedy = f"Check that the file is in the {source.layout} layout. All rejected rows: {file}."
    if usable + over:
        share = math.ceil(100 * len(rejected) / total) / 100
        remedy += f" If they may be left out, set {where}.max_rejected to {share:.2f}."
    raise MulmedError(
        f"{len(rejected)} of {total} records cannot be used ({source.max_rejected:.1%} are allowed); "
        f"most often ({times} times): {reason}.",
        where=f"{where}: {first['file']}, row {first['row']}, line {first['line']}",
        remedy=remedy,
    )
