"""All rules over one text, and the names of a record once found, wherever else they stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Literal

from mulmed.corpus.deidentify.dates import FAMILIES_DATES, find_dates
from mulmed.corpus.deidentify.lexicon import chinese_words, not_people, ordinary
from mulmed.corpus.deidentify.model import find_names_by_model
from mulmed.corpus.deidentify.names_en import FAMILIES_EN, find_names_en
from mulmed.corpus.deidentify.names_en_listed import NOT_PERSON_BEHIND
from mulmed.corpus.deidentify.names_zh import FAMILIES_ZH, find_names_zh
from mulmed.corpus.deidentify.patterns import FAMILIES_FORMS, digit_runs, find_forms
from mulmed.corpus.deidentify.places import (
    FAMILIES_PLACES,
    find_addresses_en,
    find_addresses_zh,
    find_hospitals_en,
    find_hospitals_zh,
)
from mulmed.corpus.deidentify.residue import FAMILIES_RESIDUE
from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.triggers import Hits, Triggers

Profile = Literal["fast", "full"]

TRIGGERS = Triggers(
    FAMILIES_RESIDUE | FAMILIES_FORMS | FAMILIES_DATES | FAMILIES_PLACES | FAMILIES_EN | FAMILIES_ZH
)

_HAN = re.compile("[\u4e00-\u9fff]")
_LATIN = re.compile("[A-Za-z]{2}")


def find(text: str, language: str | None, profile: Profile, clinical: bool, hits: Hits) -> Iterator[Span]:
    """Stretches of a text that identify someone, the most certain first; they may overlap.

    ``clinical``: the text is about a patient; otherwise dates and names need a cue. ``hits``: what
    :data:`TRIGGERS` finds in the text.
    """
    runs = digit_runs(hits)
    yield from find_forms(text, hits, runs)
    yield from find_dates(text, hits, runs, clinical)
    if language != "en" and not text.isascii() and _HAN.search(text):
        yield from find_addresses_zh(text, hits)
        yield from find_hospitals_zh(text, hits)
        yield from find_names_zh(text, hits)
        if clinical and profile == "full":
            yield from find_names_by_model(text)
    if language != "zh" and _LATIN.search(text):
        yield from find_addresses_en(text, hits, runs)
        yield from find_hospitals_en(text, hits)
        yield from find_names_en(text, hits, alone=clinical)


class Known:
    """Names found in some texts of a record, to be found again in all of them without their cue."""

    def __init__(self, names: Iterable[str]) -> None:
        chinese: set[str] = set()
        words: set[str] = set()
        for name in names:
            if _HAN.match(name):
                if len(name) > 1 and not _ordinary_zh(name):
                    chinese.add(name)
                    if len(name) > 2 and not _ordinary_zh(name[-2:]):
                        chinese.add(name[-2:])
            else:
                for word in re.findall(r"[^\W\d_]{3,}", name):
                    if word.lower() not in ordinary() or (
                        word[0].isupper() and word.lower() not in not_people()
                    ):
                        words.add(word)
        either = {w for w in words if w.lower() not in ordinary()}
        parts = [re.escape(n) for n in sorted(chinese, key=len, reverse=True)]
        if words:
            forms = {f for w in either for f in (w, w.lower(), w.title(), w.upper())} | (words - either)
            parts.append(rf"(?<![A-Za-zÀ-ž])(?:{'|'.join(map(re.escape, sorted(forms)))})(?![A-Za-zÀ-ž])")
        self._pattern = re.compile("|".join(parts)) if parts else None

    def find(self, text: str) -> Iterator[Span]:
        """Every place in a text where one of the names stands."""
        if self._pattern is None:
            return
        for match in self._pattern.finditer(text):
            if not NOT_PERSON_BEHIND.match(text, match.end()):
                yield Span(*match.span(), "NAME")


def _ordinary_zh(word: str) -> bool:
    return not chinese_words().get(word, "nr").startswith("nr")
