"""What a model's reply must not say unmarked: doses, prescriptions, certainty, promises of a cure, "as a doctor".

The reply is judged sentence by sentence, on a folded copy (one case and width, nothing invisible, no look-alikes),
and each kind is answered as the policy says: with a note below the answer, with softer words, or with a line in the
sentence's place. Patterns are data (``patterns/LANGUAGE.yaml``), the lines are in ``texts/``.

Where a sentence ends depends on what stands before only, so that a reply that comes in pieces gives the same
text however it is cut.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Literal, get_args

import yaml

from mulmed.safety.normalize import fold
from mulmed.safety.notice import texts_of

Kind = Literal["dosage", "prescription", "certainty", "cure", "doctor"]
Action = Literal["allow", "note", "soften", "block"]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: A sentence is cut after this many characters, whatever they are.
LONGEST = 1000
#: How far back a pattern's "not" looks.
_BACK = 60


@dataclass(frozen=True, slots=True)
class Policy:
    """What to do with each kind of sentence.

    ``allow``: nothing. ``note``: a line below the answer, once. ``soften``: other words in place of those found; the
    whole sentence as ``block`` where there are none. ``block``: a line in the sentence's place.
    """

    dosage: Action = "note"
    prescription: Action = "block"
    certainty: Action = "soften"
    cure: Action = "soften"
    doctor: Action = "soften"


@dataclass(frozen=True, slots=True)
class Finding:
    """Characters ``start`` to ``end`` of a sentence that say one of the :data:`KINDS`; ``to``: softer words, if there are any."""

    kind: Kind
    start: int
    end: int
    to: str | None


@dataclass(frozen=True, slots=True)
class _Pattern:
    kind: Kind
    find: re.Pattern[str]
    to: str | None
    group: int
    unless: re.Pattern[str] | None


def findings(sentence: str) -> tuple[Finding, ...]:
    """What one sentence of a reply says of the :data:`KINDS`, in either language; by kind, then by place."""
    folded = fold(sentence)
    found = []
    for pattern in _patterns(any("\u3400" <= char <= "\u9fff" for char in folded.text)):
        for match in pattern.find.finditer(folded.text):
            before = folded.text[max(match.start() - _BACK, 0) : match.start()]
            if pattern.unless is None or not pattern.unless.search(before):
                start, end = folded.source(*match.span(pattern.group))
                to = match.expand(pattern.to) if pattern.to is not None else None
                found.append(Finding(pattern.kind, start, end, to))
    return _apart(found)


def _apart(found: list[Finding]) -> tuple[Finding, ...]:
    """No two of a kind that overlap: those with softer words before those without, the first, the longest."""
    kept: list[Finding] = []
    for finding in sorted(found, key=lambda f: (KINDS.index(f.kind), f.to is None, f.start, -f.end)):
        if not any(k.kind == finding.kind and k.start < finding.end and finding.start < k.end for k in kept):
            kept.append(finding)
    return tuple(sorted(kept, key=lambda f: (KINDS.index(f.kind), f.start)))


class PolicyFilter:
    """Applies a policy to a reply as it streams.

    Attributes:
        actions: how often each action was taken, by ``kind:action``; fit for a log.
    """

    def __init__(self, policy: Policy, language: str) -> None:
        self._policy = policy
        self._texts = texts_of(language)["policy"]
        self._language = language
        self._begun = ""
        self._notes: list[Kind] = []
        self.actions = Counter[str]()

    def feed(self, piece: str) -> str:
        """The sentences that end in ``piece``, as they may be shown."""
        shown = []
        for char in piece:
            self._begun += char
            if _ends(self._begun):
                shown.append(self._judged(self._begun))
                self._begun = ""
        return "".join(shown)

    def finish(self) -> str:
        """The last sentence, and the notes, once the reply has ended."""
        rest = self._judged(self._begun) if self._begun else ""
        self._begun = ""
        notes = [self._texts["note"][kind] for kind in self._notes]
        self._notes = []
        return rest + ("\n\n" + ("" if self._language == "zh" else " ").join(notes) if notes else "")

    def _judged(self, sentence: str) -> str:
        """The sentence, other words for it, or the line in its place; the space around it stays."""
        softened: list[Finding] = []
        blocked: Kind | None = None
        for finding in findings(sentence):
            action: Action = getattr(self._policy, finding.kind)
            if action == "soften" and finding.to is None:
                action = "block"
            if action == "allow":
                continue
            self.actions[f"{finding.kind}:{action}"] += 1
            if action == "note" and finding.kind not in self._notes:
                self._notes.append(finding.kind)
            elif action == "soften":
                softened.append(finding)
            elif action == "block":
                blocked = blocked or finding.kind
        if blocked:
            begin = len(sentence) - len(sentence.lstrip())
            end = len(sentence.rstrip())
            return sentence[:begin] + str(self._texts["block"][blocked]) + sentence[end:]
        return _softened(sentence, softened)


def apply_policy(text: str, policy: Policy, language: str) -> str:
    """A whole reply as :class:`PolicyFilter` shows it."""
    reply = PolicyFilter(policy, language)
    return reply.feed(text) + reply.finish()


def _softened(sentence: str, found: list[Finding]) -> str:
    """With softer words; where findings overlap, the first and longest."""
    pieces, position = [], 0
    for finding in sorted(found, key=lambda f: (f.start, -f.end)):
        if finding.start < position:
            continue
        to = finding.to or ""
        if to and sentence[finding.start].isupper():
            to = to[0].upper() + to[1:]
        pieces += [sentence[position : finding.start], to]
        position = finding.end
        if not to and finding.start == len(sentence) - len(sentence.lstrip()) and position < len(sentence):
            pieces.append(sentence[position].upper())  # "As a doctor, we ..." -> "We ..."
            position += 1
    return "".join([*pieces, sentence[position:]])


# --- sentences ---------------------------------------------------------------------------------------

_ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:dr|mr|mrs|ms|prof|st|vs|e\.g|i\.e|approx|no|fig|inj|tab|cap|[a-z]|\d{1,2})\.$",
    re.IGNORECASE,
)


def _ends(begun: str) -> bool:
    """Whether a sentence ends with the last character, which only what stands before it decides."""
    last = begun[-1]
    if last in "\n。！？；" or len(begun) >= LONGEST:
        return True
    if not last.isspace() or len(begun) < 2:
        return False
    before = begun[-12:-1].rstrip("\"'”’)]*_")
    return bool(before) and before[-1] in ".!?" and not _ABBREVIATION.search(begun[-12:-1])


# --- patterns ----------------------------------------------------------------------------------------


@functools.cache
def _patterns(han: bool) -> tuple[_Pattern, ...]:
    """Patterns for a sentence without, or with Han characters (both languages then)."""
    if han:
        return (*_patterns(False), *_read("zh"))
    return _read("en")


def _read(language: str) -> tuple[_Pattern, ...]:
    text = (files("mulmed.safety") / "patterns" / f"{language}.yaml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    names: dict[str, str] = document["names"]
    return tuple(
        _Pattern(
            kind,
            re.compile(entry["find"].format(**names)),
            entry.get("to"),
            entry.get("group", 0),
            re.compile(entry["not"]) if "not" in entry else None,
        )
        for kind in KINDS
        for entry in document[kind]
    )
