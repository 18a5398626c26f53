"""Agreement of several raters: Krippendorff's alpha, Fleiss' and weighted kappa, Gwet's AC2, raw agreement.

Ratings are an array (raters, items) with NaN where a rater did not rate an item. A coefficient that the ratings do not
define (all of them equal, or no item rated twice) is NaN, never an exception: reports print it as undefined.

Their intervals, and the coefficients of some categories or pairs alone, are in :mod:`mulmed.review.coefficients`.

Sources: Krippendorff, *Computing Krippendorff's Alpha-Reliability* (2011); Fleiss, *Psychological Bulletin* 76 (1971);
Cohen, *Psychological Bulletin* 70 (1968); Light, *Psychological Bulletin* 76 (1971) for more than two raters; Gwet,
*Handbook of Inter-Rater Reliability* (4th ed., 2014), ch. 3 to 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mulmed.review.coefficients import Floats, Level, Weights, ac2, alpha, kappa, raw, wrong


def krippendorff_alpha(ratings: npt.ArrayLike, level: Level) -> float:
    """Krippendorff's alpha of ratings (raters, items); NaN if no item has two ratings or the paired ones are all equal.

    Raises:
        MulmedError: the array is not two-dimensional, the level is unknown, or ratio data are negative.
    """
    return alpha(_table(ratings), level).value


def fleiss_kappa(table: npt.ArrayLike) -> float:
    """Fleiss' kappa of a table (items, categories) that counts the raters who chose each category.

    NaN if all ratings fall into one category, or there are fewer than two an item.

    Raises:
        MulmedError: it is no table, a count is negative or missing, or the items were not rated by one and the same number of
            raters.
    """
    counts = _table(table, "Counts")
    if (counts < 0).any() or np.isnan(counts).any():
        raise wrong("Counts must be items by categories, none of them negative or missing.")
    raters = counts.sum(axis=1)
    if len(set(raters.tolist())) > 1:
        raise wrong("Fleiss' kappa needs the same number of raters for every item.")
    if not counts.size or raters[0] < 2:
        return float("nan")
    observed = ((counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))).mean()
    expected = ((counts.sum(axis=0) / counts.sum()) ** 2).sum()
    return float((observed - expected) / (1 - expected)) if 1 - expected > 1e-12 else float("nan")


def weighted_kappa(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    weights: Weights | npt.ArrayLike,
    categories: Sequence[float] | None = None,
) -> float:
    """Cohen's weighted kappa of two raters (items,); items that either left out (NaN) do not count.

    Args:
        weights: a name, or a symmetric table (categories, categories): of agreement, with 1 on the diagonal, or of
            disagreement, with 0 there, as Cohen's own.
        categories: all possible ratings in order; default: those that occur.

    NaN if no item was rated by both, or chance agreement is perfect.

    Raises:
        MulmedError: the arrays differ in length, or hold a rating that is no category.
    """
    return kappa(_table([a, b]), weights, categories).value


def gwet_ac2(
    ratings: npt.ArrayLike, weights: Weights | npt.ArrayLike, categories: Sequence[float] | None = None
) -> float:
    """Gwet's AC2 of ratings (raters, items); with ``unweighted`` it is AC1.

    Args:
        weights: as of :func:`weighted_kappa`.
        categories: all possible ratings in order; default: those that occur. The coefficient depends on their number.

    NaN if no item has two ratings, or only one category is possible.

    Raises:
        MulmedError: the array is not two-dimensional or holds a rating that is no category.
    """
    return ac2(_table(ratings), weights, categories).value


def raw_agreement(ratings: npt.ArrayLike) -> float:
    """Share of the pairs of ratings of one item that are equal, as a mean over the items rated at least twice (Gwet's p_a)."""
    return raw(_table(ratings)).value


def why_undefined(rated_twice: int, distinct: int) -> str:
    """In words, why ratings give a coefficient no value.

    Args:
        rated_twice: items with two ratings or more.
        distinct: different ratings among all of them.
    """
    if not rated_twice:
        return "undefined: no answer rated twice"
    return "undefined: no variation" if distinct < 2 else "undefined: no variation between raters"


def _table(given: Any, what: str = "Ratings") -> Floats:
    """Nested lists or an array as (rows, columns), None as NaN."""
    try:
        table = np.asarray(given, dtype=float)
    except (TypeError, ValueError) as error:
        raise wrong(f"{what} must be numbers or NaN, and as many in every row.") from error
    if table.ndim != 2 or np.isinf(table).any():
        raise wrong(f"{what} must be a table of two dimensions, finite or NaN.")
    return table
