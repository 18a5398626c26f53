"""Agreement: the worked examples of the literature, other libraries, and what must hold for any ratings."""

from __future__ import annotations

import krippendorff
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statsmodels.stats.inter_rater import cohens_kappa
from statsmodels.stats.inter_rater import fleiss_kappa as their_fleiss_kappa

from mulmed.errors import MulmedError
from mulmed.review.agreement import (
    fleiss_kappa,
    gwet_ac2,
    krippendorff_alpha,
    raw_agreement,
    weighted_kappa,
)
from mulmed.review.coefficients import ac2, alpha, bootstrap_interval, kappa

NAN = float("nan")
#: Four observers, twelve units, five values (Krippendorff 2011, section C; Gwet 2014, table 2.10).
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
)
#: Thirty patients, six psychiatrists, five diagnoses (Fleiss 1971, table 1).
DIAGNOSES = [
    (0, 0, 0, 6, 0), (0, 3, 0, 0, 3), (0, 1, 4, 0, 1), (0, 0, 0, 0, 6), (0, 3, 0, 3, 0), (2, 0, 4, 0, 0),
    (0, 0, 4, 0, 2), (2, 0, 3, 1, 0), (2, 0, 0, 4, 0), (0, 0, 0, 0, 6), (1, 0, 0, 5, 0), (1, 1, 0, 4, 0),
    (0, 3, 3, 0, 0), (1, 0, 0, 5, 0), (0, 2, 0, 3, 1), (0, 0, 5, 0, 1), (3, 0, 0, 1, 2), (5, 1, 0, 0, 0),
    (0, 2, 0, 4, 0), (1, 0, 2, 0, 3), (0, 0, 0, 0, 6), (0, 1, 0, 5, 0), (0, 2, 0, 1, 3), (2, 0, 0, 4, 0),
    (1, 0, 0, 4, 1), (0, 5, 0, 1, 0), (4, 0, 0, 0, 2), (0, 2, 0, 4, 0), (1, 0, 5, 0, 0), (0, 0, 0, 0, 6),
]  # fmt: skip
#: Two clinicians, 200 patients, three diagnoses (Cohen 1968, table 1).
CLINICIANS = np.array([[88, 10, 2], [14, 40, 6], [18, 10, 12]])
#: Five raters, 25 items, scores of 0 to 2, -1 where missing; drawn at random once.
RANDOM = [
    [2, 2, 2, 1, 1], [2, 0, 2, 2, 2], [1, 1, 1, 2, 2], [2, 2, 2, 2, 2], [1, -1, 2, 0, 0], [2, 2, 2, 2, 2],
    [2, 1, 0, 1, -1], [1, 1, 0, -1, 1], [1, 2, 2, 2, 2], [2, 0, 2, 2, -1], [1, 2, 0, 1, -1], [1, 2, 1, 2, 2],
    [-1, -1, -1, 1, 2], [1, 2, -1, 2, 1], [2, -1, 2, 2, 1], [2, 2, 2, 2, 1], [-1, 2, 2, 1, -1],
    [2, 2, -1, 2, 1], [0, 2, 2, -1, 1], [2, 0, 1, 0, 1], [-1, 2, 2, 2, 2], [1, 2, 2, 1, 2], [-1, 2, 1, 2, 0],
    [2, 2, 1, 2, -1], [0, -1, 2, 2, 2],
]  # fmt: skip
SCORES = np.where(np.array(RANDOM) < 0, NAN, RANDOM).T


def pairs_of(table: npt.ArrayLike) -> tuple[list[float], list[float]]:
    """Two raters whose cross table this is."""
    a, b = [], []
    for (i, j), count in np.ndenumerate(np.asarray(table)):
        a += [float(i)] * count
        b += [float(j)] * count
    return a, b


