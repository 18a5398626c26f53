"""Literal strings that stand in every match of a pattern, so that one pass can tell which patterns to try.

Russ Cox describes the idea for code search ("Regular Expression Matching with a Trigram Index", 2012): from
the pattern's structure follow sets of strings, one of which any match must hold, and others with one of which
it must begin. The word lists are written
in a small part of the syntax of ``re``: literals, ``(?:a|b)``, sets, ``.`` and ``\\w \\d \\s \\b``, the usual
repetitions, and look-arounds. Anything else is refused, and so is a pattern that no literal announces.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import NamedTuple

_MOST = 1024  # so many strings at most are followed
_FEW = 128  # so many beginnings at most: what begins differently is not worth telling apart further on
_BEGIN = 9  # a beginning is cut to so many letters, or a third as many Chinese characters
_LONG = 12  # a longer string is hardly rarer, and there are more of them
_ENOUGH = 12  # a literal is cut to so many characters: a small automaton stays in the processor's cache
_ZERO_WIDTH = ("?=", "?!", "?<=", "?<!")
# Strings that announce nothing, since they stand in every other text.
_COMMON = frozenset(
    [
        "you",
        "your",
        "you're",
        "you are",
        "you r",
        "with",
        "from",
        "the",
        "and",
        "women",
        "call",
        "visit",
        "our",
        "please",
        "should",
        "want to",
        "details",
        "医院",
        "自己",
        "还是",
        "很多",
        "女性",
        "男性",
        "咨询",
        "不要",
    ]
)


class _Part(NamedTuple):
    """What is known of a piece of a pattern.

    ``exact``: all strings it can match, if they are few. ``needed``: strings of which each match holds one.
    ``first``: strings with one of which each match begins, where ``exact`` does not tell.
    """

    exact: frozenset[str] | None = None
    needed: frozenset[str] | None = None
    first: frozenset[str] | None = None

    @property
    def beginnings(self) -> frozenset[str] | None:
        """What each match begins with; none where it may be empty or anything."""
        known = self.exact or self.first
        return None if known and "" in known else known


_NOTHING = _Part(frozenset({""}))
_ANYTHING = _Part()


def announced_by(pattern: str) -> frozenset[str]:
    """Strings of which each match of ``pattern`` holds at least one, the longest that could be found.

    Raises:
        ValueError: no literal of two letters or one Chinese character announces it, or it uses other syntax.
    """
    part = _read(pattern)
    needed = _best([part.needed, part.exact])
    if needed is None or any(len(n) < 2 and n.isascii() for n in needed):
        raise ValueError(f"no literal announces {pattern!r}")
    short = {n[:_ENOUGH] for n in needed}  # what starts with a string is announced by it, too
    return frozenset(n for n in short if short.isdisjoint(_inner(n)))


def _inner(literal: str) -> Iterator[str]:
    """The strings within a string that are shorter than it."""
    size = len(literal)
    return (literal[i:j] for i in range(size) for j in range(i + 1, size + 1) if j - i < size)


def begun_by(pattern: str) -> frozenset[str] | None:
    """Strings with one of which each match of ``pattern`` begins, none a beginning of another.

    ``None`` where there are none of at least three letters or one Chinese character.

    Raises:
        ValueError: the pattern uses other syntax.
    """
    known = _read(pattern).beginnings
    if known is None or any(len(k) < 3 and k.isascii() for k in known):
        return None
    short = {k[: _BEGIN if k.isascii() else _BEGIN // 3] for k in known}
    return frozenset(k for k in short if not any(k[:n] in short for n in range(1, len(k))))


def rarity(literals: frozenset[str]) -> int:
    """How much the commonest of some strings tells where it stands: 1 to 6."""
    return min(map(_rarity, literals))


@cache
def _read(pattern: str) -> _Part:
    reader = _Reader(pattern)
    part = reader.alternatives()
    if reader.position != len(pattern):
        raise ValueError(f"unbalanced pattern {pattern!r}")
    return part


class _Reader:
    """Recursive descent over one pattern."""

    def __init__(self, pattern: str) -> None:
        self.pattern, self.position = pattern, 0

    def alternatives(self) -> _Part:
        branches = [self.sequence()]
        while self._take("|"):
            branches.append(self.sequence())
        return _union(branches)

    def sequence(self) -> _Part:
        exact: frozenset[str] | None = frozenset({""})
        run: frozenset[str] = frozenset({""})  # what the parts since the last unknown one can spell
        found: list[frozenset[str] | None] = []
        first: frozenset[str] | None = frozenset({""})
        growing = True
        while self.position < len(self.pattern) and self.pattern[self.position] not in "|)":
            part = self._repeated()
            found.append(part.needed)
            if growing:
                longer = _joined(first, part.exact if part.exact is not None else part.first, _FEW)
                growing = longer is not None and part.exact is not None and rarity(longer) < _LONG
                first = longer or first
            exact = _joined(exact, part.exact)
            longer = _joined(run, part.exact)
            if longer is None:
                found.append(run)
                run = part.exact if part.exact is not None else frozenset({""})
            else:
                run = longer
        return _Part(exact, _best([*found, run]), first if first and "" not in first else None)

    def _repeated(self) -> _Part:
        part = self._atom()
        while self.position < len(self.pattern):
            if self._take("?"):
                part = _Part(part.exact | {""} if part.exact is not None else None)
            elif self._take("*"):
                part = _ANYTHING
            elif self._take("+"):
                part = _Part(None, _best([part.needed, part.exact]), part.beginnings)
            elif self.pattern[self.position] == "{":
                end = self.pattern.index("}", self.position)
                least = int(self.pattern[self.position + 1 : end].split(",")[0])
                self.position = end + 1
                needed = _best([part.needed, part.exact])
                part = _Part(None, needed, part.beginnings) if least else _ANYTHING
            else:
                break
        return part

    def _atom(self) -> _Part:
        character = self.pattern[self.position]
        self.position += 1
        if character == "(":
            return self._group()
        if character == "[":
            end = self.pattern.index("]", self.position + 1)
            inside = self.pattern[self.position : end]
            self.position = end + 1
            plain = (
                not ({"\\"} | {"-"} & set(inside[1:-1])) & set(inside)
                and inside[0] != "^"
                and len(inside) <= 12
            )
            return _Part(frozenset(inside)) if plain else _ANYTHING
        if character == ".":
            return _ANYTHING
        if character in "^$":
            return _NOTHING
        if character == "\\":
            escaped = self.pattern[self.position]
            self.position += 1
            if escaped in "bB":
                return _NOTHING
            return _ANYTHING if escaped in "wdsWDS" else _Part(frozenset({escaped}))
        return _Part(frozenset({character}))

    def _group(self) -> _Part:
        kind = next((k for k in _ZERO_WIDTH if self.pattern.startswith(k, self.position)), None)
        if kind is None and not self.pattern.startswith("?:", self.position):
            raise ValueError(f"only (?:...) and look-arounds in {self.pattern!r}")
        self.position += len(kind or "?:")
        part = self.alternatives()
        if not self._take(")"):
            raise ValueError(f"unbalanced pattern {self.pattern!r}")
        return _NOTHING if kind else part

    def _take(self, character: str) -> bool:
        if self.pattern.startswith(character, self.position):
            self.position += 1
            return True
        return False


def _joined(
    left: frozenset[str] | None, right: frozenset[str] | None, most: int = _MOST
) -> frozenset[str] | None:
    if left is None or right is None or len(left) * len(right) > most:
        return None
    return frozenset(a + b for a, b in product(left, right))


def _union(branches: list[_Part]) -> _Part:
    if len(branches) == 1:
        return branches[0]
    exact: set[str] | None = set()
    needed: set[str] | None = set()
    first: set[str] | None = set()
    for branch in branches:
        exact = exact | branch.exact if exact is not None and branch.exact is not None else None
        best = _best([branch.needed, branch.exact])
        needed = needed | best if needed is not None and best is not None else None
        begins = branch.beginnings
        first = first | begins if first is not None and begins is not None else None
    few = exact is not None and len(exact) <= _MOST
    return _Part(
        frozenset(exact) if few and exact is not None else None,
        frozenset(needed) if needed else None,
        frozenset(first) if first else None,
    )


def _best(candidates: list[frozenset[str] | None]) -> frozenset[str] | None:
    """The rarest set: that whose shortest string is longest, then the smallest; ``None`` where none tells anything."""
    telling = [c for c in candidates if c and "" not in c]
    return max(telling, key=lambda c: (min(map(_rarity, c)), -len(c)), default=None)


def _rarity(literal: str) -> int:
    if literal.strip() in _COMMON:
        return 1
    return min(len(literal) if literal.isascii() else len(literal.encode()), _LONG)
