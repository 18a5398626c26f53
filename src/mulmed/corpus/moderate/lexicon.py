"""The phrase lists, and one pass over texts that tells which of their lines to try, and where.

A line of ``lexicons/<kind>_<language>.txt`` is a pattern in lower case (see :mod:`.literals` for its syntax),
tried on the text in lower case. An English line matches whole words only. Lists of all languages are tried
on every text: an answer may be in another language than its question.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate

from ahocorasick_rs import BytesAhoCorasick, Implementation, MatchKind

from mulmed.corpus.moderate.literals import announced_by, begun_by, rarity
from mulmed.recipe.language import added

LANGUAGES = ("en", "zh")
#: Lists that condemn a text, in the order in which they are asked.
CONDEMNS = ("insult", "hate", "sexual", "weapons", "gambling")
SELLS = ("advertisement", "referral")
#: Lists of what people in despair say, of words that name suicide and self-harm in any way, and of words
#: that offend in some contexts: they only have the classifier asked.
CRISIS, MENTION, CUE = "crisis", "mention", "cue"
KINDS = (*CONDEMNS, *SELLS, CRISIS, MENTION, CUE)
#: The lists of words that name groups of people (:mod:`.groups`), which are looked for along with the others.
GROUPS = "groups"

# Bytes in lower case are what a text in lower case is, as far as the lists go: beyond ASCII they name no letter that
# has a case, and only one sign, that of the kelvin, has an ASCII letter as its lower case.
_KELVIN = "\u212a".encode()
_SEPARATOR = "\x00"

# What the lists name by its placeholder, for corpora that are not de-identified.
_UNMASKED = {
    r"\[url\]": r"https?://\S+|www\.\S+",
    r"\[email\]": r"[\w.+-]+@[\w.-]+",
    r"\[phone\]": r"\+?\d[\d -]{6,}",
    r"\[account\]": r"[a-z0-9_-]{5,}",
    r"\[hospital\]": r"(?:[a-z]\w+ )+(?:clinic|hospital)",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a list: its kind, and for groups and hate what it is about."""

    kind: str
    pattern: str

    def search(self, text: str) -> Iterator[re.Match[str]]:
        """Its matches in a text in lower case."""
        return _compiled(self.pattern).finditer(text)

    def search_at(self, text: str, places: Iterable[int]) -> Iterator[re.Match[str]]:
        """Its matches in a text in lower case, given all places at which one may begin."""
        match, end = _compiled(self.pattern).match, 0
        for place in sorted(places):
            if place >= end and (found := match(text, place)):
                end = found.end()
                yield found


#: The matches in a text by the kind of their lines, no kind without a match.
Found = dict[str, list[re.Match[str]]]


@dataclass(frozen=True, slots=True)
class Matcher:
    """Lines, and the automata of the strings that announce and begin their matches.

    Attributes:
        automaton: of the strings that announce matches.
        announces: for each of them the lines that are tried where it stands.
        beginnings: automaton of strings that begin matches which another string announces.
        begins: for each line, with which of these each of its matches begins; empty where it begins with the very
            string that announces it, ``None`` where it may begin with anything.
        cased: whether letters beyond ASCII that have a case may stand in a line.
    """

    lines: tuple[Line, ...]
    automaton: BytesAhoCorasick
    announces: tuple[tuple[int, ...], ...]
    beginnings: BytesAhoCorasick
    begins: tuple[frozenset[int] | None, ...]
    cased: bool = False

    def matches(self, plain: str) -> Found:
        """The matches of all lines in a text in lower case, as trying every line on it would find them."""
        return next((found for _, _, found in self.matches_each((plain,))), {})

    def matches_each(self, texts: Sequence[str]) -> list[tuple[int, str, Found]]:
        """The texts with a match: each one's position, the text in lower case, and :meth:`matches`.

        One pass looks at all texts. No string of the automaton holds the sign between two of them.
        """
        whole = _SEPARATOR.join(texts).encode()
        # Nor do bytes in lower case find the capitals of the languages that files have added.
        if _KELVIN in whole or (self.cased and not all(text == folded(text) for text in texts)):
            return self.matches_each([folded(text) for text in texts])
        hits = self.automaton.find_matches_as_indexes(whole.lower(), overlapping=True)
        if not hits:
            return []
        sizes = (len(text) if text.isascii() else len(text.encode()) for text in texts)
        ends = list(accumulate(size + 1 for size in sizes))
        suspects: dict[int, dict[int, list[int]]] = {}  # text -> line -> where it was announced
        for literal, start, _ in hits:
            lines = suspects.setdefault(bisect_right(ends, start), {})
            for line in self.announces[literal]:
                lines.setdefault(line, []).append(start)
        each: list[tuple[int, str, Found]] = []
        for index, lines in suspects.items():
            first = ends[index - 1] if index else 0
            raw = whole[first : ends[index] - 1]
            if found := self._found(plain := folded(texts[index]), raw, self._places(raw, first, lines)):
                each.append((index, plain, found))
        return each

    def _places(self, raw: bytes, first: int, lines: Mapping[int, list[int]]) -> dict[int, list[int]]:
        """Where in one text matches of some lines may begin, in bytes, given where in all they are announced."""
        places = {line: [start - first for start in starts] for line, starts in lines.items()}
        others = [line for line in lines if self.begins[line]]
        if others:
            begun = self.beginnings.find_matches_as_indexes(raw.lower(), overlapping=True)
            for line in others:
                begins = self.begins[line] or ()
                places[line] = [start for literal, start, _ in begun if literal in begins]
        return places

    def _found(self, plain: str, raw: bytes, places: Mapping[int, list[int]]) -> Found:
        """The matches of some lines in one text, given where each may begin, in bytes."""
        found: Found = {}
        plainly = len(plain) == len(raw)
        for position in sorted(places):
            line, starts = self.lines[position], places[position]
            if self.begins[position] is None:
                matches = list(line.search(plain))
            else:
                if not plainly:
                    starts = [len(raw[:start].decode()) for start in starts]
                matches = list(line.search_at(plain, starts))
            if matches:
                found.setdefault(line.kind, []).extend(matches)
        return found


