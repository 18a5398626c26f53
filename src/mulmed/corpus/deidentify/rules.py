"""All rules over one text, and the names of a record once found, wherever else they stand in it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mulmed.corpus.deidentify.dates import SHAPES_DATES, WORDS_DATES, find_dates
from mulmed.corpus.deidentify.departments import departments_en, departments_zh
from mulmed.corpus.deidentify.lexicon import chinese_words, not_people, ordinary
from mulmed.corpus.deidentify.model import find_names_by_model
from mulmed.corpus.deidentify.names_en import SHAPES_EN, WORDS_EN, find_names_en, small_names
from mulmed.corpus.deidentify.names_en_listed import NOT_PERSON_BEHIND, unusual
from mulmed.corpus.deidentify.names_zh import SHAPES_ZH, find_names_zh, titled
from mulmed.corpus.deidentify.patterns import SHAPES_FORMS, WORDS_FORMS, find_forms
from mulmed.corpus.deidentify.places import (
    SHAPES_PLACES,
    WORDS_PLACES,
    find_addresses_zh,
    find_hospitals_en,
    find_hospitals_zh,
)
from mulmed.corpus.deidentify.spans import Span
from mulmed.corpus.deidentify.streets import SHAPES_STREETS, WORDS_STREETS, find_addresses_en, find_postcodes
from mulmed.corpus.deidentify.triggers import Hits, Joined, Triggers
from mulmed.recipe.language import added

Profile = Literal["fast", "full"]


def _together(*families: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """The families of several modules; those of the same name become one."""
    together: dict[str, tuple[str, ...]] = {}
    for some in families:
        for family, literals in some.items():
            together[family] = together.get(family, ()) + literals
    return together


TRIGGERS = Triggers(
    _together(WORDS_FORMS, WORDS_DATES, WORDS_PLACES, WORDS_STREETS, WORDS_EN),
    _together(SHAPES_FORMS, SHAPES_DATES, SHAPES_PLACES, SHAPES_STREETS, SHAPES_EN, SHAPES_ZH),
)

_HAN = re.compile("[\u4e00-\u9fff]")
_LETTER = re.compile("[A-Za-zÀ-ž]")
_COLONS = re.compile(
    "[0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}[:-][0-9A-Fa-f]{2}|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]"
)


#: Families that call for dates, for the Chinese and for the English rules.
_DAYS = frozenset(("day", "month", "month year", "numeral", "old", "old numeral"))
_ZH = frozenset(SHAPES_ZH) | {"hospital zh", "address field", "numbered"}
_EN = (
    frozenset(WORDS_EN)
    | frozenset(SHAPES_EN)
    | frozenset(WORDS_PLACES)
    | frozenset(WORDS_STREETS)
    | frozenset(SHAPES_STREETS)
    | {"alone", "small"}
)
_STREETS = frozenset(WORDS_STREETS) | frozenset(SHAPES_STREETS)
_FORMS = frozenset(WORDS_FORMS) | frozenset(SHAPES_FORMS)
_WANTED = {"en": _FORMS | _EN, "zh": _FORMS | _ZH, None: _FORMS | _ZH | _EN}
#: Marks between the numbers of a machine's address: so many at least, and so near to each other.
_MARKS, _NEAR = 5, 5


def look(texts: Sequence[str], language: str | None, clinical: bool) -> list[dict[str, list[int]]]:
    """For each of many texts, what rules :func:`find` need try on it, and where; nothing where none need be.

    Beside what :data:`TRIGGERS` finds: ``old``, a number that can be an age over 89; ``alone`` and ``small``, English
    names that nothing announces, with and without a capital; ``colons``, enough of them for the address of a machine.
    """
    joined = Joined(texts)
    hits = TRIGGERS.look_at(joined, len(texts))
    wanted = _WANTED[language if language in _WANTED else None]
    if language in added():
        wanted = _FORMS
    for text, some in zip(texts, hits, strict=True):
        if some:
            if "titled" in some and not (places := titled(text, some["titled"])):
                del some["titled"]
            elif "titled" in some:
                some["titled"] = places
            if wanted.isdisjoint(some) and _DAYS.isdisjoint(some):
                some.clear()
    for place in set(joined.within(_old_ages(joined.codes))[0]):
        hits[place]["old"] = [0]
    own = added().get(language or "")
    if own is not None:
        for some in hits if own.identifiers else ():
            some["own"] = [0]
    elif clinical and language != "zh":
        for some, text in zip(hits, texts, strict=True):
            if capitals := unusual(text):
                some["alone"] = capitals
            if small_names(text):
                some["small"] = [0]
    marks = np.flatnonzero((joined.codes == ord(":")) | (joined.codes == ord("-")))
    for place in set(joined.within(marks[:-1][np.diff(marks) <= _NEAR])[0]):
        text = texts[place]
        if max(text.count(":"), text.count("-")) >= _MARKS and _COLONS.search(text):
            hits[place]["colons"] = [0]
    return hits


def _old_ages(codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Where a number from 90 to 119 stands by itself among the bytes of a text."""
    # Bytes are counted around: below the digits comes what is above all others.
    digits = np.flatnonzero(codes - np.uint8(ord("0")) < 10)
    first = np.flatnonzero(np.diff(digits, prepend=-2) > 1)
    lengths, starts = np.diff(first, append=len(digits)), digits[first]
    leading = codes[starts]
    old = (lengths == 2) & (leading == ord("9"))
    old |= (lengths == 3) & (leading == ord("1")) & (codes[starts + 1] <= ord("1"))
    found: NDArray[np.int64] = starts[old]
    return found


