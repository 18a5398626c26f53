"""Which groups of people a text names, so that a filter that removes more about some of them shows.

A filter of offensive language removes what is said about a group along with what is said against it; Dodge et
al. ("Documenting Large Webtext Corpora", EMNLP 2021) found that a block list did so for minorities above all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import sqrt

from mulmed.corpus.moderate.lexicon import GROUPS, Found, matcher

#: 97.5 % quantile of the normal distribution: intervals of 95 %.
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Removal:
    """How many of the records that name a group were removed.

    Attributes:
        group: ``ethnicity``, ``religion``, ``sex``, ``sexual orientation``, ``disability``, ``age``, ``body``,
            ``poverty``; ``any`` for records that name at least one of them, ``none`` for the others.
        share: ``removed / records``.
        low, high: 95 % Wilson score interval of the share (Wilson 1927).
    """

    group: str
    records: int
    removed: int
    share: float
    low: float
    high: float


def group_terms(text: str, language: str | None = None) -> tuple[str, ...]:
    """Names of the groups that a text names, in alphabetical order; each once.

    The lists of every language are asked: ``language`` is not needed to read a text, and is there so that all
    functions on one text are called alike.
    """
    del language
    return named([found for _, _, found in matcher((GROUPS,)).matches_each([text])])


def named(found: Iterable[Found]) -> tuple[str, ...]:
    """Names of the groups of people among what the lists find in some texts, in alphabetical order; each once."""
    prefix = f"{GROUPS}:"
    return tuple(
        sorted({kind.removeprefix(prefix) for held in found for kind in held if kind.startswith(prefix)})
    )


def removals(decided: Iterable[tuple[tuple[str, ...], bool]]) -> tuple[Removal, ...]:
    """The table of removals by group.

    Args:
        decided: for each record the groups it names, and whether it was removed.

    Returns:
        a line for each group that some record names, in alphabetical order, then ``any`` and ``none``.
    """
    counts: dict[str, list[int]] = {"any": [0, 0], "none": [0, 0]}
    for groups, removed in decided:
        for group in (*groups, "any" if groups else "none"):
            held = counts.setdefault(group, [0, 0])
            held[0] += 1
            held[1] += removed
    order = sorted(counts, key=lambda g: (g in ("any", "none"), g))
    return tuple(removal(group, *counts[group]) for group in order)


def removal(group: str, records: int, removed: int) -> Removal:
    """One line of the table, from counts that may have been added up over chunks.

    Raises:
        ValueError: more were removed than there are.
    """
    if not 0 <= removed <= records:
        raise ValueError(f"{removed} of {records} records cannot have been removed")
    if records == 0:
        return Removal(group, 0, 0, 0.0, 0.0, 1.0)
    share = removed / records
    scale = 1 + _Z**2 / records
    middle = (share + _Z**2 / (2 * records)) / scale
    half = _Z / scale * sqrt(share * (1 - share) / records + _Z**2 / (4 * records**2))
    # The interval of nothing at all begins at zero exactly, that of everything ends at one.
    low = 0.0 if removed == 0 else max(0.0, middle - half)
    high = 1.0 if removed == records else min(1.0, middle + half)
    return Removal(group, records, removed, share, low, high)
