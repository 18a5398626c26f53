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
#: Where fewer exchanges than this reach as far as observed, so many times as many are drawn, but so many signs at most.
_FEW, _MORE, _SIGNS = 10, 20, 40_000_000


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
    one counted in (add-one, so p is never 0; Davison and Hinkley 1997, 4.2.1). Where fewer than ten exchanges
    reach as far, more are drawn, so that p has digits enough to outlast a correction for many tests (after
    Besag and Clifford 1991).

    Args:
        differences: (questions, columns), model minus baseline.

    Returns:
        (columns,), from 1 / (20 resamples + 1) to 1; of over 2,000 questions and a thousand resamples from the inverse
        of forty millions by questions.
    """
    n = len(differences)
    far, drawn = np.zeros(differences.shape[1], dtype=np.int64), 0
    # Sums of the same numbers in another order differ in the last bits; such ties count as ties.
    observed = np.abs(differences.sum(axis=0)) * (1 - 1e-9)
    for total in (resamples, max(resamples, min(_MORE * resamples, _SIGNS // n))):
        if drawn and far.min() >= _FEW:
            break
        for rows in blocks(total - drawn, n):
            signs = rng.integers(0, 2, size=(rows, n), dtype=np.int8) * np.int8(2) - np.int8(1)
            far += (np.abs(signs.astype(np.float64) @ differences) >= observed).sum(axis=0)
        drawn = total
    p: Floats = (1 + far) / (drawn + 1)
    return p


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjusted p-values of one family of tests, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = largest
    return adjusted
