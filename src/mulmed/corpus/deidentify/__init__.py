"""Identifiers replaced by placeholders, or by made-up values, in every text of a record.

The kinds, which are also the rules of the audit: ``NAME`` (of a person; titles stay), ``PHONE`` (and fax), ``EMAIL``,
``URL``, ``IP``, ``ID`` (national identity, social security, passport, insurance, Aadhaar, PAN, driver's licence),
``LICENSE`` (professional licences and certificates), ``RECORD_NUMBER`` (hospital, outpatient, medical record), ``ACCOUNT``
(bank, card, WeChat, QQ, other networks), ``PLATE`` (vehicles), ``DEVICE`` (serial numbers), ``ADDRESS``, ``ZIP``, ``HOSPITAL`` (with a
proper name), ``DEPARTMENT`` (and ward, beside such a hospital), ``DATE_OF_BIRTH``, ``DATE``, ``AGE`` (see :mod:`.dates`), ``SITE`` (the sites the corpora come from, :mod:`.residue`).

Younger ages, months with their year, doses, laboratory values, drugs, diseases, eponyms and emergency numbers
are clinical content and stay. Records that are nobody's (instructions, summaries of articles) lose what has a
form or a cue; names and dates without a cue stay there, being those of public figures and events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from mulmed.corpus.deidentify.residue import scrub, with_residue
from mulmed.corpus.deidentify.rules import Known, Profile, find, look
from mulmed.corpus.deidentify.spans import Span as Found
from mulmed.corpus.deidentify.spans import without_overlaps
from mulmed.corpus.deidentify.surrogates import Surrogates
from mulmed.corpus.edits import Draft, Edit
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.stage import Finding, Outcome, findings_of, texts_of

if TYPE_CHECKING:
    from mulmed.recipe import Deidentify

__all__ = ["KINDS", "DeidentifiedText", "Span", "deidentify_record", "deidentify_records", "deidentify_text"]

KINDS = (
    "NAME", "PHONE", "EMAIL", "URL", "IP", "ID", "LICENSE", "RECORD_NUMBER", "ACCOUNT", "PLATE", "DEVICE", "ADDRESS", "ZIP",
    "HOSPITAL", "DEPARTMENT", "DATE_OF_BIRTH", "DATE", "AGE", "SITE",
)  # fmt: skip
#: So many characters are looked through in one go: what is known of them stays in the processor's cache.
_AT_ONCE = 1 << 16
#: Takes a kind and the words of that kind, gives what takes their place.
Replacement = Callable[[str, str], str]
_PLACEHOLDER = re.compile(r"\[(?:" + "|".join(KINDS) + r")\]")


class Span(NamedTuple):
    """Characters ``start`` to ``end`` of the text as given, and what took their place.

    ``kind`` is one of :data:`KINDS` in lower case, or several joined by ``+`` where a site's name stood inside.
    """

    kind: str
    start: int
    end: int
    replacement: str


@dataclass(frozen=True, slots=True)
class DeidentifiedText:
    """A text with its identifiers replaced, and where they stood. Spans are in order and do not overlap."""

    text: str
    spans: tuple[Span, ...]


def deidentify_text(text: str, language: str | None = None, profile: Profile = "full") -> DeidentifiedText:
    """A clinical text with placeholders in place of identifiers. Applied again it changes nothing.

    Args:
        text: a question, an answer or a whole dialogue.
        language: ``en`` or ``zh``: only that language's rules for names, hospitals and addresses.
            ``None``: both, each where the text has its script. What has a form of its own (numbers,
            addresses on the net, dates) is found in every language.
        profile: ``fast``: rules. ``full``: rules, and Chinese names by a model.

    Raises:
        MulmedError: ``full`` is asked, the text is Chinese, and the model is not installed.
    """
    (drafts,) = _masked([[text]], language, True, profile, lambda _: _placeholder)
    draft = drafts.get(0) or Draft(text)
    spans = tuple(Span(e.rule.lower(), e.start, e.end, e.replacement) for e in draft.edits)
    return DeidentifiedText(draft.text, spans)


def deidentify_record(record: Record, settings: Deidentify, key: bytes) -> Outcome:
    """A record with the identifiers in all its texts replaced. No record is dropped.

    A name found in one text is replaced in all of them. With ``surrogates: consistent`` the made-up values are drawn under
    ``key`` (at most 64 bytes) and the record's id: the same in all texts of the record, unrelated between records.

    Raises:
        MulmedError: as :func:`deidentify_text`.
    """
    return deidentify_records([record], settings, key)[0]


def deidentify_records(records: Sequence[Record], settings: Deidentify, key: bytes) -> list[Outcome]:
    """:func:`deidentify_record` of each of some records: the texts of many are looked through at once."""

    consistent = settings.surrogates == "consistent"
    outcomes: list[Outcome] = []
    for some in _portions(records):
        bundles = [texts_of(record) for record in some]

        def replacement(number: int, some: Sequence[Record] = some) -> Replacement:
            record = some[number]
            return Surrogates(key, record.id, texts_of(record)) if consistent else _placeholder

        drafts = _masked(bundles, *_read_as(some[0]), settings.profile, replacement)
        outcomes += map(_outcome, some, bundles, drafts)
    return outcomes


def _read_as(record: Record) -> tuple[str, bool]:
    """A record's language, and whether it is about a patient."""
    return record.language, record.task in ("qa", "dialogue")


