"""The corpus stage: read every source, clean, and write the records with an account of each."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from mulmed.corpus import statistics
from mulmed.corpus.audit import Passage, funnel, together
from mulmed.corpus.batch import AUDIT_SCHEMA, Held, from_batch, held
from mulmed.corpus.card import data_card
from mulmed.corpus.clean import Cleaned, Compare, First, Second, first, overlaps, second
from mulmed.corpus.decontaminate import Overlap, contaminated
from mulmed.corpus.deduplicate import Duplicate, duplicates, shingles
from mulmed.corpus.executor import executor
from mulmed.corpus.files import resolve
from mulmed.corpus.reading import Progress, Reader, check_rejected
from mulmed.corpus.record import Split
from mulmed.corpus.testset import index
from mulmed.corpus.truncate import CountTokens, Overhead
from mulmed.errors import MulmedError
from mulmed.recipe import Corpus, Holdout
from mulmed.recipe.language import added

#: By language and split.
Texts = Mapping[tuple[str, Split], Sequence[str]]
#: From all texts to the template's overhead and the count of tokens with the tokens learned from them.
Extend = Callable[[Texts, Progress], tuple[Overhead, CountTokens]]


def build_corpus(
    settings: Corpus,
    data: Path,
    out: Path,
    *,
    seed: int,
    cutoff: int,
    overhead: Overhead,
    count_tokens: CountTokens,
    extend: Extend | None = None,
    progress: Progress | None = None,
) -> None:
    """Write ``records.parquet``, ``audit.parquet``, ``rejected.jsonl``, ``funnel.json``,
    ``statistics.json`` and ``data_card.md`` into ``out``; the same settings and files give the same bytes, wherever and in
    however many processes the work is done.

    Args:
        data: folder that the sources' paths are relative to.
        seed: decides, with the question, which side of a split a record falls on.
        cutoff: tokens an example may have, template included.
        overhead: (task, language) -> tokens of the template for the first round, for each later one.
        count_tokens: number of tokens of each of some texts; sent to the workers.
        extend: learns more tokens from the cleaned texts, before anything is shortened to a number of them.
        progress: called with the stage's name, how much of it is done, and of how much.

    Raises:
        MulmedError: a file is missing or unreadable, a source has no usable record or too many that are
            not, or nothing is left to train on or, where the recipe holds out a test set, to test on.
    """
    report = progress or (lambda *_: None)
    out.mkdir(parents=True, exist_ok=True)
    rejected_file = out / "rejected.jsonl"
    languages = tuple(added().values())
    paths = {
        name: resolve(data, source.paths, where=f"corpus.sources.{name}.path")
        for name, source in settings.sources.items()
    }
    reader = Reader(settings, paths, seed, report)
    with executor(settings.executor, out) as workers:
        cleaned = _Gathered()
        account = _Account(settings, reader, rejected_file)
        for done in workers.map(
            partial(first, First(settings, seed, workers.folder, languages)), reader.chunks()
        ):
            cleaned.add(done)
            account.add(done)
        account.close()
        _check_ids(cleaned.batches)

        repeated: dict[str, Duplicate] = {}
        if settings.deduplicate is not None:
            report("comparing records", 0, 0)
            sketches = pl.concat(map(held, cleaned.sketches))
            cleaned.sketches.clear()
            repeated = duplicates(sketches, partial(_shingles_of, cleaned.batches), settings.deduplicate)
            del sketches
        leaked: dict[str, Overlap] = {}
        if settings.decontaminate is not None:
            gone = pl.Series(list(repeated), dtype=pl.String)
            tests = index(_test_records(cleaned.batches, gone), settings.decontaminate)
            found = []
            for of_chunk in workers.map(partial(overlaps, Compare(tests, gone)), cleaned.batches):
                found.append(of_chunk)
                report("chunks compared with the test set", len(found), len(cleaned.batches))
            leaked = contaminated(pl.concat(found))

        if extend is not None:
            texts = _texts_left(cleaned.batches, [*repeated, *leaked])
            overhead, count_tokens = extend(texts, report)
            del texts
        work = Second(settings, repeated, leaked, cutoff, overhead, count_tokens, workers.folder, languages)
        shortened, total = _Gathered(), len(cleaned.batches)
        lengths = _lengths_left(cleaned, [*repeated, *leaked])
        for done in workers.map(partial(second, work), _handed_over(cleaned.batches)):
            shortened.add(done)
            report("chunks shortened", len(shortened.batches), total)

        batch = pl.concat(map(held, shortened.batches))
        passages = [*account.passages(cleaned.passages), *together(shortened.passages)]
        _check_splits(settings, batch, passages)
        audit = _in_order([*cleaned.audits, *shortened.audits], passages)
        document = statistics.statistics(
            pl.concat(cleaned.lengths_read), lengths, batch,
            removals=cleaned.counts, mentions=shortened.counts,
        ) | {"records_sha256": hashlib.sha256(b"".join(shortened.digests)).hexdigest()}  # fmt: skip
        _write_parquet(out / "records.parquet", batch)
        _write_parquet(out / "audit.parquet", audit)

    stages = funnel(settings.sources, passages)
    used = {source.language for source in settings.sources.values()} | set(batch["language"])
    if gaps := {language.code: list(language.gaps) for language in languages if language.code in used}:
        stages["languages"] = gaps
    _write_json(out / "funnel.json", stages)
    _write_json(out / "statistics.json", document)
    (out / "data_card.md").write_text(data_card(settings, document, stages), encoding="utf-8")


@dataclass(slots=True)
class _Gathered:
    """What a pass made of all chunks, in their order."""

    batches: list[Held] = field(default_factory=list)
    audits: list[Held] = field(default_factory=list)
    passages: list[tuple[Passage, ...]] = field(default_factory=list)
    lengths_read: list[pl.DataFrame] = field(default_factory=list)
    lengths: list[pl.DataFrame] = field(default_factory=list)
    sketches: list[Held] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, done: Cleaned) -> None:
        self.batches.append(done.batch)
        self.audits.append(done.audit)
        self.passages.append(done.passages)
        self.lengths_read.append(done.lengths_read)
        self.lengths.append(done.lengths)
        if done.sketches is not None:
            self.sketches.append(done.sketches)
        self.digests.append(done.digests)
        self.counts.update(done.counts)


class _Account:
    """Rows read, by source: stops the run at the first source of which too little can be used."""

    def __init__(self, settings: Corpus, reader: Reader, rejected_file: Path) -> None:
        self._settings, self._reader, self._file = settings, reader, rejected_file
        self._unchecked = list(settings.sources)
        self._rejected: list[Mapping[str, Any]] = []
        self._usable: Counter[str] = Counter()

    def add(self, done: Cleaned) -> None:
        """Count a chunk. Sources before the last it has rows of are complete, and checked."""
        read = done.passages[0]
        self._usable.update(read.by_source)
        self._rejected += done.rejected
        here = {*read.by_source, *(row["source"] for row in done.rejected)}
        last = max(here, key=list(self._settings.sources).index)
        while self._unchecked[0] != last:
            self._check(self._unchecked.pop(0))

    def close(self) -> None:
        """All chunks are read, or as many as could be."""
        # Written before anything else can fail, so that the reasons are there to be looked up.
        _write_lines(self._file, self._rejected)
        if self._reader.error is not None:
            raise self._reader.error
        for name in self._unchecked:
            self._check(name)

    def _check(self, name: str) -> None:
        rejected = [row for row in self._rejected if row["source"] == name]
        over = self._reader.over_limit[name]
        try:
            check_rejected(name, self._settings.sources[name], self._usable[name], over, rejected, self._file)
        except MulmedError:
            _write_lines(self._file, self._rejected)
            raise

    def passages(self, chunks: Sequence[Sequence[Passage]]) -> list[Passage]:
        """Those of the first pass; what a limit left out belongs to the first of them."""
        read, *others = together(chunks)
        if over := self._reader.over_limit.total():
            rules = {**read.rules, "over the limit": over}
            read = replace(read, records_in=read.records_in + over, rules=rules)
        return [read, *others]


def _check_ids(batches: Sequence[Held]) -> None:
    """Refuse two records with one id: a row of a file that is named twice, by two paths."""
    table = pl.concat([held(batch).select("id", "source", "file", "row") for batch in batches])
    again = table.filter(pl.col("id").is_duplicated())
    if not again.is_empty():
        _, source, file, row = again.row(0)
        raise MulmedError(
            f"Two files named {file} hold the same record in the same place.",
            where=f"corpus.sources.{source}.path, row {row}",
            remedy="Name only one of the copies.",
        )


def _handed_over(batches: list[Held]) -> Iterator[Held]:
    """Each of them, kept here no longer."""
    batches.reverse()
    while batches:
        yield batches.pop()


def _in_order(audits: Sequence[Held], passages: Sequence[Passage]) -> pl.DataFrame:
    """One audit, stage by stage, in which the records keep the corpus's order."""
    order = {p.stage: i for i, p in enumerate(passages)}
    whole = pl.concat(map(held, audits)) if audits else pl.DataFrame(schema=AUDIT_SCHEMA)
    rank = pl.col("stage").replace_strict(order, return_dtype=pl.Int8)
    return whole.sort(rank, maintain_order=True)


