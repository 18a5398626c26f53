"""Coefficients of agreement as functions of sums over items, so that a bootstrap over items is one matrix product.

Ratings are an array (raters, items) with NaN where a rater did not rate an item; see :mod:`mulmed.review.agreement` for the
sources.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from mulmed.errors import MulmedError
from mulmed.evaluation.significance import blocks, interval

Floats = npt.NDArray[np.float64]
Level = Literal["nominal", "ordinal", "interval", "ratio"]
Weights = Literal["unweighted", "linear", "quadratic", "ordinal"]


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A coefficient as a function of sums over items.

    Attributes:
        parts: (items, columns), what each item adds.
        finish: from sums (draws, columns) to coefficients (draws,), NaN where undefined.
    """

    parts: Floats
    finish: Callable[[Floats], Floats]

    @property
    def value(self) -> float:
        """The coefficient of all items, NaN where undefined."""
        return float(self.finish(self.parts.sum(axis=0, keepdims=True))[0])


@dataclass(frozen=True, slots=True)
class Estimate:
    """A coefficient with its interval; NaN where undefined.

    Attributes:
        undefined: share of the bootstrap draws in which the coefficient was undefined; the interval comes from the others.
    """

    value: float
    low: float
    high: float
    undefined: float


def alpha(ratings: Floats, level: Level) -> Coefficient:
    """Krippendorff's alpha through its coincidence matrix."""
    if level not in ("nominal", "ordinal", "interval", "ratio"):
        raise wrong(f"Unknown level of measurement {level!r}: nominal, ordinal, interval or ratio.")
    values = _categories(ratings, None)
    if level == "ratio" and (values < 0).any():
        raise wrong("Ratio data cannot be negative.")
    counts = _counts(ratings, values)
    pairable = np.where(counts.sum(axis=1, keepdims=True) >= 2, counts, 0.0)
    q = len(values)
    # Pairs (c, k) within an item, each item weighted by 1 / (its ratings - 1).
    pairs = pairable[:, :, None] * pairable[:, None, :]
    pairs[:, np.arange(q), np.arange(q)] -= pairable
    weight = np.maximum(pairable.sum(axis=1) - 1, 1)
    parts = (pairs / weight[:, None, None]).reshape(len(pairs), q * q)

    def finish(sums: Floats) -> Floats:
        o = sums.reshape(-1, q, q)
        n = o.sum(axis=2)
        total = n.sum(axis=1)
        delta = _disagreement(values, n, level)
        observed = (o * delta).sum(axis=(1, 2))
        expected = (n[:, :, None] * n[:, None, :] * delta).sum(axis=(1, 2))
        with np.errstate(divide="ignore", invalid="ignore"):
            result: Floats = np.where(expected > 0, 1 - (total - 1) * observed / expected, np.nan)
        return result

    return Coefficient(parts, finish)


def kappa(
    ratings: Floats,
    weights: Weights | npt.ArrayLike,
    categories: Sequence[float] | None,
    pairs: Sequence[tuple[int, int]] | None = None,
) -> Coefficient:
    """Weighted kappa; of more than two raters the mean over those pairs for whom it is defined (Light 1971).

    Args:
        pairs: of raters; default: every two.
    """
    values = _categories(ratings, categories)
    agree = _agreement_weights(values, weights)
    q = len(values)
    one_hot = (ratings[:, :, None] == values).astype(float)  # (raters, items, categories), all 0 for NaN
    both = list(combinations(range(len(ratings)), 2)) if pairs is None else list(pairs)
    if not both:
        return Coefficient(np.zeros((ratings.shape[1], 1)), lambda sums: np.full(len(sums), np.nan))
    parts = np.concatenate(
        [(one_hot[i][:, :, None] * one_hot[j][:, None, :]).reshape(-1, q * q) for i, j in both], axis=1
    )

    def finish(sums: Floats) -> Floats:
        tables = sums.reshape(-1, len(both), q, q)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = tables / tables.sum(axis=(2, 3), keepdims=True)
            observed = (p * agree).sum(axis=(2, 3))
            chance = p.sum(axis=3)[..., :, None] * p.sum(axis=2)[..., None, :]
            expected = (chance * agree).sum(axis=(2, 3))
            each = np.where(1 - expected > 1e-12, (observed - expected) / (1 - expected), np.nan)
            defined = ~np.isnan(each)
            result: Floats = np.where(defined, each, 0).sum(axis=1) / defined.sum(axis=1)
        return result

    return Coefficient(parts, finish)


