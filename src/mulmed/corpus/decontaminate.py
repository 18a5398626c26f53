"""Training and validation records in which something of the test set is found again.

A record leaves for one of two reasons (rule): it holds so large a share of a test question's n-grams as the
recipe says, all of them where it repeats the question exactly (``test question``; a question too short for an
n-gram: when it equals a user's turn); or it has a long stretch of words or characters in common with a question
or answer of the test set (``shared passage``).

Doctors and platforms repeat themselves: "Hope I have answered your query, let me know if I can assist you
further" stands in every second answer, on both sides of a split. A stretch is therefore a stock phrase and no
sign of a leak when it occurs in :data:`STOCK_TEST` different test records, or most of it is made of shingles that do, or when
it occurs in :data:`STOCK_TRAINING` different training records, counted over the whole corpus; duplicates should
have gone before.
So that this can be counted wherever the records are, the work has three steps: :func:`index` once over the test records,
:meth:`TestIndex.hits` on each chunk of the others, :func:`contaminated` once on what they found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mulmed.corpus.deduplicate import SHINGLE
from mulmed.corpus.ngrams import Hashes, HashSet, Positions, Units, blocks, units
from mulmed.corpus.record import Record
from mulmed.corpus.stage import Finding, Outcome
from mulmed.recipe import Decontaminate

STOCK_TEST = 3
STOCK_TRAINING = 10
#: Of an n-gram of Chinese, this share at least must be Han characters: not "[HOSPITAL][DEPARTMENT]".
_HAN_SHARE = 0.5

#: What :meth:`TestIndex.hits` finds: one row for a record that leaves whatever the others hold (rule, test
#: record, share of its question's n-grams), else one for each stretch shared with a test record (its hash,
#: its position among the record's words or characters, and how many of them it has).
HIT_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "rule": pl.String(),
    "test": pl.String(),
    "overlap": pl.Float64(),
    "stretch": pl.UInt64(),
    "position": pl.Int64(),
    "units": pl.Int64(),
}


@dataclass(frozen=True, slots=True)
class Overlap:
    """A record that leaves: for which rule, the id of the test record, and how much of it was found.

    ``measure`` is the share of the test question's n-grams, or for a shared passage the number of its words
    or characters in common.
    """

    rule: str
    test: str
    measure: float

    @property
    def outcome(self) -> Outcome:
        """What the stage decides about the record."""
        measure = (
            f"{self.measure:.0f} in a row" if self.rule == "shared passage" else f"overlap {self.measure:.2f}"
        )
        return Outcome(None, (Finding(self.rule, 1, f"{self.test} {measure}"),))


@dataclass(frozen=True, slots=True)
class TestIndex:
    """The test set as hashes. It can be pickled.

    Attributes:
        ids: of the test records, sorted.
        sizes: number of distinct n-grams of each one's question.
        grams: n-grams of the questions, with the test records each is of.
        wholes: questions too short for an n-gram, with the test records that ask them.
        shared: stretches of any text of the test set that are no stock phrases, with the first of the test
            records each is of.
    """

    settings: Decontaminate
    ids: tuple[str, ...]
    sizes: Positions
    grams: _Postings
    wholes: _Postings
    shared: _Postings

    def hits(self, records: Sequence[Record]) -> pl.DataFrame:
        """What training and validation records have in common with the test set (:data:`HIT_SCHEMA`)."""
        others = [record for record in records if record.split != "test"] if self.ids else []
        tables = [pl.DataFrame(schema=HIT_SCHEMA)]
        for owner, block in _blocks([_texts(record) for record in others]):
            tables += self._hits(others, owner, block)
        return pl.concat(tables)

    def _hits(self, records: Sequence[Record], owner: Positions, block: Units) -> Iterator[pl.DataFrame]:
        best = self._questions(records, owner, block)
        if best:
            yield pl.DataFrame(
                {
                    "id": [records[i].id for i in best],
                    "rule": "test question",
                    "test": [self.ids[test] for test, _ in best.values()],
                    "overlap": [share for _, share in best.values()],
                    "stretch": None,
                    "position": None,
                    "units": None,
                },
                schema=HIT_SCHEMA,
            )
        sizes = self.settings.shared_en, self.settings.shared_zh
        text, position, hashes = _ngrams(block, *sizes)
        found, which = self.shared.hashes.find(hashes)
        undecided = ~np.isin(owner[text[found]], list(best))
        found, which = found[undecided], which[undecided]
        if len(found):
            yield pl.DataFrame(
                {
                    "id": [records[i].id for i in owner[text[found]]],
                    "rule": "shared passage",
                    "test": [self.ids[k] for k in self.shared.owners[self.shared.first[which]]],
                    "overlap": None,
                    "stretch": hashes[found],
                    "position": position[found],
                    "units": np.where(block.chinese[text[found]], sizes[1], sizes[0]),
                },
                schema=HIT_SCHEMA,
            )

    def _questions(
        self, records: Sequence[Record], owner: Positions, block: Units
    ) -> dict[int, tuple[int, float]]:
        """Records that hold a test question: the test record with the largest share, and that share."""
        text, _, hashes = _ngrams(block, self.settings.ngram_en, self.settings.ngram_zh)
        found, which = self.grams.hashes.find(hashes)
        records_found, tests = self.grams.pairs(owner[text[found]], which)
        pairs, counts = np.unique(records_found * len(self.ids) + tests, return_counts=True)
        shares = counts / self.sizes[pairs % len(self.ids)]
        best: dict[int, tuple[int, float]] = {}
        for pair, share in zip(pairs.tolist(), shares.tolist(), strict=True):
            i, test = divmod(pair, len(self.ids))
            if share >= self.settings.overlap and (i not in best or share > best[i][1]):
                best[i] = test, share
        asks = np.array([a for record in records[owner[0] : owner[-1] + 1] for a in _asks(record)])
        candidates = np.flatnonzero(asks & (block.lengths > 0))
        found, which = self.wholes.hashes.find(block.wholes()[candidates])
        for i, test in zip(*self.wholes.pairs(owner[candidates[found]], which), strict=True):
            best.setdefault(int(i), (int(test), 1.0))
        return best


@dataclass(frozen=True, slots=True)
class _Postings:
    """Hashes, and whose each is: number k is of the tests ``owners[first[k] : first[k + 1]]``."""

    hashes: HashSet
    first: Positions
    owners: Positions

    def pairs(self, finders: Positions, which: Positions) -> tuple[Positions, Positions]:
        """Each finder of hash number ``which`` with each test record it is of; no pair of them twice a hash."""
        if len(which):
            finders, which = np.unique(np.stack((finders, which)), axis=1)
        counts = self.first[which + 1] - self.first[which]
        before = np.cumsum(counts) - counts
        steps = np.arange(counts.sum()) - np.repeat(before, counts)
        return np.repeat(finders, counts), self.owners[np.repeat(self.first[which], counts) + steps]


def _postings(hashes: Hashes, owners: Positions, most: int | None = None) -> _Postings:
    """Of hashes that are in at most so many test records."""
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    new = np.ones(len(hashes), np.bool_)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    hashes, owners = hashes[new], owners[new]
    _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    if most is not None and len(hashes):
        few = counts[inverse] <= most
        hashes, owners, counts = hashes[few], owners[few], counts[counts <= most]
    return _Postings(HashSet(hashes), np.concatenate(([0], np.cumsum(counts))), owners)


def index(tests: Sequence[Record], settings: Decontaminate) -> TestIndex:
    """An index of test records, the same in whatever order they come."""
    tests = sorted(tests, key=lambda record: record.id)
    asked, wholes, said = _Gathered(), _Gathered(), _Gathered()
    for owner, block in _blocks([[_question(record)] for record in tests]):
        text, _, hashes = _ngrams(block, settings.ngram_en, settings.ngram_zh)
        asked.add(hashes, owner[text])
        none = np.bincount(text, minlength=len(owner)) == 0
        short = np.flatnonzero(none & (block.lengths > 0))
        wholes.add(block.wholes()[short], owner[short])

    small = _Gathered()
    texts = [_texts(record) for record in tests]
    for owner, block in _blocks(texts):
        text, _, hashes = block.ngrams(*SHINGLE)
        small.add(hashes, owner[text])
    common = small.postings()
    common_ngrams = HashSet(common.hashes.hashes[np.diff(common.first) >= STOCK_TEST])
    for owner, block in _blocks(texts):
        text, position, hashes = _ngrams(block, settings.shared_en, settings.shared_zh)
        own = ~_commonplace(block, text, position, settings, common_ngrams)
        said.add(hashes[own], owner[text[own]])
    questions = asked.postings()
    return TestIndex(
        settings=settings,
        ids=tuple(record.id for record in tests),
        sizes=np.bincount(questions.owners, minlength=len(tests)),
        grams=questions,
        wholes=wholes.postings(),
        shared=said.postings(most=STOCK_TEST - 1),
    )


class _Gathered:
    """Hashes with the test record each is of, gathered block by block."""

    def __init__(self) -> None:
        self._hashes: list[Hashes] = [np.zeros(0, np.uint64)]
        self._owners: list[Positions] = [np.zeros(0, np.int64)]

    def add(self, hashes: Hashes, owners: Positions) -> None:
        self._hashes.append(hashes)
        self._owners.append(owners)

    def postings(self, most: int | None = None) -> _Postings:
        """All of them, or those that are of at most so many test records."""
        return _postings(np.concatenate(self._hashes), np.concatenate(self._owners), most)


def _blocks(texts: Sequence[Sequence[str]]) -> Iterator[tuple[Positions, Units]]:
    """Blocks of the texts of records, with the index of the record that each text is of."""
    for part in blocks([sum(map(len, group)) for group in texts]):
        numbers = np.arange(len(texts))[part]
        owner = np.repeat(numbers, [len(group) for group in texts[part]])
        yield owner, units([text for group in texts[part] for text in group])


def _commonplace(
    block: Units, text: Positions, position: Positions, settings: Decontaminate, common: HashSet
) -> npt.NDArray[np.bool_]:
    """Which stretches are made of stock phrases: more than half of their units stand in a common shingle."""
    owner, places, hashes = block.ngrams(*SHINGLE)
    found, _ = common.find(hashes)
    borders = np.zeros(len(block.sums), np.int64)
    np.add.at(borders, places[found], 1)
    np.add.at(borders, places[found] + np.where(block.chinese[owner[found]], SHINGLE[1], SHINGLE[0]), -1)
    before = np.zeros(len(block.sums) + 1, np.int64)
    np.cumsum(np.cumsum(borders) > 0, out=before[1:])
    size = np.where(block.chinese[text], settings.shared_zh, settings.shared_en)
    inside: npt.NDArray[np.bool_] = (before[position + size] - before[position]) * 2 > size
    return inside


def contaminated(hits: pl.DataFrame) -> dict[str, Overlap]:
    """The records that leave, by id, from the hits of a whole corpus in any order."""
    questions = hits.filter(rule="test question")
    found = {
        id_: Overlap("test question", test, share)
        for id_, test, share in questions.select("id", "test", "overlap").rows()
    }
    passages = hits.filter(rule="shared passage").filter(
        pl.col("id").n_unique().over("stretch") < STOCK_TRAINING
    )
    # Stretches that begin one unit after the other are one passage.
    runs = (
        passages.sort("id", "position")
        .with_columns(run=pl.col("position") - pl.int_range(pl.len()).over("id"))
        .group_by("id", "test", "run")
        .agg(units=pl.col("units").first() + pl.len() - 1)
        .sort("id", pl.col("units").neg(), "test", "run")
        .unique("id", keep="first")
    )
    return found | {
        id_: Overlap("shared passage", test, float(size))
        for id_, test, size in runs.select("id", "test", "units").rows()
    }


def _ngrams(block: Units, words: int, characters: int) -> tuple[Positions, Positions, Hashes]:
    """:meth:`Units.ngrams` that are of language: of Chinese, half the characters must be Han."""
    text, position, hashes = block.ngrams(words, characters)
    chinese = block.chinese[text]
    if chinese.any():
        han = block.han[position + np.where(chinese, characters, 0)] - block.han[position]
        real = ~chinese | (han >= characters * _HAN_SHARE)
        text, position, hashes = text[real], position[real], hashes[real]
    return text, position, hashes


def _question(record: Record) -> str:
    longest = max((t.text for t in record.turns if t.role == "user"), key=len)
    return f"{longest}\n{record.context}" if record.context else longest


def _texts(record: Record) -> list[str]:
    """The turns, and the context as it follows the question."""
    said = [turn.text for turn in record.turns]
    return [*said, f"{said[0]}\n{record.context}"] if record.context else said


def _asks(record: Record) -> list[bool]:
    """Which of the texts are a user's turns."""
    asks = [turn.role == "user" for turn in record.turns]
    return [*asks, False] if record.context else asks
