"""The corpus stage: read every source, clean, and write the records with an account of each."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from mulmed.corpus import sources, statistics
from mulmed.corpus.audit import Passage, funnel, rule_counts, together
from mulmed.corpus.batch import AUDIT_SCHEMA, Change, audit_frame, from_batch, to_batch
from mulmed.corpus.clean import Cleaned, First, Second, draw, first, overlaps, second
from mulmed.corpus.decontaminate import Overlap, contaminated, index
from mulmed.corpus.deduplicate import Duplicate, duplicates, shingles
from mulmed.corpus.executor import executor
from mulmed.corpus.files import resolve
from mulmed.corpus.record import Record, Split, record_id
from mulmed.corpus.sources.layout import Found, Rejected
from mulmed.corpus.truncate import CountTokens, Overhead
from mulmed.errors import MulmedError
from mulmed.recipe import Corpus, Holdout, Source

Progress = Callable[[str, int, int], None]
#: Records that are worked on together: some megabytes, so that handing them over costs next to nothing.
CHUNK = 4096


@dataclass(slots=True)
class _Read:
    """What came out of the sources besides records."""

    changes: list[Change] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    over_limit: Counter[str] = field(default_factory=Counter)
    by_source: Counter[str] = field(default_factory=Counter)


def build_corpus(
    settings: Corpus,
    data: Path,
    out: Path,
    *,
    seed: int,
    cutoff: int,
    overhead: Overhead,
    count_tokens: CountTokens,
    progress: Progress | None = None,
) -> None:
    """Write ``records.parquet``, ``audit.parquet``, ``rejected.jsonl``, ``funnel.json`` and
    ``statistics.json`` into ``out``; the same settings and files give the same bytes, wherever and in
    however many processes the work is done.

    Args:
        data: folder that the sources' paths are relative to.
        seed: decides, with the question, which side of a split a record falls on.
        cutoff: tokens an example may have, template included.
        overhead: (task, language) -> tokens of the template for the first round, for each later one.
        count_tokens: number of tokens of each of some texts; sent to the workers.
        progress: called with the stage's name, how much of it is done, and of how much.

    Raises:
        MulmedError: a file is missing or unreadable, a source has no usable record or too many that are
            not, or nothing is left to train on or, where the recipe holds out a test set, to test on.
    """
    report = progress or (lambda *_: None)
    out.mkdir(parents=True, exist_ok=True)
    read = _Read()
    with executor(settings.executor) as mapping:
        chunks = _chunks(settings, data, out / "rejected.jsonl", seed, read, report)
        cleaned = list(mapping(partial(first, First(settings, seed)), chunks))
        # Read before anything else can fail, so that the reasons are there to be looked up.
        _write_lines(out / "rejected.jsonl", read.rejected)

        repeated: dict[str, Duplicate] = {}
        if settings.deduplicate is not None:
            report("comparing records", 0, 0)
            sketches = pl.concat([c.sketches for c in cleaned if c.sketches is not None])
            repeated = duplicates(sketches, partial(_shingles_of, cleaned), settings.deduplicate)
        leaked: dict[str, Overlap] = {}
        if settings.decontaminate is not None:
            gone = pl.Series(list(repeated), dtype=pl.String).implode()
            left = [c.batch.filter(~pl.col("id").is_in(gone)) for c in cleaned]
            tests = index(list(_test_records(left)), settings.decontaminate)
            hits = []
            for found in mapping(partial(overlaps, tests), left):
                hits.append(found)
                report("chunks compared with the test set", len(hits), len(left))
            leaked = contaminated(pl.concat(hits))

        work = Second(settings, repeated, leaked, cutoff, overhead, count_tokens)
        shortened = []
        for done in mapping(partial(second, work), (c.batch for c in cleaned)):
            shortened.append(done)
            report("chunks shortened", len(shortened), len(cleaned))

    batch = pl.concat([c.batch for c in shortened])
    read_audit = audit_frame(read.changes)
    passages = [
        _reading(read, read_audit),
        *together([c.passages for c in cleaned]),
        *together([c.passages for c in shortened]),
    ]
    _check_splits(settings, batch, passages)
    audit = _in_order([read_audit, *(c.audit for c in cleaned), *(c.audit for c in shortened)], passages)

    _write_parquet(out / "records.parquet", batch)
    _write_parquet(out / "audit.parquet", audit)
    _write_json(out / "funnel.json", funnel(settings.sources, passages))
    _write_json(
        out / "statistics.json",
        statistics.statistics(
            pl.concat([c.lengths for c in cleaned]),
            pl.concat([c.lengths for c in shortened]),
            batch,
            removals=_sum(c.counts for c in cleaned),
            mentions=_sum(c.counts for c in shortened),
        )
        | {"records_sha256": hashlib.sha256(b"".join(c.digests for c in shortened)).hexdigest()},
    )


def _in_order(audits: Sequence[pl.DataFrame], passages: Sequence[Passage]) -> pl.DataFrame:
    """One audit, stage by stage, in which the records keep the corpus's order."""
    order = {p.stage: i for i, p in enumerate(passages)}
    whole = pl.concat(audits) if audits else pl.DataFrame(schema=AUDIT_SCHEMA)
    rank = pl.col("stage").replace_strict(order, return_dtype=pl.Int8)
    return whole.sort(rank, maintain_order=True)