def matcher(kinds: tuple[str, ...] = (*KINDS, GROUPS)) -> Matcher:
    """The matcher of some kinds of lists, in all languages."""
    return _matcher(
        kinds,
        tuple(
            (kind, own.units == "words", phrases)
            for own in added().values()
            for kind, phrases in own.unwanted.items()
            if kind in kinds
        ),
    )


@cache
def _matcher(kinds: tuple[str, ...], more: tuple[tuple[str, bool, tuple[str, ...]], ...]) -> Matcher:
    """The matcher of some kinds of lists, and of phrases that whole words spell, or any characters."""
    lines = tuple(line for kind in kinds for language in LANGUAGES for line in lines_of(kind, language))
    lines += tuple(
        Line(kind, rf"(?<!\w)(?:{plain})(?!\w)" if whole else plain)
        for kind, whole, phrases in more
        for plain in (re.escape(folded(phrase)) for phrase in phrases)
    )
    announces: dict[str, list[int]] = {}
    begun: list[frozenset[str] | None] = []
    nothing: frozenset[str] = frozenset()
    for position, line in enumerate(lines):
        told, begins = announced_by(line.pattern), begun_by(line.pattern)
        if begins is not None and rarity(begins) >= rarity(told):
            told, begins = begins, nothing
        begun.append(begins)
        for literal in told:
            announces.setdefault(literal, []).append(position)
    first = {literal: n for n, literal in enumerate(sorted({b for begins in begun for b in begins or ()}))}
    return Matcher(
        lines,
        _automaton(announces),
        tuple(map(tuple, announces.values())),
        _automaton(first),
        tuple(None if begins is None else frozenset(first[b] for b in begins) for begins in begun),
        cased=bool(more),
    )


def _automaton(literals: Iterable[str]) -> BytesAhoCorasick:
    return BytesAhoCorasick(
        [literal.encode() for literal in literals],
        matchkind=MatchKind.Standard,
        implementation=Implementation.DFA,
    )


def lines_of(kind: str, language: str) -> list[Line]:
    """The lines of one list as patterns; a heading ``[name]`` makes the kind of those under it ``kind:name``."""
    lines, heading = [], ""
    for written in read(f"{kind}_{language}"):
        if written.startswith("[") and written.endswith("]"):
            heading = f":{written[1:-1]}"
            continue
        pattern = re.sub(r"\\?.", lambda m: m[0] if m[0][0] == "\\" else m[0].lower(), written)
        for placeholder, raw in _UNMASKED.items():
            pattern = pattern.replace(placeholder, f"(?:{placeholder}|{raw})")
        # Only a letter makes an edge matter: "50% off" begins with none, "[URL]" ends with none.
        edged = rf"(?<![a-z])(?:{pattern})(?![a-z])" if language == "en" else f"(?:{pattern})"
        lines.append(Line(kind + heading, edged))
    return lines


@cache
def read(name: str) -> tuple[str, ...]:
    """The lines of a list as they are written, without comments; none where there is no such list."""
    source = files("mulmed.corpus").joinpath("lexicons", f"{name}.txt")
    if not source.is_file():
        return ()
    lines = source.read_text(encoding="utf-8").splitlines()
    return tuple(line for line in lines if line and not line.startswith("#"))


def folded(text: str) -> str:
    """The text in lower case, every character where it stood."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(c if len(c.lower()) > 1 else c.lower() for c in text)  # Turkish dotted I


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern)
