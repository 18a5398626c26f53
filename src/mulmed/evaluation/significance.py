"""How sure a score is: bootstrap intervals over questions, paired tests, Holm's correction.

The question is the unit of resampling: a model's answers to one question stand or fall together, and the
models are compared on the same draws (paired). Intervals come from the percentile bootstrap (Efron and
Tibshirani 1993, ch. 13); p-values from approximate randomisation (Noreen 1989; recommended for language
tasks by Dror et al. 2018), which, unlike a bootstrap p, stays honest with few questions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Cells of one block of draws (resamples times questions): bounds memory to some 100 MB.
_BLOCK = 1 << 22


def blocks(resamples: int, width: int) -> Iterator[int]:
    """Sizes of the blocks in which ``resamples`` rows of ``width`` cells are drawn."""
    step = max(1, _BLOCK // max(1, width))
    for start in range(0, resamples, step):
        yield min(step, resamples - start)


def bootstrap_means(values: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Means of ``resamples`` draws, with replacement, of as many questions as there are.

    Args:
        values: (questions, columns). All columns share the draws, so columns can be compared pairwise.

    Returns:
        (resamples, columns).
    """
    n = len(values)
    means = []
    for rows in blocks(resamples, n):
        drawn = rng.integers(n, size=(rows, n))
        drawn += n * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        means.append(counts @ values / n)
    return np.concatenate(means)


def interval(samples: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentile interval of each column of (resamples, columns): lower and upper ends."""
    tail = (1 - confidence) / 2
    low, high = np.quantile(samples, [tail, 1 - tail], axis=0)
    return low, high


def randomisation_p(differences: Floats, resamples: int, rng: np.random.Generator) -> Floats:
    """Two-sided p of each column's mean being zero, by random exchange of the two models' answers.

    Under the null hypothesis a question's two answers could as well change places, which flips the sign of
    its difference. p is the share of random exchanges with a mean at least as far from zero, the observed
    one counted in (add-one, so p is never 0; Davison and Hinkley 1997, 4.2.1).

    Args:
        differences: (questions, columns), model minus baseline.

    Returns:
        (columns,), from 1 / (resamples + 1) to 1.
    """
    n = len(differences)
    totals = []
    for rows in blocks(resamples, n):
        signs = rng.integers(0, 2, size=(rows, n), dtype=np.int8) * np.int8(2) - np.int8(1)
        totals.append(signs.astype(np.float64) @ differences)
    return add_one_p(np.concatenate(totals), differences.sum(axis=0))


def add_one_p(null: Floats, observed: Floats) -> Floats:
    """Two-sided p of ``observed`` (columns,) among draws ``null`` (resamples, columns) around zero."""
    # Sums of the same numbers in another order differ in the last bits; such ties count as ties.
    as_far = np.abs(null) >= np.abs(observed) * (1 - 1e-9)
    p: Floats = (1 + as_far.sum(axis=0)) / (len(null) + 1)
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values of one family of tests, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
