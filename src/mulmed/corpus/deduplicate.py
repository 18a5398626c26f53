"""Records that say the same, letter case, width, spaces and punctuation aside."""

from __future__ import annotations

import hashlib
import unicodedata

import polars as pl

from mulmed.corpus.batch import StageResult, from_batch
from mulmed.corpus.record import Record
from mulmed.corpus.stage import Finding, Outcome, result

_PREFERENCE = {"test": 0, "validation": 1, "train": 2}


def normal_form(text: str) -> str:
    """Letters and digits alone: NFKC, case folded, without white space, punctuation or symbols."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(c for c in unicodedata.normalize("NFKC", folded) if c.isalnum())


def fingerprint(record: Record) -> bytes:
    """Equal for two records exactly when their turns and context have the same normal form.

    A record whose texts have no letter or digit at all is compared as it stands.
    """
    parts = [record.context, *(t.text for t in record.turns)]
    normal = [normal_form(part) for part in parts]
    kept = normal if any(normal) else parts
    return hashlib.blake2b("\x00".join(kept).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def deduplicate(batch: pl.DataFrame) -> StageResult:
    """Records of a whole corpus without those that repeat another in question, context and answer.

    Of equal records the first in the table's order is kept, but one of the test split before one of
    validation before one of training, so nothing is taken from a test set for the sake of training. The
    audit's detail is the id of the record kept. The same question with another answer is no duplicate.
    """
    records = list(from_batch(batch))
    prints = [fingerprint(record) for record in records]
    kept: dict[bytes, Record] = {}
    for record, mark in sorted(
        zip(records, prints, strict=True), key=lambda pair: _PREFERENCE[pair[0].split]
    ):
        kept.setdefault(mark, record)

    def outcome(record: Record, mark: bytes) -> Outcome:
        first = kept[mark]
        if first is record:
            return Outcome(record)
        return Outcome(None, (Finding("duplicate", 1, first.id),))

    return result("deduplicate", ((r, outcome(r, mark)) for r, mark in zip(records, prints, strict=True)))
