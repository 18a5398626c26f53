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

from mulmed.corpus.batch import from_batch, to_batch
from mulmed.corpus.deduplicate import SHINGLE
from mulmed.corpus.ngrams import Hashes, HashSet, Positions, Strand, Units, blocks, units
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
        longest: bytes of the longest of these, letters and digits alone.
        shared: stretches of any text of the test set that are no stock phrases, with the first of the test
            records each is of.
    """

    settings: Decontaminate
    ids: tuple[str, ...]
    sizes: Positions
    grams: _Postings
    wholes: _Postings
    longest: int
    shared: _Postings

    def hits(self, batch: pl.DataFrame) -> pl.DataFrame:
        """What the training and validation records of a batch have in common with the test set.

        Returns: a table with :data:`HIT_SCHEMA`.
        """
        others = batch.filter(pl.col("split") != "test") if self.ids else batch.clear()
        said = _said(others)
        tables = [pl.DataFrame(schema=HIT_SCHEMA)]
        for owner, block, part in _blocks(said):
            tables += self._hits(others["id"], owner, block, said.asks[part])
        return pl.concat(tables)

    def _hits(
        self, ids: pl.Series, owner: Positions, block: Units, asks: npt.NDArray[np.bool_]
    ) -> Iterator[pl.DataFrame]:
        best = self._questions(owner, block, asks)
        if best:
            yield pl.DataFrame(
                {
                    "id": ids[list(best)],
                    "rule": "test question",
                    "test": [self.ids[test] for test, _ in best.values()],
                    "overlap": [share for _, share in best.values()],
                    "stretch": None,
                    "position": None,
                    "units": None,
                },
                schema=HIT_SCHEMA,
            )
        # Positions of words and of characters are kept apart: a stretch has units of one kind.
        before = 0
        for strand, size in (
            (block.words, self.settings.shared_en),
            (block.characters, self.settings.shared_zh),
        ):
            text, position, hashes, which = _found(strand, size, self.shared.hashes)
            undecided = ~np.isin(owner[text], list(best))
            if undecided.any():
                text, position, hashes = text[undecided], position[undecided], hashes[undecided]
                yield pl.DataFrame(
                    {
                        "id": ids[owner[text]],
                        "rule": "shared passage",
                        "test": [
                            self.ids[k] for k in self.shared.owners[self.shared.first[which[undecided]]]
                        ],
                        "overlap": None,
                        "stretch": hashes,
                        "position": before + position,
                        "units": size,
                    },
                    schema=HIT_SCHEMA,
                )
            before += len(strand.sums)

    def _questions(
        self, owner: Positions, block: Units, asks: npt.NDArray[np.bool_]
    ) -> dict[int, tuple[int, float]]:
        """Records that hold a test question: the test record with the largest share, and that share."""
        finders, tests = [], []
        for strand, size in (
            (block.words, self.settings.ngram_en),
            (block.characters, self.settings.ngram_zh),
        ):
            text, _, _, which = _found(strand, size, self.grams.hashes)
            pairs = self.grams.pairs(owner[text], which)
            finders.append(pairs[0])
            tests.append(pairs[1])
        together = np.concatenate(finders) * len(self.ids) + np.concatenate(tests)
        both, counts = np.unique(together, return_counts=True)
        shares = counts / self.sizes[both % len(self.ids)]
        best: dict[int, tuple[int, float]] = {}
        enough = shares >= self.settings.overlap
        for pair, share in zip(both[enough].tolist(), shares[enough].tolist(), strict=True):
            i, test = divmod(pair, len(self.ids))
            if i not in best or share > best[i][1]:
                best[i] = test, share
        if len(self.wholes.hashes.hashes):
            candidates = np.flatnonzero(asks & (block.sizes > 0) & (block.sizes <= self.longest))
            found, which = self.wholes.hashes.find(block.wholes(candidates))
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
    order = np.argsort(hashes)
    hashes, owners = hashes[order], owners[order]
    same = hashes[1:] == hashes[:-1]
    # Few are in several records: only these are put in the order of their owners, each once.
    several = np.zeros(len(hashes), np.bool_)
    several[1:] = same
    several[:-1] |= same
    among = np.flatnonzero(several)
    among = among[np.lexsort((owners[several], hashes[several]))] if len(among) else among
    owners[several] = owners[among]
    new = np.ones(len(hashes), np.bool_)
    new[1:] = ~same | (owners[1:] != owners[:-1])
    hashes, owners = hashes[new], owners[new]
    begins = np.ones(len(hashes), np.bool_)
    begins[1:] = hashes[1:] != hashes[:-1]
    counts = np.diff(np.flatnonzero(np.append(begins, True)))
    if most is not None:
        few = counts <= most
        own = np.repeat(few, counts)
        begins, owners, hashes, counts = begins[own], owners[own], hashes[own], counts[few]
    return _Postings(HashSet(hashes[begins]), np.concatenate(([0], np.cumsum(counts))), owners)


def index(tests: Sequence[Record], settings: Decontaminate) -> TestIndex:
    """An index of test records, the same in whatever order they come."""
    batch = to_batch(sorted(tests, key=lambda record: record.id))
    asked, wholes, said = _Gathered(), _Gathered(), _Gathered()
    longest = 0
    for owner, block, _ in _blocks(_questions(batch)):
        grams = np.zeros(len(owner), np.int64)
        for strand, size in ((block.words, settings.ngram_en), (block.characters, settings.ngram_zh)):
            text, position, hashes = strand.ngrams(size)
            real = _of_language(strand, position, size)
            asked.add(hashes[real], owner[text[real]])
            grams[text[real]] = 1
        short = np.flatnonzero((grams == 0) & (block.sizes > 0))
        wholes.add(block.wholes(short), owner[short])
        longest = max([longest, *map(len, block.letters(short.tolist()))])

    small = _Gathered()
    texts = _said(batch)
    for owner, block, _ in _blocks(texts):
        for strand, size in zip((block.words, block.characters), SHINGLE, strict=True):
            text, _, hashes = strand.ngrams(size)
            small.add(hashes, owner[text])
    common = small.postings()
    common_shingles = HashSet(common.hashes.hashes[np.diff(common.first) >= STOCK_TEST])
    for owner, block, _ in _blocks(texts):
        for strand, size, shingle in (
            (block.words, settings.shared_en, SHINGLE[0]), (block.characters, settings.shared_zh, SHINGLE[1]),
        ):  # fmt: skip
            text, position, hashes = strand.ngrams(size)
            own = _of_language(strand, position, size) & ~_commonplace(
                strand, position, size, shingle, common_shingles
            )
            said.add(hashes[own], owner[text[own]])
    questions = asked.postings()
    return TestIndex(
        settings=settings,
        ids=tuple(batch["id"]),
        sizes=np.bincount(questions.owners, minlength=len(tests)),
        grams=questions,
        wholes=wholes.postings(),
        longest=longest,
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


@dataclass(frozen=True, slots=True)
class _Said:
    """Texts of records, one after the other; where each record's end, and which of them a user says."""

    texts: list[str]
    ends: Positions
    asks: npt.NDArray[np.bool_]


