"""What every cleaning stage shares: from a decision about each record to table and audit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mulmed.corpus.batch import Change
from mulmed.corpus.edits import Edit
from mulmed.corpus.record import Record, Turn


class Finding(NamedTuple):
    """A rule that fired, how often, and what may be told about it (never the words).

    Where it changed a stretch of one text, ``field`` and ``edit`` say which, and ``removed`` is what stood
    there: the audit keeps its length and a keyed hash of it.
    """

    rule: str
    count: int = 1  # type: ignore[assignment]  # a tuple has a method of that name
    detail: str = ""
    field: str = ""
    edit: Edit | None = None
    removed: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a stage decided about a record: the record to keep (``None``: dropped), and why."""

    record: Record | None
    findings: tuple[Finding, ...] = ()


#: Cleans one text in a language: the text, and the edits that made it out of the one given.
TextFunction = Callable[[str, str], tuple[str, Sequence[Edit]]]


def texts_of(record: Record) -> list[str]:
    """All texts of a record: its turns, its context, the answers of other systems."""
    return [*(t.text for t in record.turns), record.context, *record.baselines.values()]


def map_texts(record: Record, function: TextFunction) -> Outcome:
    """The record with ``function`` applied to each of its texts, and a finding an edit."""
    findings: list[Finding] = []

    def apply(field: str, text: str) -> str:
        if not text:
            return text
        cleaned, edits = function(text, record.language)
        findings.extend(findings_of(field, text, edits))
        return cleaned

    turns = tuple(Turn(t.role, apply(f"turns[{i}]", t.text)) for i, t in enumerate(record.turns))
    context = apply("context", record.context)
    baselines = {system: apply(f"baselines[{system}]", text) for system, text in record.baselines.items()}
    if not findings:
        return Outcome(record)
    return Outcome(replace(record, turns=turns, context=context, baselines=baselines), tuple(findings))


def findings_of(field: str, text: str, edits: Iterable[Edit]) -> Iterator[Finding]:
    """A finding for each edit of one field of a record, one a rule where several touched a stretch."""
    for edit in edits:
        start, end, _, rules, detail = edit
        for rule in rules.split("+"):
            yield Finding(rule, 1, detail, field, edit, text[start:end])


def changes_of(stage: str, before: Record, outcome: Outcome, key: bytes | None) -> Iterator[Change]:
    """The audit rows of an outcome.

    Args:
        key: for the hashes of removed text. Without it there are none: whoever knows how a hash is made can
            try all telephone numbers.
    """
    after = outcome.record
    action = "dropped"
    if after is not None:
        same = (before.turns, before.context, before.baselines) == (
            after.turns,
            after.context,
            after.baselines,
        )
        action = "tagged" if same else "changed"
    whole = sum(map(len, texts_of(before))) if after is None else 0
    for finding in outcome.findings:
        edit, removed = finding.edit, finding.removed
        # Positional: a corpus has a million of these.
        yield Change(
            before.id, before.source, stage, action, finding.rule, finding.count, finding.field,
            edit.start if edit else None,
            edit.end if edit else None,
            len(removed) if edit else whole,
            keyed_hash(removed, key) if key is not None and removed else "",
            _tellable(stage, edit.replacement) if edit else None,
            finding.detail,
        )  # fmt: skip


def _tellable(stage: str, replacement: str) -> str | None:
    """A replacement as far as the audit may tell it.

    Placeholders and surrogates name nobody. What another stage puts in place may: a telephone number
    in ordinary digits where it stood in wide ones, a name that was unreadable.
    """
    return replacement if stage == "deidentify" or not any(map(str.isalnum, replacement)) else None


def keyed_hash(text: str, key: bytes) -> str:
    """16 hex digits of BLAKE2b over the text under a key of at most 64 bytes."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), key=key, digest_size=8).hexdigest()
