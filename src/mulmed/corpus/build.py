"""The corpus stage: read every source, clean, and write the records with an account of each."""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from mulmed.corpus import sources, statistics
from mulmed.corpus.audit import Passage, funnel, passage, rule_counts, source_counts
from mulmed.corpus.batch import Change, StageResult, audit_frame, to_batch
from mulmed.corpus.decontaminate import decontaminate
from mulmed.corpus.deduplicate import deduplicate
from mulmed.corpus.deidentify import deidentify
from mulmed.corpus.files import resolve
from mulmed.corpus.moderate import moderate
from mulmed.corpus.record import Record, Split, record_id
from mulmed.corpus.repair import repair
from mulmed.corpus.sources.layout import Found, Rejected
from mulmed.corpus.truncate import truncate
from mulmed.errors import MulmedError
from mulmed.recipe import Corpus, Holdout, Source

Progress = Callable[[str, int, int], None]


@dataclass(slots=True)
class _Read:
    """What came out of the sources."""

    records: list[Record] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    rejected: list[dict[str, Any]] = field(default_factory=list)
    over_limit: int = 0


def build_corpus(
    settings: Corpus,
    data: Path,
    out: Path,
    *,
    seed: int,
    cutoff: int,
    overhead: Mapping[tuple[str, str], tuple[int, int]],
    count_tokens: Callable[[Sequence[str]], list[int]],
    progress: Progress | None = None,
) -> None:
    """Write ``records.parquet``, ``audit.parquet``, ``rejected.jsonl``, ``funnel.json`` and
    ``statistics.json`` into ``out``; the same settings and files give the same bytes.

    Args:
        data: folder that the sources' paths are relative to.
        seed: decides, with the question, which side of a split a record falls on.
        cutoff: tokens an example may have, template included.
        overhead: (task, language) -> tokens of the template for the first round, for each later one.
        count_tokens: number of tokens of each of some texts.
        progress: called with the stage's name, how much of it is done, and of how much.

    Raises:
        MulmedError: a file is missing or unreadable, a source has no usable record or too many that are
            not, or nothing is left to train on or, where the recipe holds out a test set, to test on.
    """
    report = progress or (lambda *_: None)
    out.mkdir(parents=True, exist_ok=True)
    read = _read_all(settings, data, out / "rejected.jsonl", seed, report)
    _write_lines(out / "rejected.jsonl", read.rejected)

    batch = as_read = to_batch(read.records)
    audits = [audit_frame(read.changes)]
    passages = [_reading(read, batch, audits[0])]
    whole = batch
    for stage, clean in _stages(settings, cutoff, overhead, count_tokens):
        whole = batch  # in the end, what the last stage, truncate, was given
        report(stage, 0, batch.height)
        result = clean(batch)
        passages.append(passage(stage, batch, result))
        report(stage, batch.height, batch.height)
        audits.append(result.audit)
        batch = result.batch
    _check_splits(settings, batch, passages)

    _write_parquet(out / "records.parquet", batch)
    _write_parquet(out / "audit.parquet", pl.concat(audits))
    _write_json(out / "funnel.json", funnel(settings.sources, passages))
    _write_json(out / "statistics.json", statistics.statistics(as_read, whole, batch))


def _stages(
    settings: Corpus,
    cutoff: int,
    overhead: Mapping[tuple[str, str], tuple[int, int]],
    count_tokens: Callable[[Sequence[str]], list[int]],
) -> Iterator[tuple[str, Callable[[pl.DataFrame], StageResult]]]:
    """The stages that are switched on, in their order.

    Text is mended before anything is looked for in it; duplicates are found after masking has made
    equal what differs in a name alone; texts are cut last, so that every rule saw them whole.
    """
    if settings.repair:
        yield "repair", repair
    if settings.deidentify:
        yield "deidentify", deidentify
    if settings.moderate:
        yield "moderate", moderate
    if settings.deduplicate:
        yield "deduplicate", deduplicate
    if (overlap := settings.decontaminate) is not None:
        yield "decontaminate", lambda batch: decontaminate(batch, overlap)
    yield "truncate", lambda batch: truncate(batch, cutoff, overhead, count_tokens)


