"""The phrase lists, and one pass over a text that tells which of their lines to try on it.

A line of ``lexicons/<kind>_<language>.txt`` is a pattern in lower case (see :mod:`.literals` for its syntax),
tried on the text in lower case. An English line matches whole words only. Lists of all languages are tried
on every text: an answer may be in another language than its question.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ahocorasick_rs import AhoCorasick, Implementation, MatchKind

from mulmed.corpus.moderate.literals import announced_by

LANGUAGES = ("en", "zh")
#: Lists that condemn a text, in the order in which they are asked.
CONDEMNS = ("insult", "hate", "sexual", "weapons", "gambling")
SELLS = ("advertisement", "referral")
#: Lists of what people in despair say, of words that name suicide and self-harm in any way, and of words
#: that offend in some contexts: they only have the classifier asked.
CRISIS, MENTION, CUE = "crisis", "mention", "cue"
KINDS = (*CONDEMNS, *SELLS, CRISIS, MENTION, CUE)

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


@dataclass(frozen=True, slots=True)
class Matcher:
    """Lines, and the automaton of the strings that announce them."""

    lines: tuple[Line, ...]
    automaton: AhoCorasick
    announces: tuple[tuple[int, ...], ...]  # positions of the lines that each string announces

    def lines_for(self, text: str) -> dict[str, list[Line]]:
        """The lines that may match a text in lower case, by kind; empty for most texts."""
        found = self.automaton.find_matches_as_indexes(text, overlapping=True)
        if not found:
            return {}
        announces = self.announces
        chosen: dict[str, list[Line]] = {}
        for position in sorted({p for literal, _, _ in found for p in announces[literal]}):
            line = self.lines[position]
            chosen.setdefault(line.kind, []).append(line)
        return chosen


@cache
def matcher(kinds: tuple[str, ...] = KINDS) -> Matcher:
    """The matcher of some kinds of lists, in all languages."""
    lines = tuple(line for kind in kinds for language in LANGUAGES for line in lines_of(kind, language))
    literals: dict[str, list[int]] = {}
    for position, line in enumerate(lines):
        for literal in announced_by(line.pattern):
            literals.setdefault(literal, []).append(position)
    automaton = AhoCorasick(list(literals), matchkind=MatchKind.Standard, implementation=Implementation.DFA)
    return Matcher(lines, automaton, tuple(map(tuple, literals.values())))


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
