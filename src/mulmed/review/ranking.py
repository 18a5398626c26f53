"""Which model was rated better: Friedman's test over all models, then paired Wilcoxon tests with Holm's correction.

The question is the unit: each model has one value a question and axis, its mean over the annotators who rated it. Rows are
compared within the question, so hard questions do not count against anybody. Zero differences, common with scores of 0 to
2, are ranked and then left out of the sums (Pratt 1959), not dropped beforehand.

Sources: Friedman, *JASA* 32 (1937); Wilcoxon, *Biometrics Bulletin* 1 (1945); Pratt, *JASA* 54 (1959); Holm,
*Scandinavian Journal of Statistics* 6 (1979).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt

from mulmed.evaluation.significance import holm

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overall:
    """Friedman's test.

    Attributes:
        questions: those on which every model has a value.
        statistic, p: NaN where undefined (fewer than three models or two questions, or no difference anywhere).
    """

    questions: int
    statistic: float
    p: float


@dataclass(frozen=True, slots=True)
class Pair:
    """Two models compared on the questions that both have a value for.

    Attributes:
        difference: mean of first minus second.
        p: two-sided Wilcoxon signed-rank p, NaN where no question makes a difference.
        p_holm: corrected for all pairs of one axis; undefined pairs do not count as tests.
    """

    first: str
    second: str
    questions: int
    difference: float
    p: float
    p_holm: float


def friedman(values: Floats) -> Overall:
    """Friedman's test of values (questions, models); rows with a NaN are left out."""
    from scipy.stats import friedmanchisquare

    whole = values[~np.isnan(values).any(axis=1)]
    n, models = whole.shape
    if models < 3 or n < 2 or (whole == whole[:, :1]).all():
        return Overall(n, float("nan"), float("nan"))
    result = friedmanchisquare(*whole.T)
    return Overall(n, float(result.statistic), float(result.pvalue))


def paired_wilcoxon(values: Floats, models: Sequence[str]) -> list[Pair]:
    """Every two columns of values (questions, models), in the order of the models."""
    raw = []
    for i, j in combinations(range(len(models)), 2):
        differences = values[:, i] - values[:, j]
        differences = differences[~np.isnan(differences)]
        mean = float(differences.mean()) if len(differences) else float("nan")
        raw.append((models[i], models[j], len(differences), mean, _signed_rank_p(differences)))
    defined = [p for *_, p in raw if not np.isnan(p)]
    adjusted = iter(holm(defined))
    return [Pair(*pair, float("nan") if np.isnan(pair[-1]) else next(adjusted)) for pair in raw]


def _signed_rank_p(differences: Floats) -> float:
    from scipy.stats import wilcoxon

    # Means of the same scores in another order differ in the last bits; that is no difference.
    differences = np.round(differences, 9)
    if not differences.any():
        return float("nan")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of small samples with ties; their number stands beside the p
        return float(wilcoxon(differences, zero_method="pratt").pvalue)