def _read_all(settings: Corpus, data: Path, rejected_file: Path, seed: int, report: Progress) -> _Read:
    read = _Read()
    for done, (name, source) in enumerate(settings.sources.items()):
        report("read", done, len(settings.sources))
        rejected_before = len(read.rejected)
        found = list(_read_source(name, source, data, seed, read))
        rejected = read.rejected[rejected_before:]
        if not found or len(rejected) > source.max_rejected * (len(found) + len(rejected)):
            _write_lines(rejected_file, read.rejected)
            raise _too_many_rejected(name, source, len(found), rejected, rejected_file)
        if source.limit is not None and len(found) > source.limit:
            read.over_limit += len(found) - source.limit
            chosen = heapq.nsmallest(source.limit, found, key=lambda pair: _draw(seed, "limit", pair[0].id))
            kept = {record.id for record, _ in chosen}
            found = [pair for pair in found if pair[0].id in kept]
        for record, changes in found:
            read.records.append(record)
            read.changes.extend(changes)
    report("read", len(settings.sources), len(settings.sources))
    return read


def _read_source(
    name: str, source: Source, data: Path, seed: int, read: _Read
) -> Iterator[tuple[Record, list[Change]]]:
    """Usable records with what their reader changed; unusable ones go to ``read.rejected``."""
    seen: set[str] = set()
    for path in resolve(data, source.paths, where=f"corpus.sources.{name}.path"):
        for item in sources.read(source.layout, path, source.turns):
            if isinstance(item, Rejected):
                where = {"source": name, "file": path.name, "row": item.row, "line": item.line}
                read.rejected.append(where | {"reason": item.reason})
                continue
            record = _record(name, source, path.name, item, seed)
            if record.id in seen:
                raise MulmedError(
                    f"Two files named {path.name} hold the same record in the same place.",
                    where=f"corpus.sources.{name}.path, row {item.row}",
                    remedy="Name only one of the copies.",
                )
            seen.add(record.id)
            yield record, _changes(record, item)


def _record(name: str, source: Source, file: str, item: Found, seed: int) -> Record:
    parsed = item.parsed
    key = _question_key(parsed.turns[0].text, parsed.context)
    return Record(
        id=record_id(name, file, item.row, parsed.turns, parsed.context),
        task=parsed.task,
        language=parsed.language or source.language,
        turns=parsed.turns,
        source=name,
        file=file,
        row=item.row,
        context=parsed.context,
        split=_split(source.split, key, seed),
        baselines=parsed.baselines,
    )


def _changes(record: Record, item: Found) -> list[Change]:
    texts = (*(turn.text for turn in record.turns), record.context, *record.baselines.values())
    after = sum(map(len, texts))
    before = after + sum(note.characters for note in item.parsed.notes)
    return [
        Change(record.id, record.source, "read", "changed", note.rule, note.count, before, after)
        for note in item.parsed.notes
    ]


def _question_key(question: str, context: str) -> str:
    """What two records that ask the same have in common: letters and digits alone, case folded."""
    text = unicodedata.normalize("NFKC", f"{question} {context}").casefold()
    return "".join(filter(str.isalnum, text)) or text


def _draw(seed: int, purpose: str, key: str) -> float:
    """A number in [0, 1) that depends on nothing but its arguments."""
    digest = hashlib.sha256(f"{seed}\0{purpose}\0{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def _split(split: Split | Holdout, key: str, seed: int) -> Split:
    if not isinstance(split, Holdout):
        return split
    drawn = _draw(seed, "split", key)
    if drawn < split.test:
        return "test"
    return "validation" if drawn < split.test + split.validation else "train"


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


def _reading(read: _Read, batch: pl.DataFrame, audit: pl.DataFrame) -> Passage:
    """The first passage of the funnel: from the files' records to the table."""
    rules = rule_counts(audit)
    rules.update(Counter(f"rejected: {entry['reason']}" for entry in read.rejected))
    if read.over_limit:
        rules["over the limit"] = read.over_limit
    return Passage(
        "read",
        records_in=batch.height + len(read.rejected) + read.over_limit,
        records_out=batch.height,
        changed=audit["id"].n_unique(),
        rules=rules,
        by_source=source_counts(batch),
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
