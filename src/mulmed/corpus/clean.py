"""What is done to one chunk of the corpus: plain functions that any executor can run anywhere.

There are three passes, because duplicates and contamination are known only when the whole corpus has been
seen: ``first`` parses, mends, masks and moderates; ``overlaps`` looks for the test set in what is left; ``second``
drops what the corpus as a whole decided, and shortens. None looks at anything but its chunk and its settings,
so that the result is the same however the corpus is cut up and wherever it is worked on.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import polars as pl

from mulmed.corpus import statistics
from mulmed.corpus.audit import Passage
from mulmed.corpus.batch import Change, audit_frame, from_batch, to_batch
from mulmed.corpus.decontaminate import Overlap, TestIndex
from mulmed.corpus.deduplicate import Duplicate, sketch
from mulmed.corpus.deidentify import deidentify_record
from mulmed.corpus.moderate import moderate_records, removals
from mulmed.corpus.reading import Chunk, Read, parse
from mulmed.corpus.record import Record
from mulmed.corpus.repair import repair_record
from mulmed.corpus.stage import Outcome, changes_of
from mulmed.corpus.truncate import CountTokens, Overhead, truncate_records
from mulmed.recipe import Corpus


@dataclass(frozen=True, slots=True)
class First:
    """What the first pass needs to know. Everything in it can be pickled."""

    corpus: Corpus
    seed: int

    @property
    def surrogate_key(self) -> bytes:
        """Decides which made-up values take whose place."""
        return hashlib.sha256((self.corpus.key or f"seed {self.seed}").encode()).digest()


@dataclass(frozen=True, slots=True)
class Second:
    """What the second pass needs to know."""

    corpus: Corpus
    duplicates: Mapping[str, Duplicate]
    contaminated: Mapping[str, Overlap]
    cutoff: int
    overhead: Overhead
    count_tokens: CountTokens


@dataclass(frozen=True, slots=True)
class Cleaned:
    """A chunk after a pass.

    Attributes:
        batch: the records kept, in their order.
        audit: a row for each change (:data:`~mulmed.corpus.batch.AUDIT_SCHEMA`).
        passages: the funnel's line of each stage, for this chunk.
        lengths: :func:`~mulmed.corpus.statistics.lengths` of the texts when the pass began.
        rejected: of the first pass, the rows that are no records (:class:`~mulmed.corpus.reading.Read`).
        sketches: after the first pass, what finding duplicates needs.
        digests: after the second pass, a SHA-256 of each record kept.
        counts: additive: of the first pass removals by group, of the second clinical mentions.
    """

    batch: pl.DataFrame
    audit: pl.DataFrame
    passages: tuple[Passage, ...]
    lengths: pl.DataFrame
    rejected: Sequence[Mapping[str, Any]] = ()
    sketches: pl.DataFrame | None = None
    digests: bytes = b""
    counts: Mapping[str, int] = field(default_factory=dict)


def first(settings: First, chunk: Chunk) -> Cleaned:
    """Parsing, repair, de-identification and moderation of one chunk of rows, and its sketches."""
    corpus = settings.corpus
    read = parse(corpus, settings.seed, chunk)
    records, lengths = read.records, statistics.lengths(read.records)
    run, key = _Run(corpus.key), settings.surrogate_key
    run.read(read)
    if corpus.repair:
        records = run.each("repair", records, lambda r: repair_record(r, simplify=corpus.simplify))
    if (deidentify := corpus.deidentify) is not None:
        records = run.each("deidentify", records, lambda r: deidentify_record(r, deidentify, key))
    counts: dict[str, int] = {}
    if corpus.moderate:
        decided = moderate_records(records)
        outcomes = [outcome for outcome, _ in decided]
        records = run.stage("moderate", zip(records, outcomes, strict=True))
        counts = _removals_by_group((groups, outcome.record is None) for outcome, groups in decided)
    sketches = sketch(records, corpus.deduplicate) if corpus.deduplicate else None
    return run.cleaned(records, lengths, rejected=read.rejected, sketches=sketches, counts=counts)


def _removals_by_group(decided: Iterable[tuple[tuple[str, ...], bool]]) -> dict[str, int]:
    """``GROUP records`` and ``GROUP removed`` for each group of people that records name."""
    rows = removals(decided)
    return {
        f"{r.group} {what}": n for r in rows for what, n in (("records", r.records), ("removed", r.removed))
    }


def overlaps(tests: TestIndex, batch: pl.DataFrame) -> pl.DataFrame:
    """What the records of one chunk have in common with the test set."""
    return tests.hits(batch)


def second(settings: Second, batch: pl.DataFrame) -> Cleaned:
    """Duplicates and contaminated records out of one chunk, and the rest shortened."""
    run = _Run(settings.corpus.key)
    records = list(from_batch(batch))
    for stage, wanted, gone in (
        ("deduplicate", settings.corpus.deduplicate, settings.duplicates),
        ("decontaminate", settings.corpus.decontaminate, settings.contaminated),
    ):
        if wanted is not None:
            records = run.each(stage, records, partial(_without, gone))
    lengths = statistics.lengths(records)
    truncated = truncate_records(records, settings.cutoff, settings.overhead, settings.count_tokens)
    kept = run.stage("truncate", zip(records, truncated.outcomes, strict=True))
    digests = b"".join(map(digest, kept))
    return run.cleaned(kept, lengths, digests=digests, counts=truncated.mentions)


def _without(gone: Mapping[str, Duplicate] | Mapping[str, Overlap], record: Record) -> Outcome:
    return gone[record.id].outcome if record.id in gone else Outcome(record)


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

    def each(
        self, stage: str, records: Sequence[Record], decide: Callable[[Record], Outcome]
    ) -> list[Record]:
        return self.stage(stage, ((record, decide(record)) for record in records))

    def stage(self, stage: str, decided: Iterable[tuple[Record, Outcome]]) -> list[Record]:
        kept: list[Record] = []
        changed = given = 0
        rules: Counter[str] = Counter()
        by_source: Counter[str] = Counter()
        for before, outcome in decided:
            given += 1
            if outcome.record is None and not outcome.findings:
                raise RuntimeError(f"stage {stage!r} dropped {before.id} without a reason")
            if outcome.record is not None:
                kept.append(outcome.record)
                by_source[before.source] += 1
                changed += bool(outcome.findings)
            if outcome.findings:
                for change in changes_of(stage, before, outcome, self._key):
                    self._changes.append(change)
                    rules[change.rule] += change.count
        self._passages.append(Passage(stage, given, len(kept), changed, dict(rules), dict(by_source)))
        return kept

    def cleaned(
        self,
        records: list[Record],
        lengths: pl.DataFrame,
        *,
        rejected: Sequence[Mapping[str, Any]] = (),
        sketches: pl.DataFrame | None = None,
        digests: bytes = b"",
        counts: Mapping[str, int] | None = None,
    ) -> Cleaned:
        audit, passages = audit_frame(self._changes), tuple(self._passages)
        batch = to_batch(records)
        return Cleaned(batch, audit, passages, lengths, rejected, sketches, digests, counts or {})


def digest(record: Record) -> bytes:
    """SHA-256 over everything that a record says and is, independent of the file format it is kept in."""
    parts = [
        record.id, record.task, record.language, record.split, record.source, record.file, str(record.row),
        record.context, str(int(record.answer_cut)), *record.tags,
        *(p for t in record.turns for p in (t.role, t.text)),
        *(p for pair in record.baselines.items() for p in pair),
    ]  # fmt: skip
    return hashlib.sha256("\x00".join(parts).encode("utf-8")).digest()
