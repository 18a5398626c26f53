"""What is done to one chunk of the corpus: plain functions that any executor can run anywhere.

There are three passes, because duplicates and contamination are known only when the whole corpus has been
seen: ``first`` parses, mends, masks and moderates; ``overlaps`` looks for the test set in what is left; ``second``
drops what the corpus as a whole decided, and shortens. None looks at anything but its chunk and its settings,
so that the result is the same however the corpus is cut up and wherever it is worked on.

Where workers share a folder, tables travel from one pass to the next as Arrow files that are mapped into memory,
and nothing but their names goes through the process that leads them.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import polars as pl

from mulmed.corpus import statistics
from mulmed.corpus.audit import Passage
from mulmed.corpus.batch import Change, Held, audit_frame, from_batch, held, hold, to_batch
from mulmed.corpus.decontaminate import Overlap, hits
from mulmed.corpus.deduplicate import Duplicate, sketch
from mulmed.corpus.deidentify import deidentify_records
from mulmed.corpus.moderate import moderate_records, removals
from mulmed.corpus.reading import Chunk, Read, parse
from mulmed.corpus.record import Record
from mulmed.corpus.repair import repair_record
from mulmed.corpus.stage import Outcome, changes_of
from mulmed.corpus.testset import TestIndex
from mulmed.corpus.truncate import CountTokens, Overhead, truncate_records
from mulmed.recipe import Corpus, Language
from mulmed.recipe.language import using


@dataclass(frozen=True, slots=True)
class First:
    """What the first pass needs to know. Everything in it can be pickled.

    ``folder`` is where its tables are left for the next pass; without one they are handed back themselves.
    """

    corpus: Corpus
    seed: int
    folder: Path | None = None
    languages: tuple[Language, ...] = ()

    @property
    def surrogate_key(self) -> bytes:
        """Decides which made-up values take whose place."""
        return hashlib.sha256((self.corpus.key or f"seed {self.seed}").encode()).digest()


@dataclass(frozen=True, slots=True)
class Compare:
    """What the comparison with the test set needs to know: that, and the ids of the records that are gone already."""

    tests: TestIndex
    gone: pl.Series


@dataclass(frozen=True, slots=True)
class Second:
    """What the second pass needs to know."""

    corpus: Corpus
    duplicates: Mapping[str, Duplicate]
    contaminated: Mapping[str, Overlap]
    cutoff: int
    overhead: Overhead
    count_tokens: CountTokens
    folder: Path | None = None
    languages: tuple[Language, ...] = ()


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A chunk after a pass.

    Attributes:
        batch: the records kept, in their order.
        audit: a row for each change (:data:`~mulmed.corpus.batch.AUDIT_SCHEMA`).
        passages: the funnel's line of each stage, for this chunk.
        counts: additive: of the first pass removals by group, of the second clinical mentions.
        rejected: of the first pass, the rows that are no records (:class:`~mulmed.corpus.reading.Read`).
        lengths_read, lengths: after the first pass, :func:`~mulmed.corpus.statistics.lengths` of the records as
            read, and of those kept.
        sketches: after the first pass, what finding duplicates needs.
        digests: after the second pass, a SHA-256 of each record kept.
    """

    batch: Held
    audit: Held
    passages: tuple[Passage, ...]
    counts: Mapping[str, int]
    rejected: Sequence[Mapping[str, Any]] = ()
    lengths_read: pl.DataFrame = field(default_factory=pl.DataFrame)
    lengths: pl.DataFrame = field(default_factory=pl.DataFrame)
    sketches: Held | None = None
    digests: bytes = b""


def first(settings: First, chunk: Chunk) -> Cleaned:
    """Parsing, repair, de-identification and moderation of one chunk of rows, and its sketches."""
    with using(settings.languages):
        return _first(settings, chunk)


def _first(settings: First, chunk: Chunk) -> Cleaned:
    corpus = settings.corpus
    read = parse(corpus, settings.seed, chunk)
    records = read.records
    run, key = _Run(corpus.key), settings.surrogate_key
    run.read(read)
    if corpus.repair:
        mended = [repair_record(record, simplify=corpus.simplify) for record in records]
        records = run.stage("repair", records, mended)
    if (deidentify := corpus.deidentify) is not None:
        records = run.stage("deidentify", records, deidentify_records(records, deidentify, key))
    counts: dict[str, int] = {}
    if corpus.moderate:
        decided = moderate_records(records)
        outcomes = [outcome for outcome, _ in decided]
        records = run.stage("moderate", records, outcomes)
        counts = _removals_by_group((groups, outcome.record is None) for outcome, groups in decided)
    lengths_read, lengths = _lengths(read.records, records)
    return Cleaned(
        batch=hold(to_batch(records), settings.folder),
        audit=hold(run.audit(), settings.folder),
        passages=run.passages,
        counts=counts,
        rejected=read.rejected,
        lengths_read=lengths_read,
        lengths=lengths,
        sketches=hold(sketch(records, corpus.deduplicate), settings.folder) if corpus.deduplicate else None,
    )


