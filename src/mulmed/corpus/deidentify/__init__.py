"""Identifiers replaced by placeholders, in the same form in every language.

The placeholders, which are also the rules of the audit: ``NAME`` (of a person; titles stay), ``PHONE``,
``EMAIL``, ``URL``, ``ID`` (national identity, social security, passport, insurance), ``ADDRESS`` (street and
number), ``HOSPITAL`` (with a proper name), ``DATE_OF_BIRTH``, ``RECORD_NUMBER`` (hospital, outpatient, medical
record), ``ACCOUNT`` (WeChat, QQ, bank and card numbers, other networks), each written ``[NAME]`` and so on. The
audit has one more rule, ``SITE``: left-overs of earlier scrubbing that were taken out (:mod:`.residue`).

Ages, dates, doses, laboratory values, drugs, diseases and emergency numbers are clinical content and stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

import polars as pl

from mulmed.corpus.batch import StageResult
from mulmed.corpus.deidentify.names import find_names_en, find_names_zh
from mulmed.corpus.deidentify.patterns import find_forms
from mulmed.corpus.deidentify.places import find_addresses, find_hospitals_en, find_hospitals_zh
from mulmed.corpus.deidentify.residue import scrub
from mulmed.corpus.deidentify.spans import Span, without_overlaps
from mulmed.corpus.stage import Finding, each_record, map_texts

__all__ = ["PLACEHOLDERS", "deidentify", "deidentify_text", "find_identifiers"]

PLACEHOLDERS = (
    "NAME", "PHONE", "EMAIL", "URL", "ID", "ADDRESS", "HOSPITAL", "DATE_OF_BIRTH", "RECORD_NUMBER", "ACCOUNT",
)  # fmt: skip
_PLACEHOLDER = re.compile(r"\[(?:" + "|".join(PLACEHOLDERS) + r")\]")


def deidentify(batch: pl.DataFrame) -> StageResult:
    """Records with the identifiers in all their texts masked. No record is dropped.

    The audit's rule is the placeholder, its count the number of spans; for Chinese identity numbers its
    detail tells whether the checksum holds (they are masked either way).
    """
    return each_record(batch, "deidentify", lambda record: map_texts(record, deidentify_text))


def deidentify_text(text: str, language: str) -> tuple[str, list[Finding]]:
    """A text with placeholders, and how many there are of each. Applied again it changes nothing."""
    text, sites, names = scrub(text)
    found: Counter[tuple[str, str]] = Counter()
    pieces, position = [], 0
    for start, end, label, detail in find_identifiers(text, language):
        pieces += [text[position:start], f"[{label}]"]
        position = end
        found[label, detail] += 1
    found["SITE", ""] += sites
    found["NAME", ""] += names
    masked = "".join([*pieces, text[position:]])
    return masked, [Finding(rule, n, detail) for (rule, detail), n in found.items() if n]


def find_identifiers(text: str, language: str) -> list[Span]:
    """Stretches of the text that identify someone, in order and without overlaps."""
    taken = [m.span() for m in _PLACEHOLDER.finditer(text)]
    return without_overlaps(_find(text, language), taken)


def _find(text: str, language: str) -> Iterator[Span]:
    yield from find_forms(text)
    yield from find_addresses(text, language)
    if language == "zh":
        yield from find_hospitals_zh(text)
        yield from find_names_zh(text)
    else:
        yield from find_hospitals_en(text)
        yield from find_names_en(text)