def _sum(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for part in counts:
        total.update(part)
    return dict(sorted(total.items()))


def _test_records(batches: Sequence[pl.DataFrame]) -> Iterator[Record]:
    for batch in batches:
        yield from from_batch(batch.filter(pl.col("split") == "test"))


def _shingles_of(cleaned: Sequence[Cleaned], ids: Sequence[str]) -> pl.DataFrame:
    wanted = [c.batch.filter(pl.col("id").is_in(list(ids))) for c in cleaned]
    return shingles(list(from_batch(pl.concat(wanted))))


def _chunks(
    settings: Corpus, data: Path, rejected_file: Path, seed: int, read: _Read, report: Progress
) -> Iterator[pl.DataFrame]:
    """The records of all sources as read, in chunks that do not depend on who works on them."""
    records = _read_all(settings, data, rejected_file, seed, read, report)
    while chunk := list(islice(records, CHUNK)):
        yield to_batch(chunk)


def _read_all(
    settings: Corpus, data: Path, rejected_file: Path, seed: int, read: _Read, report: Progress
) -> Iterator[Record]:
    paths = {
        name: resolve(data, source.paths, where=f"corpus.sources.{name}.path")
        for name, source in settings.sources.items()
    }
    sizes = {path: path.stat().st_size for found in paths.values() for path in found}
    behind = 0  # bytes of the files that are done
    for name, source in settings.sources.items():
        rejected_before = len(read.rejected)

        def advance(path: Path, characters: int, behind: int = behind) -> None:
            # How much of a compressed file is read is not known; what came out of it comes near.
            report("KiB cleaned", (behind + min(characters, sizes[path])) >> 10, sum(sizes.values()) >> 10)

        found = _read_source(name, source, paths[name], read, advance)
        if source.limit is not None:
            found = _limited(found, source.limit, seed, read)
        for record, changes in found:
            read.by_source[name] += 1
            read.changes.extend(changes)
            yield record
        rejected = read.rejected[rejected_before:]
        usable = read.by_source[name]
        if not usable or len(rejected) > source.max_rejected * (
            usable + len(rejected) + read.over_limit[name]
        ):
            _write_lines(rejected_file, read.rejected)
            raise _too_many_rejected(name, source, usable + read.over_limit[name], rejected, rejected_file)
        behind += sum(sizes[path] for path in paths[name])
    report("KiB cleaned", behind >> 10, behind >> 10)


def _limited(
    found: Iterable[tuple[Record, list[Change]]], limit: int, seed: int, read: _Read
) -> Iterator[tuple[Record, list[Change]]]:
    """As many as the limit allows, chosen by their ids' hashes, in the order of the files."""
    everything = list(found)
    chosen = heapq.nsmallest(limit, everything, key=lambda pair: draw(seed, "limit", pair[0].id))
    kept = {record.id for record, _ in chosen}
    for record, changes in everything:
        if record.id in kept:
            yield record, changes
        else:
            read.over_limit[record.source] += 1


def _read_source(
    name: str,
    source: Source,
    paths: Sequence[Path],
    read: _Read,
    advance: Callable[[Path, int], None],
) -> Iterator[tuple[Record, list[Change]]]:
    """Usable records with what their reader changed; unusable ones go to ``read.rejected``."""
    seen: set[str] = set()
    for path in paths:
        characters = 0
        for number, item in enumerate(sources.read(source, path)):
            if isinstance(item, Rejected):
                where = {"source": name, "file": path.name, "row": item.row, "line": item.line}
                if item.member:
                    where["member"] = item.member
                read.rejected.append(where | {"reason": item.reason})
                continue
            record = _record(name, source, path.name, item)
            if record.id in seen:
                raise MulmedError(
                    f"Two files named {path.name} hold the same record in the same place.",
                    where=f"corpus.sources.{name}.path, row {item.row}",
                    remedy="Name only one of the copies.",
                )
            seen.add(record.id)
            characters += sum(len(turn.text) for turn in record.turns)
            if number % CHUNK == 0:
                advance(path, characters)
            yield record, _changes(record, item)


def _record(name: str, source: Source, file: str, item: Found) -> Record:
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
        baselines=parsed.baselines,
    )


