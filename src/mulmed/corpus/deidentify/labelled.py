"""Labelled texts to measure de-identification on, published sets with their labels, and real texts to put values into.

Nothing of these sets stands in this package: they are read where a user keeps them.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mulmed.corpus.sources import read
from mulmed.corpus.sources.layout import Found
from mulmed.recipe import Layout, Source


@dataclass(frozen=True, slots=True)
class Label:
    """Characters ``start`` to ``end`` are of a kind (see :data:`mulmed.corpus.deidentify.KINDS`)."""

    start: int
    end: int
    kind: str


@dataclass(frozen=True, slots=True)
class Example:
    """A text with what identifies someone in it. ``source`` names the set it belongs to.

    ``complete``: everything that identifies someone is labelled, so that what else is found is found wrongly.
    """

    source: str
    text: str
    labels: tuple[Label, ...]
    language: str
    complete: bool = True


def half(example: Example) -> Literal["tune", "report"]:
    """Which half a text belongs to, by its hash: rules are made looking at one, measured on the other."""
    return "tune" if hashlib.sha256(example.text.encode()).digest()[0] % 2 == 0 else "report"


_PII_KINDS = {
    "PERSON": "NAME", "PHONE_NUMBER": "PHONE", "EMAIL_ADDRESS": "EMAIL", "DOMAIN_NAME": "URL", "CREDIT_CARD": "ACCOUNT", "IBAN_CODE": "ACCOUNT",
    "US_SSN": "ID", "US_DRIVER_LICENSE": "ID", "IP_ADDRESS": "IP", "STREET_ADDRESS": "ADDRESS", "ZIP_CODE": "ZIP",
}  # fmt: skip


def general_english(data: Path) -> Iterator[Example]:
    """Presidio-research's synthetic English sentences with spans (``pii_en/synth_dataset_v2.json.gz``)."""
    with gzip.open(data / "pii_en" / "synth_dataset_v2.json.gz", "rt", encoding="utf-8") as lines:
        for row in json.load(lines):
            labels = tuple(
                Label(s["start_position"], s["end_position"], _PII_KINDS[s["entity_type"]])
                for s in row["spans"]
                if s["entity_type"] in _PII_KINDS
            )
            yield Example("pii_en", row["full_text"], labels, "en")


def visits(data: Path) -> Iterator[Example]:
    """ACI-Bench's dialogues of visits; every mention of the patient's and the doctor's names is labelled.

    A name is what the metadata give, as whole words in any case; the speech is transcribed in lower case.
    """
    with gzip.open(data / "dialogue_en" / "aci-bench-train-metadata.csv.gz", "rt", encoding="utf-8") as rows:
        people = {r["encounter_id"]: r for r in csv.DictReader(rows)}
    with gzip.open(data / "dialogue_en" / "aci-bench-train.csv.gz", "rt", encoding="utf-8") as rows:
        for row in csv.DictReader(io.StringIO(rows.read())):
            person = people[row["encounter_id"]]
            names = [
                person[k] for k in ("patient_firstname", "patient_familyname", "doctor_name") if person[k]
            ]
            words = sorted({w for n in names for w in re.findall(r"[A-Za-z]{3,}", n)})
            if not words:
                continue
            pattern = re.compile(rf"\b(?:{'|'.join(words)})\b", re.IGNORECASE)
            text = row["dialogue"]
            yield Example(
                "aci-bench", text, tuple(Label(*m.span(), "NAME") for m in pattern.finditer(text)), "en"
            )


_CONSULTATIONS: tuple[tuple[Layout, str, str], ...] = (
    ("healthcaremagic", "healthcaremagic/HealthCareMagic-100k.json.gz", "en"),
    ("icliniq", "icliniq/iCliniq.json.gz", "en"),
    ("meddialog-zh", "haodf/COVID-Dialogue-Dataset-Chinese.txt.gz", "zh"),
)


def consultations(data: Path, language: Literal["en", "zh"], longest: int = 300) -> Iterator[str]:
    """Turns of real consultations (HealthCareMagic, iCliniq; haodf), cut at the end of a sentence before ``longest`` characters.

    Values are put into them (:func:`mulmed.corpus.deidentify.invented.made_up`). Turns without the end of a sentence there are left out.
    """
    for layout, path, written in _CONSULTATIONS:
        if written != language or not (data / path).is_file():
            continue
        for item in read(Source(layout=layout, path=path, language=language), data / path):
            if isinstance(item, Found):
                for turn in item.parsed.turns:
                    ends = [m.end() for m in re.finditer(r"[。！？]|[.!?](?=\s)", turn.text[:longest])]
                    if len(ends) > 1:
                        yield turn.text[: ends[-1]]