# --- published examples ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "published"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_krippendorffs_own_example(level: str, published: float) -> None:
    assert krippendorff_alpha(OBSERVERS, level) == pytest.approx(published, abs=5e-4)  # type: ignore[arg-type]


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval", "ratio"])
def test_lists_with_gaps_are_as_good_as_arrays(level: str) -> None:
    """Its digits beyond the printed ones, and None for what is missing."""
    rows = [[None if np.isnan(value) else int(value) for value in row] for row in OBSERVERS]
    theirs = krippendorff.alpha(reliability_data=OBSERVERS, level_of_measurement=level)
    assert krippendorff_alpha(rows, level) == pytest.approx(theirs, abs=1e-9)  # type: ignore[arg-type]


def test_fleiss_own_example() -> None:
    assert fleiss_kappa(DIAGNOSES) == pytest.approx(0.430, abs=5e-4)


def test_cohens_own_example() -> None:
    a, b = pairs_of(CLINICIANS)
    disagreement = np.array([[0, 1, 3], [1, 0, 6], [3, 6, 0]])
    assert weighted_kappa(a, b, "unweighted") == pytest.approx(0.492, abs=5e-4)
    assert weighted_kappa(a, b, disagreement) == pytest.approx(0.348, abs=5e-4)
    assert weighted_kappa(a, b, 1 - disagreement / 6) == pytest.approx(weighted_kappa(a, b, disagreement))
    theirs = cohens_kappa(CLINICIANS, weights=disagreement, return_results=False)
    assert weighted_kappa(a, b, disagreement) == pytest.approx(theirs, abs=1e-9)


def test_gwets_own_example() -> None:
    assert gwet_ac2(OBSERVERS, "unweighted") == pytest.approx(0.77544, abs=5e-6)
    assert raw_agreement(OBSERVERS) == pytest.approx(0.81818, abs=5e-6)


# --- other libraries ------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval", "ratio"])
@pytest.mark.parametrize("seed", range(5))
def test_alpha_is_that_of_the_library_krippendorff(level: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ratings = rng.choice([0.0, 1, 2, 4], size=(4, 30), p=[0.1, 0.2, 0.5, 0.2])
    ratings[rng.random(ratings.shape) < 0.3] = NAN
    theirs = krippendorff.alpha(reliability_data=ratings, level_of_measurement=level)
    assert krippendorff_alpha(ratings, level) == pytest.approx(theirs, abs=1e-9)  # type: ignore[arg-type]


def test_kappas_are_those_of_statsmodels() -> None:
    assert fleiss_kappa(DIAGNOSES) == pytest.approx(their_fleiss_kappa(np.array(DIAGNOSES)), abs=1e-9)
    rng = np.random.default_rng(0)
    table = rng.integers(0, 9, size=(4, 4))
    a, b = pairs_of(table)
    for ours, wt in (("unweighted", None), ("linear", "linear"), ("quadratic", "quadratic")):
        theirs = cohens_kappa(table, wt=wt, return_results=False)
        assert weighted_kappa(a, b, ours) == pytest.approx(theirs, abs=1e-9)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("weights", "published", "drawn"),
    [
        # irrCAC 0.4.4 (the handbook author's own package, in Python); its numpy is too old to stand beside ours.
        ("unweighted", 0.77544, 0.235191229704),
        ("linear", 0.85874, 0.382223533138),
        ("quadratic", 0.91400, 0.499953984997),
        ("ordinal", 0.89894, 0.455794160693),
    ],
)
def test_ac2_is_that_of_irrcac(weights: str, published: float, drawn: float) -> None:
    assert gwet_ac2(OBSERVERS, weights) == pytest.approx(published, abs=5e-6)  # type: ignore[arg-type]
    assert gwet_ac2(SCORES, weights, (0, 1, 2)) == pytest.approx(drawn, abs=1e-9)  # type: ignore[arg-type]


def test_ac2_counts_categories_that_nobody_chose() -> None:
    ratings = [[2, 2, 2, 2, 2, 0], [2, 2, 2, 2, 0, 0], [2, 2, 2, 2, 2, 2]]
    assert gwet_ac2(ratings, "unweighted", (0, 1, 2)) == pytest.approx(0.741935483871, abs=1e-9)  # irrCAC
    assert gwet_ac2(ratings, "quadratic", (0, 1, 2)) == pytest.approx(0.692307692308, abs=1e-9)
    assert gwet_ac2(ratings, "unweighted") < gwet_ac2(ratings, "unweighted", (0, 1, 2))