def _changes(record: Record, item: Found) -> list[Change]:
    return [
        Change(
            record.id,
            record.source,
            "read",
            "changed" if note.changes else "noted",
            note.rule,
            note.count,
            removed=note.characters,
        )
        for note in item.parsed.notes
    ]


def _too_many_rejected(
    name: str, source: Source, found: int, rejected: list[dict[str, Any]], rejected_file: Path
) -> MulmedError:
    where = f"corpus.sources.{name}"
    if not rejected:
        return MulmedError(
            "The source has no record.",
            where=f"{where}: {', '.join(source.paths)}",
            remedy=f"Check that the file is in the {source.layout} layout and not empty.",
        )
    reason, times = Counter(entry["reason"] for entry in rejected).most_common(1)[0]
    first = next(entry for entry in rejected if entry["reason"] == reason)
    total = found + len(rejected)
    remedy = f"Check that the file is in the {source.layout} layout. All rejected rows: {rejected_file}."
    if found:
        share = math.ceil(100 * len(rejected) / total) / 100
        remedy += f" If they may be left out, set {where}.max_rejected to {share:.2f}."
    return MulmedError(
        f"{len(rejected)} of {total} records cannot be used ({source.max_rejected:.1%} are allowed); "
        f"most often ({times} times): {reason}.",
        where=f"{where}: {first['file']}, row {first['row']}, line {first['line']}",
        remedy=remedy,
    )


def _reading(read: _Read, audit: pl.DataFrame) -> Passage:
    """The first passage of the funnel: from the files' records to the table."""
    rules = rule_counts(audit)
    rules.update(Counter(f"rejected: {entry['reason']}" for entry in read.rejected))
    usable, over = read.by_source.total(), read.over_limit.total()
    if over:
        rules["over the limit"] = over
    return Passage(
        "read",
        records_in=usable + len(read.rejected) + over,
        records_out=usable,
        changed=audit.filter(pl.col("action") == "changed")["id"].n_unique(),
        rules=rules,
        by_source=dict(sorted(read.by_source.items())),
    )


def _check_splits(settings: Corpus, batch: pl.DataFrame, passages: Sequence[Passage]) -> None:
    wanted: dict[Split, bool] = {
        "train": True,
        "test": any(
            s.split.test > 0 if isinstance(s.split, Holdout) else s.split == "test"
            for s in settings.sources.values()
        ),
    }
    for split, needed in wanted.items():
        if needed and batch.filter(pl.col("split") == split).is_empty():
            lost = ", ".join(f"{p.stage} {p.records_in - p.records_out}" for p in passages)
            raise MulmedError(
                f"No {split} record is left after cleaning.",
                where=f"corpus (records dropped by stage: {lost})",
                remedy="Add data, give a source that split, or switch off the stage that dropped most.",
            )


def _write_parquet(path: Path, table: pl.DataFrame) -> None:
    table.write_parquet(path, compression="zstd", compression_level=3, row_group_size=50_000)


def _write_json(path: Path, document: Any) -> None:
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=1)
    path.write_text(text + "\n", encoding="utf-8")


def _write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