def ac2(ratings: Floats, weights: Weights | npt.ArrayLike, categories: Sequence[float] | None) -> Coefficient:
    """Gwet's AC2: chance agreement from the categories' shares, so that skewed ratings do not make it collapse."""
    values = _categories(ratings, categories)
    agree = _agreement_weights(values, weights)
    q = len(values)
    counts = _counts(ratings, values)
    raters = counts.sum(axis=1)
    weighted = counts @ agree.T
    twice = raters >= 2
    pairs = np.maximum(raters * (raters - 1), 1)
    observed = np.where(twice, (counts * (weighted - 1)).sum(axis=1) / pairs, 0.0)
    shares = counts / np.maximum(raters, 1)[:, None]
    parts = np.column_stack([observed, twice, raters >= 1, shares])

    def finish(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            p = sums[:, 0] / sums[:, 1]
            pi = sums[:, 3:] / sums[:, 2:3]
            expected = (
                agree.sum() / (q * (q - 1)) * (pi * (1 - pi)).sum(axis=1)
                if q > 1
                else np.full(len(p), np.nan)
            )
            result: Floats = np.where(1 - expected > 1e-12, (p - expected) / (1 - expected), np.nan)
        return result

    return Coefficient(parts, finish)


def raw(ratings: Floats) -> Coefficient:
    """Raw agreement; see :func:`mulmed.review.agreement.raw_agreement`."""
    counts = _counts(ratings, _categories(ratings, None))
    raters = counts.sum(axis=1)
    twice = raters >= 2
    equal = (counts * (counts - 1)).sum(axis=1) / np.maximum(raters * (raters - 1), 1)
    parts = np.column_stack([np.where(twice, equal, 0.0), twice])

    def finish(sums: Floats) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            result: Floats = np.where(sums[:, 1] > 0, sums[:, 0] / sums[:, 1], np.nan)
        return result

    return Coefficient(parts, finish)


def bootstrap_interval(
    coefficient: Coefficient,
    resamples: int,
    confidence: float,
    rng: np.random.Generator,
    groups: npt.ArrayLike | None = None,
) -> Estimate:
    """Percentile bootstrap over items, or over groups of items that are drawn together.

    Args:
        groups: (items,) labels; items of one label (the answers to one question, say) stand or fall together.
    """
    parts = coefficient.parts
    if groups is not None:
        _, place = np.unique(np.asarray(groups), return_inverse=True)
        summed = np.zeros((int(place.max(initial=-1)) + 1, parts.shape[1]))
        np.add.at(summed, place, parts)
        parts = summed
    n = len(parts)
    if not n:
        return Estimate(np.nan, np.nan, np.nan, 1.0)
    found = []
    for rows in blocks(resamples, max(n, parts.shape[1])):
        drawn = rng.integers(n, size=(rows, n)) + n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        found.append(coefficient.finish(counts @ parts))
    draws = np.concatenate(found)
    defined = draws[~np.isnan(draws)]
    value = coefficient.value
    if np.isnan(value) or not len(defined):
        return Estimate(value, np.nan, np.nan, 1 - len(defined) / resamples)
    low, high = interval(defined[:, None], confidence)
    return Estimate(value, float(low[0]), float(high[0]), 1 - len(defined) / resamples)


# --- parts -------------------------------------------------------------------------------------------------------


def _categories(ratings: Floats, categories: Sequence[float] | None) -> Floats:
    found = np.unique(ratings[~np.isnan(ratings)])
    if categories is None:
        return found if len(found) else np.zeros(1)
    values = np.unique(np.asarray(categories, dtype=float))
    if odd := sorted(set(found.tolist()) - set(values.tolist())):
        raise wrong(f"The rating {odd[0]:g} is none of the categories.")
    return values


def _counts(ratings: Floats, values: Floats) -> Floats:
    """(items, categories): how many raters chose each."""
    counts: Floats = (ratings[:, :, None] == values).sum(axis=0).astype(float)
    return counts


def _disagreement(values: Floats, n: Floats, level: Level) -> Floats:
    """Squared distances (draws or 1, categories, categories); ordinal ones depend on how often each category occurs."""
    difference: Floats = values[:, None] - values[None, :]
    if level == "nominal":
        unequal: Floats = (difference != 0).astype(float)
        return unequal[None]
    if level == "interval":
        square: Floats = difference**2
        return square[None]
    if level == "ratio":
        total = values[:, None] + values[None, :]
        share: Floats = np.divide(difference, total, out=np.zeros_like(difference), where=total != 0)
        return share[None] ** 2
    below = np.cumsum(n, axis=1) - n / 2  # mean rank of each category
    distance: Floats = (below[:, :, None] - below[:, None, :]) ** 2
    return distance


def _agreement_weights(values: Floats, weights: Weights | npt.ArrayLike) -> Floats:
    """Weights of agreement (categories, categories), 1 on the diagonal (Gwet 2014, section 3.5)."""
    q = len(values)
    if not isinstance(weights, str):
        return _given_weights(q, weights)
    if weights not in ("unweighted", "linear", "quadratic", "ordinal"):
        raise wrong(f"Unknown weights {weights!r}: unweighted, linear, quadratic or ordinal.")
    if q < 2 or weights == "unweighted":
        return np.eye(q)
    if weights == "ordinal":
        steps = np.abs(np.subtract.outer(np.arange(q), np.arange(q)))
        distance = steps * (steps + 1) / 2
    else:
        distance = np.abs(np.subtract.outer(values, values)) ** (1 if weights == "linear" else 2)
    result: Floats = 1 - distance / distance.max()
    return result


def _given_weights(q: int, weights: npt.ArrayLike) -> Floats:
    """A table of agreement as it is, one of disagreement (0 on the diagonal, as Cohen's) turned round."""
    given = np.asarray(weights, dtype=float)
    if given.shape == (q, q) and q > 1 and not np.diag(given).any() and (given >= 0).all() and given.any():
        given = 1 - given / given.max()
    if given.shape != (q, q) or (np.diag(given) != 1).any() or (given != given.T).any() or (given > 1).any():
        raise wrong(
            f"Weights must be a symmetric {q} by {q} table: of agreement, with 1 on the diagonal and no more"
            " elsewhere, or of disagreement, with 0 on the diagonal."
        )
    return given


def wrong(what: str) -> MulmedError:
    """The error about ratings that cannot be compared."""
    return MulmedError(what, where="ratings", remedy="Check how the ratings were put together.")
