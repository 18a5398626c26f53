"""The test set as hashes, to find it again in other records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mulmed.corpus.deduplicate import SHINGLE
from mulmed.corpus.hashes import Hashes, HashSet, Positions
from mulmed.corpus.ngrams import Strand
from mulmed.corpus.passages import in_blocks, of_language, questions, said
from mulmed.recipe import Decontaminate

#: A stretch that occurs in so many test records is a stock phrase.
STOCK_TEST = 3


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
    grams: Postings
    wholes: Postings
    longest: int
    shared: Postings


@dataclass(frozen=True, slots=True)
class Postings:
    """Hashes, and whose each is: number k is of the tests ``owners[first[k] : first[k + 1]]``."""

    hashes: HashSet
    first: Positions
    owners: Positions

    def pairs(self, finders: Positions, which: Positions) -> tuple[Positions, Positions]:
        """Each finder of hash number ``which`` with each test record it is of; no pair of them twice a hash."""
        if len(which):
            finders, which = np.divmod(
                np.unique(finders * len(self.hashes.hashes) + which), len(self.hashes.hashes)
            )
        counts = self.first[which + 1] - self.first[which]
        before = np.cumsum(counts) - counts
        steps = np.arange(counts.sum()) - np.repeat(before, counts)
        return np.repeat(finders, counts), self.owners[np.repeat(self.first[which], counts) + steps]


def _postings(hashes: Hashes, owners: Positions, most: int | None = None) -> Postings:
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
    return Postings(HashSet(hashes[begins]), np.concatenate(([0], np.cumsum(counts))), owners)


def index(tests: pl.DataFrame, settings: Decontaminate) -> TestIndex:
    """An index of test records (:data:`~mulmed.corpus.batch.SCHEMA`), the same in whatever order they come."""
    tests = tests.sort("id")
    asked, wholes, small, long = _Gathered(), _Gathered(), _Gathered(), _Gathered()
    longest = 0
    for owner, block, _ in in_blocks(questions(tests)):
        grams = np.zeros(len(owner), np.int64)
        for strand, size in ((block.words, settings.ngram_en), (block.characters, settings.ngram_zh)):
            text, position, hashes = strand.ngrams(size)
            real = of_language(strand, position, size)
            asked.add(hashes[real], owner[text[real]])
            grams[text[real]] = 1
        short = np.flatnonzero((grams == 0) & (block.sizes > 0))
        wholes.add(block.wholes(short), owner[short])
        longest = max([longest, *map(len, block.letters(short.tolist()))])

    strands = []  # looked at twice: for what is common, and for what is not
    for owner, block, _ in in_blocks(said(tests)):
        for strand, size, shingle in (
            (block.words, settings.shared_en, SHINGLE[0]), (block.characters, settings.shared_zh, SHINGLE[1]),
        ):  # fmt: skip
            strands.append((owner, strand, size, shingle))
            text, _, hashes = strand.ngrams(shingle)
            small.add(hashes, owner[text])
    common = small.postings()
    common_shingles = HashSet(common.hashes.hashes[np.diff(common.first) >= STOCK_TEST])
    for owner, strand, size, shingle in strands:
        text, position, hashes = strand.ngrams(size)
        own = of_language(strand, position, size) & ~_commonplace(
            strand, position, size, shingle, common_shingles
        )
        long.add(hashes[own], owner[text[own]])
    of_questions = asked.postings()
    return TestIndex(
        settings=settings,
        ids=tuple(tests["id"]),
        sizes=np.bincount(of_questions.owners, minlength=len(tests)),
        grams=of_questions,
        wholes=wholes.postings(),
        longest=longest,
        shared=long.postings(most=STOCK_TEST - 1),
    )


class _Gathered:
    """Hashes with the test record each is of, gathered block by block."""

    def __init__(self) -> None:
        self._hashes: list[Hashes] = [np.zeros(0, np.uint64)]
        self._owners: list[Positions] = [np.zeros(0, np.int64)]

    def add(self, hashes: Hashes, owners: Positions) -> None:
        self._hashes.append(hashes)
        self._owners.append(owners)

    def postings(self, most: int | None = None) -> Postings:
        """All of them, or those that are of at most so many test records."""
        return _postings(np.concatenate(self._hashes), np.concatenate(self._owners), most)


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
