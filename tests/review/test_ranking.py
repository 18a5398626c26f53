"""Models compared: worked examples by hand, and what ties, gaps and no difference do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from mulmed.review.ranking import friedman, paired_wilcoxon

NAN = float("nan")


def test_friedmans_statistic_is_that_of_its_definition() -> None:
    """Ranks within rows, corrected for ties (Conover 1999, section 5.8)."""
    values = np.array([[2.0, 1, 0], [2, 2, 1], [1.5, 0.5, 0.5], [2, 0, 1], [1, 1, 0], [2, 1, 1]])
    ranks = np.apply_along_axis(rankdata, 1, values)
    n, k = values.shape
    a1, c1 = (ranks**2).sum(), n * k * (k + 1) ** 2 / 4
    expected = (k - 1) * ((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum() / (a1 - c1)
    result = friedman(values)
    assert result.statistic == pytest.approx(expected, abs=1e-9)
    assert result.questions == 6
    assert 0.01 < result.p < 0.05


def test_a_question_that_a_model_lacks_is_left_out_of_friedmans_test() -> None:
    values = np.array([[2.0, 1, 0], [2, 2, 1], [1, 0, 0], [2, 0, 1]])
    gap = np.vstack([values, [NAN, 2, 0]])
    assert friedman(gap) == friedman(values)


def test_no_difference_is_undefined_not_an_error() -> None:
    same = np.ones((8, 3))
    assert np.isnan(friedman(same).p)
    pairs = paired_wilcoxon(same, ["a", "b", "c"])
    assert all(np.isnan(p.p) and np.isnan(p.p_holm) and p.difference == 0 for p in pairs)


def test_zeros_are_ranked_with_the_others_before_they_are_left_out() -> None:
    """Pratt 1959: with ranks 1..n over all, the zeros' ranks go, the others keep theirs."""
    differences = np.array([0, 0, 0, 1, 1, 1, 1, -1, 1, 1, 1, 0, 1, 1, 1, 1])
    values = np.column_stack([differences + 1.0, np.ones(16)])
    (pair,) = paired_wilcoxon(values, ["a", "b"])
    # Normal approximation by hand: zeros hold ranks 1 to 4, the twelve ties share rank 10.5.
    w_plus, w_minus, n, zeros = 11 * 10.5, 10.5, 16, 4
    mean = (n * (n + 1) - zeros * (zeros + 1)) / 4
    variance = (n * (n + 1) * (2 * n + 1) - zeros * (zeros + 1) * (2 * zeros + 1)) / 24 - (12**3 - 12) / 48
    from scipy.stats import norm

    expected = 2 * norm.sf(abs(min(w_plus, w_minus) - mean) / np.sqrt(variance))
    assert pair.p == pytest.approx(expected, abs=1e-9)
    assert pair.p_holm == pair.p


def test_three_pairs_are_corrected_as_one_family_and_undefined_ones_do_not_count() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(0, 3, 40).astype(float)
    values = np.column_stack([a, a, np.clip(a - (rng.random(40) < 0.6), 0, 2)])
    ab, ac, bc = paired_wilcoxon(values, ["a", "b", "c"])
    assert np.isnan(ab.p_holm)
    assert ac.p == bc.p < 0.01
    assert ac.p_holm == pytest.approx(2 * ac.p)  # two tests, not three
    assert ac.difference > 0
    assert (ac.first, ac.second, ac.questions) == ("a", "c", 40)


def test_last_bits_of_a_mean_are_no_difference() -> None:
    values = np.array([[0.1 + 0.2, 0.3]] * 5)
    assert values[0, 0] != values[0, 1]
    (pair,) = paired_wilcoxon(values, ["a", "b"])
    assert np.isnan(pair.p)