# --- several raters, missing ratings, nothing to say ------------------------------------------------------


def test_kappa_of_several_raters_is_the_mean_over_pairs() -> None:
    three = SCORES[:3]
    each = [weighted_kappa(three[i], three[j], "quadratic") for i, j in ((0, 1), (0, 2), (1, 2))]
    assert kappa(three, "quadratic", None).value == pytest.approx(np.mean(each), abs=1e-12)


def test_an_item_that_one_rater_left_out_does_not_count_for_the_pair() -> None:
    assert weighted_kappa([0, 1, 2, NAN, 2], [0, 1, 1, 2, NAN], "linear") == pytest.approx(
        weighted_kappa([0, 1, 2], [0, 1, 1], "linear")
    )


@pytest.mark.parametrize("ratings", [np.full((3, 4), 2.0), np.full((2, 3), NAN), [[1, NAN], [NAN, 2]]])
def test_what_ratings_do_not_define_is_nan(ratings: npt.ArrayLike) -> None:
    for level in ("nominal", "ordinal", "interval", "ratio"):
        assert np.isnan(krippendorff_alpha(ratings, level))  # type: ignore[arg-type]
    matrix = np.asarray(ratings, dtype=float)
    assert np.isnan(kappa(matrix, "quadratic", (0, 1, 2)).value)
    estimate = bootstrap_interval(alpha(matrix, "ordinal"), 50, 0.95, np.random.default_rng(0))
    assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert estimate.undefined == 1


def test_no_variation_is_perfect_by_ac2_where_other_categories_were_possible() -> None:
    assert gwet_ac2(np.full((3, 4), 2.0), "quadratic", (0, 1, 2)) == 1
    assert np.isnan(gwet_ac2(np.full((3, 4), 2.0), "quadratic"))


def test_fleiss_of_one_category_one_rater_or_nothing_is_undefined() -> None:
    for table in ([[3, 0], [3, 0]], [[1, 0], [0, 1]], [[0, 0], [0, 0]], np.zeros((0, 3))):
        assert np.isnan(fleiss_kappa(table))


def test_kappa_of_two_who_chose_one_category_or_nothing_is_undefined() -> None:
    for a, b in (([1, 1], [1, 1]), ([NAN, NAN], [1, 2]), ([], [])):
        assert np.isnan(weighted_kappa(a, b, "quadratic"))


def test_a_single_rater_agrees_with_nobody() -> None:
    alone = np.array([[0.0, 1, 2]])
    assert np.isnan(kappa(alone, "linear", None).value)
    assert np.isnan(raw_agreement(alone))
    assert np.isnan(gwet_ac2(alone, "linear"))


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: krippendorff_alpha([1, 2, 3], "ordinal"),
        lambda: krippendorff_alpha([[1, 2], [1, 2]], "cardinal"),  # type: ignore[arg-type]
        lambda: krippendorff_alpha([[-1, 2], [1, 2]], "ratio"),
        lambda: krippendorff_alpha([[1, 2], [1]], "ordinal"),
        lambda: krippendorff_alpha([["yes", "no"], ["no", "yes"]], "nominal"),
        lambda: krippendorff_alpha([[1, float("inf")], [1, 2]], "interval"),
        lambda: fleiss_kappa([[2, 1], [1, 1]]),
        lambda: fleiss_kappa([[2, -1], [1, 0]]),
        lambda: fleiss_kappa([2, 1]),
        lambda: weighted_kappa([0, 1], [0, 1, 2], "linear"),
        lambda: weighted_kappa([[0, 1]], [[0, 1]], "linear"),
        lambda: weighted_kappa([0, 1], [0, 3], "linear", (0, 1, 2)),
        lambda: weighted_kappa([0, 1], [1, 0], [[0, 1], [2, 0]]),
        lambda: weighted_kappa([0, 1], [1, 0], [[0, -1], [-1, 0]]),
        lambda: weighted_kappa([0, 1], [1, 0], [[1, 2], [2, 1]]),
        lambda: gwet_ac2([[0, 1], [1, 0]], "cubic"),  # type: ignore[arg-type]
    ],
)
def test_mistakes_are_told(mistake: object) -> None:
    with pytest.raises(MulmedError):
        mistake()  # type: ignore[operator]