def _said(batch: pl.DataFrame) -> _Said:
    """The turns of each record, and its context as it follows the question."""
    turns = batch["turns"].explode().struct
    texts = turns.field("text").to_list() if len(batch) else []
    asks = (turns.field("role") == "user").to_numpy() if len(batch) else np.zeros(0, np.bool_)
    counts = batch["turns"].list.len().to_numpy().astype(np.int64)
    ends = np.cumsum(counts)
    more = (batch["context"] != "").to_numpy()
    if not more.any():
        return _Said(texts, ends, asks)
    whole: list[str] = []
    start = 0
    for end, context in zip(ends.tolist(), batch["context"].to_list(), strict=True):
        whole += texts[start:end]
        if context:
            whole.append(f"{texts[start]}\n{context}")
        start = end
    return _Said(whole, np.cumsum(counts + more), np.insert(asks, ends[more], False))


def _questions(batch: pl.DataFrame) -> _Said:
    """The longest of the user's turns of each record, with its context."""
    texts = []
    for record in from_batch(batch):
        longest = max((turn.text for turn in record.turns if turn.role == "user"), key=len)
        texts.append(f"{longest}\n{record.context}" if record.context else longest)
    return _Said(texts, np.arange(1, len(texts) + 1), np.ones(len(texts), np.bool_))


def _blocks(said: _Said) -> Iterator[tuple[Positions, Units, slice]]:
    """Blocks of texts: the index of the record that each one is of, their units, and which texts they are."""
    lengths = np.concatenate(([0], np.cumsum(list(map(len, said.texts)))))
    before = np.concatenate(([0], said.ends))
    for part in blocks(np.diff(lengths[before]).tolist()):
        own = slice(int(before[part.start]), int(before[part.stop]))
        owner = np.repeat(np.arange(part.start, part.stop), np.diff(before[part.start : part.stop + 1]))
        yield owner, units(said.texts[own]), own


def _found(strand: Strand, size: int, wanted: HashSet) -> tuple[Positions, Positions, Hashes, Positions]:
    """The n-grams of texts that a set holds: index of the text, first unit, hash, and the hash's place in the set."""
    hashes = strand.windows(size)
    position, which = wanted.find(hashes)
    inside, text = strand.inside(position, size)
    position, which = position[inside], which[inside]
    real = _of_language(strand, position, size)
    position = position[real]
    return strand.texts[text[real]], position, hashes[position], which[real]


def _of_language(strand: Strand, position: Positions, size: int) -> npt.NDArray[np.bool_]:
    """Which n-grams are words, or characters half of which are Han."""
    if not len(strand.han):
        return np.ones(len(position), np.bool_)
    real: npt.NDArray[np.bool_] = strand.han[position + size] - strand.han[position] >= size * _HAN_SHARE
    return real


def _commonplace(
    strand: Strand, position: Positions, size: int, shingle: int, common: HashSet
) -> npt.NDArray[np.bool_]:
    """Which stretches are made of stock phrases: more than half of their units stand in a common shingle."""
    places, _ = common.find(strand.windows(shingle))
    places = places[strand.inside(places, shingle)[0]]
    length = len(strand.sums)
    borders = np.bincount(places, minlength=length) - np.bincount(places + shingle, minlength=length)
    before = np.concatenate(([0], np.cumsum(np.cumsum(borders) > 0)))
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
