"""Identifiers out of what the user writes before the model or a log sees them, and back into the reply.

The corpus's own de-identification finds them; each value gets a numbered placeholder (``[NAME_1]``), the same one
wherever the conversation has it again. What the user typed that looks like such a placeholder is masked as well
(``[TEXT_1]``), so that a placeholder in the reply is always one of ours. The values stay in a :class:`Vault` that
is made anew from the conversation at every request and kept nowhere.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import ahocorasick_rs

from mulmed.corpus.deidentify import deidentify_text
from mulmed.corpus.deidentify.rules import Profile

#: What a placeholder looks like.
_PLACEHOLDER = re.compile(r"\[[A-Z]+(?:_[A-Z]+)*_\d+\]")
#: Kinds whose values are told apart by their letters and digits only.
_NUMBERS = frozenset({"PHONE", "ID", "LICENSE", "RECORD_NUMBER", "ACCOUNT", "PLATE", "DEVICE", "ZIP"})
#: A name of a site identifies nobody who writes.
_STAYS = frozenset({"SITE"})
_Place = tuple[int, int, str]  # start, end, placeholder
_LATIN = re.compile(r"[A-Za-z0-9]")


@dataclass(frozen=True, slots=True)
class Vault:
    """The values behind the placeholders of one conversation. Never logged, never stored.

    Attributes:
        values: placeholder to the value as it was first written, in the order of first appearance.
    """

    values: dict[str, str] = field(default_factory=dict, repr=False)

    def counts(self) -> dict[str, int]:
        """How many different values of each kind there are; fit for a log."""
        found: dict[str, int] = {}
        for placeholder in self.values:
            kind = placeholder[1:].rpartition("_")[0].lower()
            found[kind] = found.get(kind, 0) + 1
        return found


@dataclass(frozen=True, slots=True)
class Masked:
    """A conversation without identifiers.

    Attributes:
        texts: the texts in their order, masked.
        vault: what stands behind the placeholders.
    """

    texts: tuple[str, ...]
    vault: Vault = field(repr=False)


def mask(texts: Sequence[str], language: str | None = None, profile: Profile = "fast") -> Masked:
    """All texts of a conversation with numbered placeholders in place of identifiers.

    A value found in one text is masked in all of them, also where nothing else gives it away (a reply that repeats
    the name). Placeholders are numbered by first discovery, so that a conversation that grows keeps its numbers.

    Args:
        texts: the turns of a conversation, the user's and the assistant's, in order.
        language: as :func:`mulmed.corpus.deidentify.deidentify_text`.
        profile: likewise.

    Raises:
        MulmedError: as :func:`mulmed.corpus.deidentify.deidentify_text`.
    """
    placeholders: dict[tuple[str, str], str] = {}  # kind and identity of a value
    numbers = Counter[str]()
    values: dict[str, str] = {}
    forms: dict[str, str] = {}  # each way a value is written, and its placeholder
    found: list[list[_Place]] = []
    for text in texts:
        spans = [(m.start(), m.end(), "TEXT") for m in _PLACEHOLDER.finditer(text)]
        for span in deidentify_text(text, language, profile).spans:
            kind = span.kind.partition("+")[0].upper()
            if kind not in _STAYS and text[span.start : span.end].strip():
                spans.append((span.start, span.end, kind))
        found.append([])
        for start, end, kind, placeholder in _settled(spans, _Known(forms).find(text)):
            value = text[start:end]
            key = (kind, _identity(kind, value))
            if not placeholder and key not in placeholders:
                numbers[kind] += 1
                placeholders[key] = f"[{kind}_{numbers[kind]}]"
                values[placeholders[key]] = value
            if not placeholder and kind != "TEXT":
                forms.setdefault(value, placeholders[key])
            found[-1].append((start, end, placeholder or placeholders[key]))
    masked = []
    known = _Known(forms)
    for text, places in zip(texts, found, strict=True):
        pieces, position = [], 0
        for start, end, placeholder in [*places, (len(text), len(text), "")]:
            between, begin = text[position:start], 0
            for first, last, again in known.find(between):  # found in a later text
                pieces += [between[begin:first], again]
                begin = last
            pieces += [between[begin:], placeholder]
            position = end
        masked.append("".join(pieces))
    return Masked(tuple(masked), Vault(values))


class _Known:
    """Finds known values, the longest first; Latin ones as whole words, and none that is a single character."""

    def __init__(self, forms: dict[str, str]) -> None:
        self._forms = [(form, placeholder) for form, placeholder in forms.items() if len(form) > 1]
        self._automaton = ahocorasick_rs.AhoCorasick([form for form, _ in self._forms])

    def find(self, text: str) -> list[_Place]:
        matches = self._automaton.find_matches_as_indexes(text, overlapping=True)
        places: list[_Place] = []
        for start, behind, which in sorted((start, -end, which) for which, start, end in matches):
            end = -behind
            if (not places or start >= places[-1][1]) and not (_cuts(text, start) or _cuts(text, end)):
                places.append((start, end, self._forms[which][1]))
        return places


def _cuts(text: str, at: int) -> bool:
    """Whether a Latin word or a number goes on across a place."""
    return 0 < at < len(text) and all(map(_LATIN.match, text[at - 1 : at + 1]))


def _settled(spans: list[tuple[int, int, str]], known: list[_Place]) -> list[tuple[int, int, str, str]]:
    """Without overlaps: start, end, kind, and the placeholder if a known value covers all that touches there."""
    merged: list[tuple[int, int, str, str]] = []
    every = [(start, end, kind, "") for start, end, kind in spans]
    for start, end, kind, placeholder in sorted(
        [*every, *((start, end, p[1:].rpartition("_")[0], p) for start, end, p in known)]
    ):
        if not merged or start >= merged[-1][1]:
            merged.append((start, end, kind, placeholder))
            continue
        first, last, before, covers = merged[-1]
        if covers and end <= last:
            continue
        if placeholder and start == first and end >= last:
            merged[-1] = (start, end, kind, placeholder)
        else:
            merged[-1] = (first, max(last, end), before, "")
    return merged


def _identity(kind: str, value: str) -> str:
    """What two ways of writing a value have in common."""
    if kind == "TEXT":
        return value
    folded = value.casefold()
    return "".join(filter(str.isalnum, folded)) if kind in _NUMBERS else " ".join(folded.split())


# --- the way back ------------------------------------------------------------------------------------


def restore(text: str, vault: Vault) -> str:
    """A reply with the values in place of their placeholders; what is no placeholder of this conversation stays."""
    return _PLACEHOLDER.sub(lambda m: vault.values.get(m[0], m[0]), text)


class Restorer:
    """:func:`restore` for a reply that comes in pieces: however it is cut, the same text comes out.

    Held back is only what may be the beginning of one of the conversation's placeholders.
    """

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._begun = ""

    def feed(self, piece: str) -> str:
        """What can be shown now that ``piece`` has come."""
        text = self._begun + piece
        at = text.rfind("[")
        if at >= 0 and any(p.startswith(text[at:]) for p in self._vault.values if p != text[at:]):
            self._begun, text = text[at:], text[:at]
        else:
            self._begun = ""
        return restore(text, self._vault)

    def finish(self) -> str:
        """What was held back, once the reply has ended."""
        rest, self._begun = self._begun, ""
        return restore(rest, self._vault)