def find(text: str, language: str | None, profile: Profile, clinical: bool, hits: Hits) -> Iterator[Span]:
    """Stretches of a text that identify someone, the most certain first; they may overlap.

    In a language that a file has added: the file's patterns, what has a form of its own, and dates in figures.

    ``clinical``: the text is about a patient; otherwise dates and names need a cue. ``hits``: what
    :func:`look` finds in the text.
    """
    own = added().get(language or "")
    for identifier in own.identifiers if own is not None else ():
        pattern = re.compile(identifier.pattern)
        for match in pattern.finditer(text):
            yield Span(*match.span(pattern.groups if match.lastindex else 0), identifier.kind)
    if not _FORMS.isdisjoint(hits):
        yield from find_forms(text, hits)
    if not _DAYS.isdisjoint(hits):
        yield from find_dates(text, hits, clinical)
    if own is not None:
        return
    if language != "en" and not text.isascii():
        if not _ZH.isdisjoint(hits):
            yield from find_addresses_zh(text, hits)
            for hospital in find_hospitals_zh(text, hits):
                yield hospital
                yield from departments_zh(text, hospital)
            yield from find_names_zh(text, hits)
        if clinical and profile == "full" and _HAN.search(text):
            yield from find_names_by_model(text)
    if language != "zh" and not _EN.isdisjoint(hits):
        if not _STREETS.isdisjoint(hits):
            yield from find_addresses_en(text, hits)
        if "hospital en" in hits:
            for hospital in find_hospitals_en(text, hits):
                yield hospital
                yield from departments_en(text, hospital)
        yield from find_names_en(text, hits)
        if "postcode" in hits:
            yield from find_postcodes(text, hits)


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
        self._chinese = chinese
        self._forms = {f for w in either for f in (w, w.lower(), w.title(), w.upper())} | (words - either)

    def find(self, text: str) -> Iterator[Span]:
        """Every place in a text where one of the names stands, the longest where several begin."""
        places = [
            (at, at - len(name)) for name in self._chinese if name in text for at in _places(name, text)
        ]
        for form in self._forms:
            if form in text:
                places += [
                    (at, at - len(form)) for at in _places(form, text) if _is_word(text, at, at + len(form))
                ]
        done = 0
        for start, reach in sorted(places):
            end = 2 * start - reach
            if start >= done:
                done = end
                if not NOT_PERSON_BEHIND.match(text, end):
                    yield Span(start, end, "NAME")


def _places(word: str, text: str) -> Iterator[int]:
    at = text.find(word)
    while at >= 0:
        yield at
        at = text.find(word, at + 1)


def _is_word(text: str, start: int, end: int) -> bool:
    return not _LETTER.match(text, end) and not (start and _LETTER.match(text, start - 1))


def _ordinary_zh(word: str) -> bool:
    return not chinese_words().get(word, "nr").startswith("nr")
