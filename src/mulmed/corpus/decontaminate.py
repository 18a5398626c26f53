"""Training and validation records in which something of the test set is found again.

A record leaves for one of two reasons (rule): it holds so large a share of a test question's n-grams as the
recipe says, all of them where it repeats the question exactly (``test question``; a question too short for an
n-gram: when it equals a user's turn); or it has a long stretch of words or characters in common with a question
or answer of the test set (``shared passage``).

Doctors and platforms repeat themselves: "Hope I have answered your query, let me know if I can assist you
further" stands in every second answer, on both sides of a split. A stretch is therefore a stock phrase and no
sign of a leak when it occurs in :data:`~mulmed.corpus.testset.STOCK_TEST` different test records, or most of it is made of shingles that do, or when
it occurs in :data:`STOCK_TRAINING` different training records, counted over the whole corpus; duplicates should
have gone before.
So that this can be counted wherever the records are, the work has three steps: :func:`~mulmed.corpus.testset.index` once over the test records,
:func:`hits` on each chunk of the others, :func:`contaminated` once on what they found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from mulmed.corpus.hashes import Hashes, HashSet, Positions
from mulmed.corpus.ngrams import Strand, Units
from mulmed.corpus.passages import in_blocks, of_language, said
from mulmed.corpus.stage import Finding, Outcome
from mulmed.corpus.testset import TestIndex

STOCK_TRAINING = 10

#: What :func:`hits` finds: one row for a record that leaves whatever the others hold (rule, test
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


def hits(tests: TestIndex, batch: pl.DataFrame) -> pl.DataFrame:
    """What the training and validation records of a batch have in common with the test set.

    Returns: a table with :data:`HIT_SCHEMA`.
    """
    others = batch.filter(pl.col("split") != "test") if tests.ids else batch.clear()
    texts = said(others)
    tables = [pl.DataFrame(schema=HIT_SCHEMA)]
    for owner, block, part in in_blocks(texts):
        tables += _hits(tests, others["id"], owner, block, texts.asks[part])
    return pl.concat(tables)


def _hits(
    tests: TestIndex, ids: pl.Series, owner: Positions, block: Units, asks: npt.NDArray[np.bool_]
) -> Iterator[pl.DataFrame]:
    best = _questions(tests, owner, block, asks)
    if best:
        yield pl.DataFrame(
            {
                "id": ids[list(best)],
                "rule": "test question",
                "test": [tests.ids[test] for test, _ in best.values()],
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
        (block.words, tests.settings.shared_en), (block.characters, tests.settings.shared_zh),
    ):  # fmt: skip
        text, position, hashes, which = _found(strand, size, tests.shared.hashes)
        undecided = ~np.isin(owner[text], list(best))
        if undecided.any():
            text, position, hashes = text[undecided], position[undecided], hashes[undecided]
            yield pl.DataFrame(
                {
                    "id": ids[owner[text]],
                    "rule": "shared passage",
                    "test": [tests.ids[k] for k in tests.shared.owners[tests.shared.first[which[undecided]]]],
                    "overlap": None,
                    "stretch": hashes,
                    "position": before + position,
                    "units": size,
                },
                schema=HIT_SCHEMA,
            )
        before += len(strand.sums)


def _questions(
    tests: TestIndex, owner: Positions, block: Units, asks: npt.NDArray[np.bool_]
) -> dict[int, tuple[int, float]]:
    """Records that hold a test question: the test record with the largest share, and that share."""
    finders, held = [], []
    for strand, size in (
        (block.words, tests.settings.ngram_en), (block.characters, tests.settings.ngram_zh),
    ):  # fmt: skip
        text, _, _, which = _found(strand, size, tests.grams.hashes)
        pairs = tests.grams.pairs(owner[text], which)
        finders.append(pairs[0])
        held.append(pairs[1])
    together = np.concatenate(finders) * len(tests.ids) + np.concatenate(held)
    both, counts = np.unique(together, return_counts=True)
    shares = counts / tests.sizes[both % len(tests.ids)]
    best: dict[int, tuple[int, float]] = {}
    enough = shares >= tests.settings.overlap
    for pair, share in zip(both[enough].tolist(), shares[enough].tolist(), strict=True):
        i, test = divmod(pair, len(tests.ids))
        if i not in best or share > best[i][1]:
            best[i] = test, share
    if len(tests.wholes.hashes.hashes):
        candidates = np.flatnonzero(asks & (block.sizes > 0) & (block.sizes <= tests.longest))
        found, which = tests.wholes.hashes.find(block.wholes(candidates))
        for i, test in zip(*tests.wholes.pairs(owner[candidates[found]], which), strict=True):
            best.setdefault(int(i), (int(test), 1.0))
    return best


def _found(strand: Strand, size: int, wanted: HashSet) -> tuple[Positions, Positions, Hashes, Positions]:
    """The n-grams of texts that a set holds: index of the text, first unit, hash, and the hash's place in the set."""
    hashes = strand.windows(size)
    position, which = wanted.find(hashes)
    inside, text = strand.inside(position, size)
    position, which = position[inside], which[inside]
    real = of_language(strand, position, size)
    position = position[real]
    return strand.texts[text[real]], position, hashes[position], which[real]


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