def _portions(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """The records in their order, as many in a row together as are read alike and as there is room for."""
    first = size = 0
    for place, record in enumerate(records):
        if place > first and (size >= _AT_ONCE or _read_as(record) != _read_as(records[first])):
            yield records[first:place]
            first, size = place, 0
        size += sum(len(turn.text) for turn in record.turns)
    if first < len(records):
        yield records[first:]


def _outcome(record: Record, texts: Sequence[str], drafts: Mapping[int, Draft]) -> Outcome:
    """The record with the texts of the drafts (by their place in ``texts``) in place, and a finding an edit."""
    if not drafts:
        return Outcome(record)
    turns, systems = record.turns, list(record.baselines)
    findings: list[Finding] = []
    for place, draft in sorted(drafts.items()):
        if place < len(turns):
            field = f"turns[{place}]"
        else:
            field = f"baselines[{systems[place - len(turns) - 1]}]" if place > len(turns) else "context"
        findings += findings_of(field, texts[place], draft.edits)
    now = [drafts[place].text if place in drafts else text for place, text in enumerate(texts)]
    after = replace(
        record,
        turns=tuple(Turn(turn.role, now[n]) if n in drafts else turn for n, turn in enumerate(turns)),
        context=now[len(turns)],
        baselines=dict(zip(systems, now[len(turns) + 1 :], strict=True)),
    )
    return Outcome(after, tuple(findings))


def _masked(
    bundles: Sequence[Sequence[str]],
    language: str | None,
    clinical: bool,
    profile: Profile,
    replacement: Callable[[int], Replacement],
) -> list[dict[int, Draft]]:
    """For bundles of texts that belong together: of each the texts in which something was replaced, by their place.

    ``replacement``: of a bundle, by its position, what takes a kind and the words of that kind.
    """
    places = [(b, place) for b, texts in enumerate(bundles) for place, text in enumerate(texts) if text]
    given = [bundles[b][place] for b, place in places]
    now = list(given)
    drafts: list[dict[int, Draft]] = [{} for _ in bundles]
    for n in with_residue(given):
        draft = Draft(given[n])
        scrub(draft)
        if draft.edits:
            b, place = places[n]
            drafts[b][place], now[n] = draft, draft.text
    found: dict[int, list[Found]] = {}
    named: dict[int, list[str]] = {}
    for n, (text, hits) in enumerate(zip(now, look(now, language, clinical), strict=True)):
        if (hits or profile == "full") and (
            spans := _settled(text, find(text, language, profile, clinical, hits))
        ):
            found[n] = spans
            if names := [text[s.start : s.end] for s in spans if s.label == "NAME"]:
                named.setdefault(places[n][0], []).extend(names)
    if named:
        known = {b: Known(names) for b, names in named.items()}
        for n, (text, (b, _)) in enumerate(zip(now, places, strict=True)):
            if b in known and (again := list(known[b].find(text))):
                found[n] = _settled(text, [*found.get(n, ()), *again])
    replacements: dict[int, Replacement] = {}
    for n, spans in found.items():
        b, place = places[n]
        if b not in replacements:
            replacements[b] = replacement(b)
        instead, text = replacements[b], now[n]
        draft = drafts[b].setdefault(place, Draft(given[n]))
        draft.change(
            [
                Edit(start, end, instead(kind, text[start:end]), kind, detail)
                for start, end, kind, detail in spans
            ]
        )
        if not draft.edits:
            del drafts[b][place]
    return drafts


def _settled(text: str, found: Iterable[Found]) -> list[Found]:
    """Without overlaps, and outside of placeholders that stand there already."""
    placeholders = [m.span() for m in _PLACEHOLDER.finditer(text)] if "[" in text else []
    return without_overlaps(text, found, placeholders)


def _placeholder(kind: str, _: str) -> str:
    return f"[{kind}]"