ratings_strategy = arrays(
    float, st.tuples(st.integers(2, 4), st.integers(1, 12)), elements=st.sampled_from([0.0, 1, 2, NAN])
)


@settings(max_examples=30)
@given(ratings_strategy)
def test_order_of_raters_and_items_and_unrated_items_change_nothing(
    ratings: npt.NDArray[np.float64],
) -> None:
    shuffled = ratings[::-1, ::-1]
    with_empty = np.column_stack([shuffled, np.full(len(ratings), NAN)])
    for of in (
        lambda r: alpha(r, "ordinal"),
        lambda r: ac2(r, "quadratic", (0, 1, 2)),
        lambda r: kappa(r, "quadratic", (0, 1, 2)),
    ):
        assert of(with_empty).value == pytest.approx(of(ratings).value, abs=1e-9, nan_ok=True)


@settings(max_examples=30)
@given(ratings_strategy)
def test_coefficients_never_exceed_one(ratings: npt.NDArray[np.float64]) -> None:
    values = [
        krippendorff_alpha(ratings, "ordinal"),
        gwet_ac2(ratings, "quadratic", (0, 1, 2)),
        raw_agreement(ratings),
    ]
    assert all(np.isnan(v) or v <= 1 + 1e-9 for v in values)


# --- intervals --------------------------------------------------------------------------------------------


def test_a_draw_of_the_bootstrap_is_the_coefficient_of_the_drawn_items() -> None:
    items = [0, 3, 3, 7, 11]
    for coefficient, value in (
        (alpha(OBSERVERS, "ordinal"), krippendorff_alpha(OBSERVERS[:, items], "ordinal")),
        (kappa(OBSERVERS, "linear", range(1, 6)), kappa(OBSERVERS[:, items], "linear", range(1, 6)).value),
    ):
        drawn = coefficient.finish(coefficient.parts[items].sum(axis=0, keepdims=True))
        assert drawn[0] == pytest.approx(value, abs=1e-12)


def test_the_interval_holds_the_value_and_narrows_with_more_items() -> None:
    def of(ratings: npt.NDArray[np.float64]) -> tuple[float, float, float]:
        e = bootstrap_interval(alpha(ratings, "ordinal"), 2000, 0.95, np.random.default_rng(1))
        return e.low, e.value, e.high

    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, size=400)
    noisy = np.clip(truth + rng.integers(-1, 2, size=(4, 400)) * (rng.random((4, 400)) < 0.4), 0, 2).astype(
        float
    )
    few, many = of(noisy[:, :40]), of(noisy)
    assert few[0] < few[1] < few[2]
    assert many[0] < many[1] < many[2]
    assert many[2] - many[0] < 0.5 * (few[2] - few[0])


def test_items_of_one_question_are_drawn_together() -> None:
    """Ten copies of each item hold no more information than one: drawn by group, the interval stays as wide."""
    copies = np.repeat(SCORES, 10, axis=1)
    groups = np.repeat(np.arange(SCORES.shape[1]), 10)

    def width(coefficient: object, groups: object = None) -> float:
        e = bootstrap_interval(coefficient, 2000, 0.95, np.random.default_rng(5), groups)  # type: ignore[arg-type]
        return e.high - e.low

    single = width(alpha(SCORES, "interval"))
    assert width(alpha(copies, "interval"), groups) == pytest.approx(single, rel=0.05)
    assert width(alpha(copies, "interval")) < 0.5 * single
