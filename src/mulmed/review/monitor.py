"""What an administrator may know while a study is open: who is how far, and how far they agree; nothing of models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mulmed.review.coefficients import Coefficient, ac2, alpha, raw
from mulmed.review.ratings import Row, matrix, repeats
from mulmed.review.rubric import Rubric


@dataclass(frozen=True, slots=True)
class Progress:
    """One annotator's; ``last`` is when they last saved, None: never."""

    name: str
    total: int
    done: int
    skipped: int
    drafts: int
    last: str | None


@dataclass(frozen=True, slots=True)
class Agreement:
    """One axis over all answers so far; coefficients are None where undefined.

    ``twice`` counts hidden repeats rated both times, ``same`` those that got the same score.
    """

    axis: str
    scores: int
    alpha: float | None
    ac2: float | None
    raw: float | None
    twice: int
    same: int


def progress(rows: Sequence[Row]) -> list[Progress]:
    """By annotator."""
    found = []
    for name in dict.fromkeys(row.annotator for row in rows):
        mine = [row for row in rows if row.annotator == name]
        count = {status: sum(row.status == status for row in mine) for status in ("done", "skipped", "draft")}
        last = max((row.saved_at for row in mine if row.saved_at), default=None)
        found.append(Progress(name, len(mine), count["done"], count["skipped"], count["draft"], last))
    return found


def agreement(rows: Sequence[Row], rubric: Rubric) -> list[Agreement]:
    """By axis, of what is finished."""
    found = []
    for axis in rubric.axes:
        ratings, _, _ = matrix(rows, axis.key)
        again = repeats(rows, axis.key)
        found.append(
            Agreement(
                axis=axis.key,
                scores=int((ratings == ratings).sum()),
                alpha=_defined(alpha(ratings, "ordinal")),
                ac2=_defined(ac2(ratings, "quadratic", axis.values)),
                raw=_defined(raw(ratings)),
                twice=len(again),
                same=sum(a == b for _, a, b in again),
            )
        )
    return found


def _defined(coefficient: Coefficient) -> float | None:
    return None if math.isnan(coefficient.value) else coefficient.value