def _test_records(batches: Sequence[Held], gone: pl.Series) -> pl.DataFrame:
    wanted = (pl.col("split") == "test") & ~pl.col("id").is_in(gone.implode())
    return pl.concat([held(batch).filter(wanted) for batch in batches])


def _shingles_of(batches: Sequence[Held], ids: Sequence[str]) -> pl.DataFrame:
    wanted = pl.col("id").is_in(pl.Series(ids, dtype=pl.String).implode())
    return shingles(list(from_batch(pl.concat([held(batch).filter(wanted) for batch in batches]))))


def _texts_left(batches: Sequence[Held], gone: Sequence[str]) -> Texts:
    """By language and split, the questions, answers and contexts of all records but those that are gone."""
    ids = pl.Series(gone, dtype=pl.String).implode()
    texts: dict[tuple[str, Split], list[str]] = {}
    for batch in batches:
        for record in from_batch(held(batch).filter(~pl.col("id").is_in(ids))):
            of_record = [turn.text for turn in record.turns]
            texts.setdefault((record.language, record.split), []).extend(
                filter(None, [*of_record, record.context])
            )
    return texts


def _lengths_left(cleaned: _Gathered, gone: Sequence[str]) -> pl.DataFrame:
    """The lengths of all records but those that are gone."""
    ids = pl.Series(gone, dtype=pl.String).implode()
    left = (~held(batch)["id"].is_in(ids) for batch in cleaned.batches)
    return pl.concat([table.filter(mask) for table, mask in zip(cleaned.lengths, left, strict=True)])


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
