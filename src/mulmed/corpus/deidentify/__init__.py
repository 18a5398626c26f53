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
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from mulmed.corpus.deidentify.residue import has_residue, scrub
from mulmed.corpus.deidentify.rules import Known, Profile, find, look
from mulmed.corpus.deidentify.spans import Span as Found
from mulmed.corpus.deidentify.spans import without_overlaps
from mulmed.corpus.deidentify.surrogates import Surrogates
from mulmed.corpus.edits import Draft, Edit
from mulmed.corpus.record import Record, Turn
from mulmed.corpus.stage import Finding, Outcome, findings_of

if TYPE_CHECKING:
    from mulmed.recipe import Deidentify

__all__ = ["KINDS", "DeidentifiedText", "Span", "deidentify_record", "deidentify_text"]

KINDS = (
    "NAME", "PHONE", "EMAIL", "URL", "IP", "ID", "LICENSE", "RECORD_NUMBER", "ACCOUNT", "PLATE", "DEVICE", "ADDRESS", "ZIP",
    "HOSPITAL", "DEPARTMENT", "DATE_OF_BIRTH", "DATE", "AGE", "SITE",
)  # fmt: skip
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
    changed = _deidentify({"": text}, language, profile, True, _placeholder)
    cleaned, edits = changed.get("", (text, ()))
    return DeidentifiedText(
        cleaned, tuple(Span(e.rule.lower(), e.start, e.end, e.replacement) for e in edits)
    )


def deidentify_record(record: Record, settings: Deidentify, key: bytes) -> Outcome:
    """A record with the identifiers in all its texts replaced. No record is dropped.

    A name found in one text is replaced in all of them. With ``surrogates: consistent`` the made-up values are drawn under
    ``key`` (at most 64 bytes) and the record's id: the same in all texts of the record, unrelated between records.

    Raises:
        MulmedError: as :func:`deidentify_text`.
    """
    texts = {f"turns[{i}]": turn.text for i, turn in enumerate(record.turns)}
    texts["context"] = record.context
    texts |= {f"baselines[{system}]": text for system, text in record.baselines.items()}
    consistent = settings.surrogates == "consistent"
    replacement = Surrogates(key, record.id, texts.values()) if consistent else _placeholder
    clinical = record.task in ("qa", "dialogue")
    cleaned = _deidentify(texts, record.language, settings.profile, clinical, replacement)
    if not cleaned:
        return Outcome(record)
    findings: list[Finding] = []
    for field, (_, edits) in cleaned.items():
        findings += findings_of(field, texts[field], edits)

    def now(field: str, text: str) -> str:
        return cleaned[field][0] if field in cleaned else text

    turns = tuple(Turn(t.role, now(f"turns[{i}]", t.text)) for i, t in enumerate(record.turns))
    baselines = {system: now(f"baselines[{system}]", text) for system, text in record.baselines.items()}
    after = replace(record, turns=turns, context=now("context", record.context), baselines=baselines)
    return Outcome(after, tuple(findings))


def _deidentify(
    texts: Mapping[str, str],
    language: str | None,
    profile: Profile,
    clinical: bool,
    replacement: Callable[[str, str], str],
) -> dict[str, tuple[str, Sequence[Edit]]]:
    """Each text in which something was found: cleaned, with its edits. ``replacement`` takes a kind and the words of that kind."""
    drafts: dict[str, Draft] = {}
    now = {field: text for field, text in texts.items() if text}
    if has_residue("\n".join(now.values())):
        for field, text in now.items():
            if has_residue(text):
                draft = Draft(text)
                scrub(draft)
                if draft.edits:
                    drafts[field] = draft
                    now[field] = draft.text
    found: dict[str, list[Found]] = {}
    for (field, text), hits in zip(now.items(), look(list(now.values()), language, clinical), strict=True):
        if (hits or profile == "full") and (
            spans := _settled(text, find(text, language, profile, clinical, hits))
        ):
            found[field] = spans
    if names := [now[f][s.start : s.end] for f, spans in found.items() for s in spans if s.label == "NAME"]:
        known = Known(names)
        for field, text in now.items():
            if again := list(known.find(text)):
                found[field] = _settled(text, [*found.get(field, ()), *again])
    for field, spans in found.items():
        text = now[field]
        draft = drafts.setdefault(field, Draft(text))
        draft.change(
            [
                Edit(start, end, replacement(kind, text[start:end]), kind, detail)
                for start, end, kind, detail in spans
            ]
        )
    return {
        field: (drafts[field].text, drafts[field].edits)
        for field in texts
        if field in drafts and drafts[field].edits
    }


def _settled(text: str, found: Iterable[Found]) -> list[Found]:
    """Without overlaps, and outside of placeholders that stand there already."""
    placeholders = [m.span() for m in _PLACEHOLDER.finditer(text)] if "[" in text else []
    return without_overlaps(text, found, placeholders)


def _placeholder(kind: str, _: str) -> str:
    return f"[{kind}]"