def _lengths(read: Sequence[Record], kept: Sequence[Record]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Lengths of the records as read, and of those of them that are kept: measured again where their texts changed."""
    measured = statistics.lengths(read)
    places = {record.id: i for i, record in enumerate(read)}
    changed: list[Record] = []
    rows: list[int] = []
    for record in kept:
        place = places[record.id]
        before = read[place]
        if record.turns is not before.turns or record.context is not before.context:
            place = len(read) + len(changed)
            changed.append(record)
        rows.append(place)
    return measured, pl.concat([measured, statistics.lengths(changed)])[rows]


def _removals_by_group(decided: Iterable[tuple[tuple[str, ...], bool]]) -> dict[str, int]:
    """``GROUP records`` and ``GROUP removed`` for each group of people that records name."""
    rows = removals(decided)
    return {
        f"{r.group} {what}": n for r in rows for what, n in (("records", r.records), ("removed", r.removed))
    }


def overlaps(settings: Compare, batch: Held) -> pl.DataFrame:
    """What the records of one chunk have in common with the test set."""
    return hits(settings.tests, held(batch).filter(~pl.col("id").is_in(settings.gone.implode())))


def second(settings: Second, batch: Held) -> Cleaned:
    """Duplicates and contaminated records out of one chunk, and the rest shortened."""
    run = _Run(settings.corpus.key)
    records = list(from_batch(held(batch)))
    for stage, wanted, gone in (
        ("deduplicate", settings.corpus.deduplicate, settings.duplicates),
        ("decontaminate", settings.corpus.decontaminate, settings.contaminated),
    ):
        if wanted is not None:
            records = run.stage(stage, records, [_unless(gone.get(record.id), record) for record in records])
    with using(settings.languages):
        truncated = truncate_records(records, settings.cutoff, settings.overhead, settings.count_tokens)
    kept = run.stage("truncate", records, truncated.outcomes)
    return Cleaned(
        batch=hold(to_batch(kept), settings.folder),
        audit=hold(run.audit(), settings.folder),
        passages=run.passages,
        counts=truncated.mentions,
        digests=b"".join(map(digest, kept)),
    )


def _unless(found: Duplicate | Overlap | None, record: Record) -> Outcome:
    return Outcome(record) if found is None else found.outcome


class _Run:
    """The stages that one chunk goes through, with the account of each."""

    def __init__(self, key: str | None) -> None:
        self._key = None if key is None else hashlib.sha256(f"audit {key}".encode()).digest()
        self._changes: list[Change] = []
        self._passages: list[Passage] = []

    def read(self, read: Read) -> None:
        """The funnel's first line, from rows to records."""
        rules: Counter[str] = Counter()
        for change in read.changes:
            rules[change.rule] += change.count
        rules.update(f"rejected: {row['reason']}" for row in read.rejected)
        usable = len(read.records)
        changed = len({change.id for change in read.changes if change.action == "changed"})
        by_source = Counter(record.source for record in read.records)
        self._changes += read.changes
        self._passages.append(
            Passage("read", usable + len(read.rejected), usable, changed, dict(rules), dict(by_source))
        )

    def stage(self, stage: str, records: Sequence[Record], outcomes: Sequence[Outcome]) -> list[Record]:
        """The records kept, with the account of what was decided about each of ``records``."""
        kept = [outcome.record for outcome in outcomes if outcome.record is not None]
        changed = 0
        rules: Counter[str] = Counter()
        for before, outcome in zip(records, outcomes, strict=True):
            if outcome.findings:
                changed += outcome.record is not None
                for change in changes_of(stage, before, outcome, self._key):
                    self._changes.append(change)
                    rules[change.rule] += change.count
            elif outcome.record is None:
                raise RuntimeError(f"stage {stage!r} dropped {before.id} without a reason")
        by_source = Counter(map(attrgetter("source"), kept))
        self._passages.append(Passage(stage, len(records), len(kept), changed, dict(rules), dict(by_source)))
        return kept

    @property
    def passages(self) -> tuple[Passage, ...]:
        """The funnel's lines so far."""
        return tuple(self._passages)

    def audit(self) -> pl.DataFrame:
        """The rows of all changes so far."""
        return audit_frame(self._changes)


def digest(record: Record) -> bytes:
    """SHA-256 over everything that a record says and is, independent of the file format it is kept in."""
    parts = [
        record.id, record.task, record.language, record.split, record.source, record.file, str(record.row),
        record.context, "1" if record.answer_cut else "0", *record.tags,
    ]  # fmt: skip
    for turn in record.turns:
        parts += (turn.role, turn.text)
    for pair in record.baselines.items():
        parts += pair
    return hashlib.sha256("\x00".join(parts).encode("utf-8")).digest()
