import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.evaluation import significance
from mulmed.evaluation.significance import bootstrap_means, holm, interval, randomisation_p


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_constant_scores_have_an_interval_of_no_width() -> None:
    samples = bootstrap_means(np.full((30, 1), 0.4), 200, rng())
    assert samples == pytest.approx(0.4)


def test_spread_is_that_of_a_mean() -> None:
    values = rng().normal(0.5, 0.2, size=(400, 1))
    samples = bootstrap_means(values, 4000, rng(1))
    assert samples.mean() == pytest.approx(values.mean(), abs=0.001)
    assert samples.std() == pytest.approx(values.std() / 20, rel=0.05)
    low, high = interval(samples, 0.95)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.05)


def test_two_questions_have_three_possible_means() -> None:
    samples = bootstrap_means(np.array([[0.0], [1.0]]), 8000, rng())[:, 0]
    found, counts = np.unique(samples, return_counts=True)
    assert list(found) == [0.0, 0.5, 1.0]
    assert counts / 8000 == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


def test_columns_share_their_draws() -> None:
    values = rng().random((50, 1))
    samples = bootstrap_means(np.hstack([values, values + 1, -values]), 100, rng())
    assert samples[:, 1] == pytest.approx(samples[:, 0] + 1)
    assert samples[:, 2] == pytest.approx(-samples[:, 0])


def test_every_draw_counts_when_drawn_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    values = rng().random((10, 1))
    monkeypatch.setattr(significance, "_BLOCK", 35)  # 3 rows a block, the last one short
    samples = bootstrap_means(values, 200, rng())
    assert samples.shape == (200, 1)
    assert len(np.unique(samples)) > 190
    assert samples.mean() == pytest.approx(values.mean(), abs=0.03)


def test_interval_covers_the_true_mean_about_as_often_as_it_says() -> None:
    draw = rng(3)
    covered = 0
    for _ in range(300):
        low, high = interval(bootstrap_means(draw.beta(2, 5, size=(60, 1)), 300, draw), 0.9)
        covered += bool(low[0] <= 2 / 7 <= high[0])
    assert 0.84 <= covered / 300 <= 0.94


def test_percentile_interval_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats", reason="scipy is an oracle only")
    values = rng(4).gamma(2.0, 1.0, size=80)
    theirs = stats.bootstrap((values,), np.mean, n_resamples=9999, method="percentile", rng=rng(5))
    low, high = interval(bootstrap_means(values[:, None], 9999, rng(6)), 0.95)
    assert low[0] == pytest.approx(theirs.confidence_interval.low, abs=0.01)
    assert high[0] == pytest.approx(theirs.confidence_interval.high, abs=0.01)


def exact_p(differences: list[float]) -> float:
    """Share of all sign flips whose sum lies at least as far from zero."""
    observed = abs(sum(differences))
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    sums = (abs(sum(s * d for s, d in zip(f, differences, strict=True))) for f in flips)
    return sum(s >= observed - 1e-9 for s in sums) / len(flips)


@pytest.mark.parametrize(
    "differences",
    [[0.1, 0.2, 0.3, 0.4, 0.5], [0.3, -0.1, 0.2, 0.2, -0.4, 0.1], [0.5, -0.5], [0.1] * 8],
)
def test_randomisation_equals_going_through_all_sign_flips(differences: list[float]) -> None:
    p = randomisation_p(np.array(differences)[:, None], 20_000, rng())
    assert p[0] == pytest.approx(exact_p(differences), abs=0.012)


def test_five_questions_never_reach_significance_however_large_the_difference() -> None:
    # A bootstrap p would be near 0 here; 2 of 32 sign flips are as far out.
    assert randomisation_p(np.full((5, 1), 0.9), 2000, rng())[0] > 0.04


def test_p_is_never_zero_and_one_without_any_difference() -> None:
    p = randomisation_p(np.hstack([np.ones((200, 1)), np.zeros((200, 1))]), 999, rng())
    assert list(p) == [1 / (20 * 999 + 1), 1.0]


def test_p_is_uniform_when_models_are_equal() -> None:
    draw = rng(7)
    p = [randomisation_p(draw.normal(size=(25, 1)), 300, draw)[0] for _ in range(400)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p) == pytest.approx(0.5, abs=0.05)


def test_holm_worked_example() -> None:
    # sorted .005 .01 .03 .04 times 4 3 2 1 = .02 .03 .06 .04, never falling: .02 .03 .06 .06
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), max_size=12))
def test_holm_lies_between_the_raw_p_and_bonferroni_and_keeps_the_order(p: list[float]) -> None:
    adjusted = holm(p)
    for raw, corrected in zip(p, adjusted, strict=True):
        assert raw <= corrected <= min(1.0, raw * len(p))
    for i, j in itertools.combinations(range(len(p)), 2):
        if p[i] < p[j]:
            assert adjusted[i] <= adjusted[j]
