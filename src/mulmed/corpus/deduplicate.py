"""Records that say the same: exactly, letter case, width, spaces and punctuation aside, or nearly.

Two records are near duplicates when their questions, their answers and their contexts are each similar:
the Jaccard similarity of their sets of shingles (5 words in English, 8 characters in Chinese; a text shorter
than that is one shingle) reaches the threshold for all three. The same question with another answer is no
duplicate, nor the same instruction with another input, and of short texts ("谢谢医生") only equal ones are
similar.

Pairs to compare are found by MinHash with banding (Broder 1997; Leskovec, Rajaraman and Ullman, Mining of
Massive Datasets, 3.4); every one of them is then verified on the shingles themselves, so that none is taken
for a duplicate by chance. What is kept follows from the records alone, whatever their order and however they
were divided among workers: in the order of split (test, validation, training) and then of content hash, a
record is kept unless it is a duplicate of one already kept. So no test record goes for a training record's
sake, every record that goes resembles the very one it is said to repeat, and no two of those kept were found
to be alike.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from rensa import RMinHash

from mulmed.corpus.hashes import Hashes, distinct, mixed
from mulmed.corpus.ngrams import Units, blocks, units
from mulmed.corpus.record import SPLITS, Record
from mulmed.corpus.stage import Finding, Outcome
from mulmed.recipe import Deduplicate

#: Words, characters in a shingle.
SHINGLE = (5, 8)
_PERMUTATIONS = 120
#: Share of the pairs just at the threshold that banding must find.
_RECALL = 0.99
#: Standard deviations by which an estimated similarity may fall short of the threshold.
_DOUBT = 5.0

#: One row a record: content hash (16 bytes), exact fingerprint (16 bytes), MinHash signature (16 bits a
#: permutation, little-endian; empty when only exact duplicates are looked for or there is nothing to compare).
SKETCH_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.String(),
    "split": pl.String(),
    "content": pl.Binary(),
    "signature": pl.Binary(),
}
#: One row a record: sorted 64-bit shingles, the part they come from in the lowest two bits.
SHINGLE_SCHEMA: dict[str, pl.DataType] = {"id": pl.String(), "shingles": pl.Binary()}


@dataclass(frozen=True, slots=True)
class Duplicate:
    """A record that goes, for the one with the id ``kept``; 1.0 similar when they are exactly the same."""

    kept: str
    rule: str  # "duplicate" | "near duplicate"
    similarity: float

    @property
    def outcome(self) -> Outcome:
        """What the stage decides about the record."""
        detail = self.kept if self.rule == "duplicate" else f"{self.kept} similarity {self.similarity:.2f}"
        return Outcome(None, (Finding(self.rule, 1, detail),))


def fingerprints(records: Sequence[Record], block: Units) -> list[bytes]:
    """16 bytes a record, equal for two exactly when their turns and context have the same normal form.

    A record whose texts have no letter or digit at all is compared as it stands.

    Args:
        block: the units of the records' :func:`texts`.
    """
    found = []
    ends, sizes, position = [0, *block.limits.tolist()], block.sizes.tolist(), 0
    for record in records:
        after = position + len(record.turns) + 1
        letters = block.written[ends[position] : ends[after]].translate(None, b"\0")
        if letters:
            content = hashlib.blake2b(letters, digest_size=16, salt=b"letters")
        else:
            content = hashlib.blake2b(
                "\0".join(texts(record)).encode("utf-8", "surrogatepass"), digest_size=16
            )
        content.update(" ".join(map(str, sizes[position:after])).encode())
        found.append(content.digest())
        position = after
    return found


def sketch(records: Sequence[Record], settings: Deduplicate) -> pl.DataFrame:
    """What :func:`duplicates` must know of each record (:data:`SKETCH_SCHEMA`), in their order."""
    content: list[bytes] = []
    signatures: list[bytes] = []
    for group, block in _blocks(records):
        content += fingerprints(group, block)
        if settings.near is None:
            signatures += [b""] * len(group)
        else:
            owner, _, hashes = _shingles(group, block)
            ends = np.searchsorted(owner, np.arange(len(group) + 1)).astype(np.uint64)
            matrix = RMinHash.digest_matrix_from_flat_token_hashes(hashes, ends, _PERMUTATIONS, 0)
            values = itertools.chain.from_iterable(matrix.to_rows())
            rows = np.fromiter(values, np.uint32, len(group) * _PERMUTATIONS).astype("<u2").tobytes()
            size = 2 * _PERMUTATIONS
            signatures += [
                rows[i * size : (i + 1) * size] if n else b"" for i, n in enumerate(np.diff(ends).tolist())
            ]
    return pl.DataFrame(
        {
            "id": [r.id for r in records],
            "split": [r.split for r in records],
            "content": content,
            "signature": signatures,
        },
        schema=SKETCH_SCHEMA,
    )


def shingles(records: Sequence[Record]) -> pl.DataFrame:
    """The shingles of each record (:data:`SHINGLE_SCHEMA`), in their order."""
    rows: list[bytes] = []
    for group, block in _blocks(records):
        owner, part, hashes = _shingles(group, block)
        tagged = (hashes & ~np.uint64(3)) | part.astype(np.uint64)
        ends = np.searchsorted(owner, np.arange(len(group) + 1))
        rows += [distinct(tagged[a:b]).tobytes() for a, b in itertools.pairwise(ends)]
    return pl.DataFrame({"id": [r.id for r in records], "shingles": rows}, schema=SHINGLE_SCHEMA)


def duplicates(
    sketches: pl.DataFrame, shingles_of: Callable[[Sequence[str]], pl.DataFrame], settings: Deduplicate
) -> dict[str, Duplicate]:
    """The records that go, by id, out of a whole corpus.

    Args:
        sketches: all of :func:`sketch`'s rows, in any order.
        shingles_of: gives :func:`shingles`' rows of the records with these ids, in any order.
        settings: the threshold.
    """
    # The order in which records are kept: a total one, of what they say and where they come from.
    ordered = sketches.sort(
        pl.col("split").replace_strict({s: i for i, s in enumerate(reversed(SPLITS))}, return_dtype=pl.Int8),
        "content",
        "id",
    )
    ids = ordered["id"].to_list()
    first = ordered.with_row_index().select(pl.col("index").first().over("content"))["index"].to_numpy()
    found = {
        ids[i]: Duplicate(ids[first[i]], "duplicate", 1.0)
        for i in np.flatnonzero(first != np.arange(len(ids))).tolist()
    }
    if settings.near is None:
        return found
    compared = np.flatnonzero(
        (first == np.arange(len(ids))) & (ordered["signature"].bin.size() > 0).to_numpy()
    )
    signatures = np.frombuffer(b"".join(ordered["signature"][compared].to_list()), "<u2")
    near = _near(
        [ids[i] for i in compared], signatures.reshape(-1, _PERMUTATIONS), shingles_of, settings.near
    )
    # What repeats exactly a record that goes repeats the one kept for it.
    for i, duplicate in found.items():
        if (other := near.get(duplicate.kept)) is not None:
            found[i] = Duplicate(other.kept, other.rule, other.similarity)
    return found | near


def similarity(a: Hashes, b: Hashes) -> float:
    """The least of the Jaccard similarities of two records' parts, from their :func:`shingles`.

    Parts that are empty in both do not count; 0.0 where all are.
    """
    common = np.bincount(
        (np.intersect1d(a, b, assume_unique=True) & np.uint64(3)).astype(np.int64), minlength=4
    )
    sizes = [np.bincount((x & np.uint64(3)).astype(np.int64), minlength=4) for x in (a, b)]
    union = sizes[0] + sizes[1] - common
    return float(min((c / u for c, u in zip(common, union, strict=True) if u), default=0.0))


def bands(threshold: float) -> tuple[int, int]:
    """How many bands of how many rows a signature is divided into for a threshold of similarity.

    As many rows as still find :data:`_RECALL` of the pairs that are just so similar.
    """
    for rows in range(12, 1, -1):
        count = _PERMUTATIONS // rows
        if 1 - (1 - threshold**rows) ** count >= _RECALL:
            return count, rows
    return _PERMUTATIONS, 1


def _near(
    ids: Sequence[str],
    signatures: npt.NDArray[np.uint16],
    shingles_of: Callable[[Sequence[str]], pl.DataFrame],
    threshold: float,
) -> dict[str, Duplicate]:
    """Near duplicates among records in their order of preference."""
    buckets = _buckets(signatures, *bands(threshold))
    wanted = [ids[i] for i in sorted(buckets)]
    table = shingles_of(wanted) if wanted else pl.DataFrame(schema=SHINGLE_SCHEMA)
    sets = dict(zip(table["id"], table["shingles"], strict=True))
    # An estimate from the signatures spares most comparisons.
    doubt = _DOUBT * (threshold * (1 - threshold) / _PERMUTATIONS) ** 0.5
    least = (threshold - doubt) * _PERMUTATIONS
    found: dict[str, Duplicate] = {}
    kept: dict[int, list[int]] = {}  # bucket -> records kept in it
    for i in sorted(buckets):
        others = sorted({j for bucket in buckets[i] for j in kept.get(bucket, ())})
        if others:
            agree = (signatures[others] == signatures[i]).sum(axis=1)
            mine = np.frombuffer(sets[ids[i]], np.uint64)
            for j in itertools.compress(others, agree >= least):
                alike = similarity(mine, np.frombuffer(sets[ids[j]], np.uint64))
                if alike >= threshold:
                    found[ids[i]] = Duplicate(ids[j], "near duplicate", alike)
                    break
        if ids[i] not in found:
            for bucket in buckets[i]:
                kept.setdefault(bucket, []).append(i)
    return found


def _buckets(signatures: npt.NDArray[np.uint16], count: int, rows: int) -> Mapping[int, list[int]]:
    """For each record that shares a band of its signature with another: the buckets these fall into."""
    shared: dict[int, list[int]] = {}
    factors = mixed(np.arange(1, rows + 1, dtype=np.uint64)) | np.uint64(1)
    for band in range(count):
        part = signatures[:, band * rows : (band + 1) * rows].astype(np.uint64)
        keys = mixed((part * factors).sum(axis=1, dtype=np.uint64))
        order = np.argsort(keys, kind="stable")
        new = np.ones(len(keys), np.bool_)
        new[1:] = keys[order][1:] != keys[order][:-1]
        group = np.cumsum(new)
        several = np.bincount(group, minlength=len(keys) + 1)[group] > 1
        for i, bucket in zip(order[several].tolist(), group[several].tolist(), strict=True):
            shared.setdefault(i, []).append(band * (len(keys) + 1) + bucket)
    return shared


def texts(record: Record) -> list[str]:
    """The texts by which records are compared: context, turns."""
    return [record.context, *(t.text for t in record.turns)]


def _blocks(records: Sequence[Record]) -> Iterator[tuple[Sequence[Record], Units]]:
    said = [texts(record) for record in records]
    for part in blocks([sum(map(len, group)) for group in said]):
        yield records[part], units([text for group in said[part] for text in group])


def _shingles(
    records: Sequence[Record], block: Units
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], Hashes]:
    """All shingles of some records: index of the record, part of it (0 context, 1 question, 2 answer), hash.

    In the records' order; the same one may come several times.
    """
    counts = [1 + len(r.turns) for r in records]
    owner = np.repeat(np.arange(len(records)), counts)
    part = np.array([p for r in records for p in (0, *(1 if t.role == "user" else 2 for t in r.turns))])
    of_words, _, by_words = block.words.ngrams(SHINGLE[0])
    of_characters, _, by_characters = block.characters.ngrams(SHINGLE[1])
    lengths = block.lengths
    short = np.flatnonzero((lengths > 0) & (lengths < np.where(block.chinese, SHINGLE[1], SHINGLE[0])))
    text = np.concatenate((of_words, of_characters, short))
    order = np.argsort(text, kind="stable")
    text = text[order]
    tags = mixed(np.arange(3, dtype=np.uint64))
    hashes = np.concatenate((by_words, by_characters, block.wholes(short)))[order]
    return owner[text], part[text], mixed(hashes ^ tags[part[text]])
