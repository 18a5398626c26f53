import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.evaluation.diversity import (
    distinct,
    distinct_within,
    normal_interval,
    normal_p,
    standard_error,
    token_budget,
)

ANSWERS = st.lists(st.lists(st.sampled_from("abcdef"), max_size=8), max_size=8)
LARGE = 10**6


def test_worked_example_divides_by_tokens_not_by_ngrams() -> None:
    answers = list(map(str.split, ("i am fine", "i am well")))
    assert distinct_within(answers, 1, LARGE).value == 4 / 6
    # i-am, am-fine, am-well; fine-i would cross answers. Over 6 tokens, not over 4 bigrams.
    assert distinct_within(answers, 2, LARGE).value == 3 / 6


def test_texts_are_cut_by_their_language_and_to_a_budget() -> None:
    # Li et al. (2016) scale by the generated tokens; over the bigrams it would be 3 / 4.
    assert distinct(["I am fine.", "I am well!"], 2, "en") == 3 / 6
    assert distinct(["多喝水，多休息"], 1, "zh") == 5 / 6
    assert distinct(["a b", "c d e", "f"], 1, "en", budget=4) == 1.0
    assert distinct(["a a a a"], 1, "en") == 1 / 4
    assert distinct([], 1, "en") == distinct(["。"], 1, "zh") == 0.0


def test_whole_output_is_counted_not_each_answer() -> None:
    # Every answer by itself is perfectly diverse; the output is not.
    assert distinct_within([["多", "喝", "水"]] * 10, 1, LARGE).value == 3 / 30


def test_budget_cuts_the_answer_that_exceeds_it() -> None:
    answers = list(map(str.split, ("a b", "c d e", "f")))
    assert distinct_within(answers, 1, 4).value == 1.0
    assert distinct_within(answers, 2, 4).value == 2 / 4  # a-b, c-d
    assert distinct_within(answers, 2, 3).value == 1 / 3


def test_the_budget_is_that_of_the_tersest_model_that_says_anything() -> None:
    assert token_budget([[["a"] * 5, ["b"]], [["c"] * 4, []], [[], []]]) == 4
    assert token_budget([[[]], []]) == 0
    assert distinct_within([[], []], 1, 4).value == 0.0


def test_equal_budgets_undo_the_advantage_of_saying_less() -> None:
    rng = np.random.default_rng(0)
    words = [str(i) for i in range(400)]
    terse, wordy = ([list(rng.choice(words, n)) for _ in range(60)] for n in (10, 40))
    uncut = [distinct_within(output, 1, LARGE).value for output in (terse, wordy)]
    assert uncut[0] > 2 * uncut[1]
    budget = token_budget([terse, wordy])
    cut = [distinct_within(output, 1, budget).value for output in (terse, wordy)]
    assert cut[0] == pytest.approx(cut[1], abs=0.05)


@given(ANSWERS, st.integers(1, 3), st.integers(1, 40))
def test_equals_counting_by_hand(answers: list[list[str]], n: int, budget: int) -> None:
    flat = [(token, index) for index, answer in enumerate(answers) for token in answer][:budget]
    grams = set()
    for start in range(len(flat) - n + 1):
        window = flat[start : start + n]
        if len({index for _, index in window}) == 1:
            grams.add(tuple(token for token, _ in window))
    expected = len(grams) / len(flat) if flat else 0.0
    found = distinct_within(answers, n, budget)
    assert found.value == pytest.approx(expected)
    assert 0.0 <= found.value <= 1.0
    assert found.influences.sum() == pytest.approx(0.0, abs=1e-12)


def test_influence_is_what_an_answer_adds_beyond_the_mean_rate() -> None:
    # 6 tokens; found in one answer only: "b" and "c" of the first, "d" of the second: 3 a 6 tokens.
    answers = list(map(str.split, ("a b c", "a d", "a")))
    found = distinct_within(answers, 1, LARGE)
    assert found.influences == pytest.approx([(2 - 3 * 0.5) / 6, (1 - 2 * 0.5) / 6, (0 - 1 * 0.5) / 6])


def _output(rng: np.random.Generator, size: int) -> list[list[str]]:
    """Answers on one of ten topics each: words of one answer are not independent."""
    share = 1 / np.arange(1, 501) ** 1.1
    answers = []
    for topic in rng.integers(10, size=size):
        words = rng.choice(500, size=rng.integers(5, 40), p=share / share.sum())
        answers.append([str((word * (topic + 1)) % 500) for word in words])
    return answers


def test_standard_error_is_the_spread_over_fresh_outputs() -> None:
    rng = np.random.default_rng(0)
    for n in (1, 2):
        fresh = [distinct_within(_output(rng, 60), n, 1000) for _ in range(120)]
        spread = np.std([found.value for found in fresh])
        assert np.mean([standard_error(found.influences, 1000) for found in fresh]) == pytest.approx(
            spread, rel=0.3
        )


def test_p_of_equal_models_is_seldom_small() -> None:
    rng = np.random.default_rng(1)
    p = []
    for _ in range(120):
        one, other = (distinct_within(_output(rng, 40), 1, 700) for _ in range(2))
        error = standard_error(one.influences - other.influences, 700)
        p.append(normal_p(one.value - other.value, error))
    assert np.mean(np.array(p) < 0.05) < 0.1
    assert 0.4 < np.mean(p) < 0.6


def test_normal_interval_and_p() -> None:
    assert normal_interval(0.5, 0.1, 0.95) == pytest.approx((0.304, 0.696), abs=1e-3)
    assert normal_p(0.196, 0.1) == pytest.approx(0.05, abs=1e-4)
    assert normal_p(-0.196, 0.1) == normal_p(0.196, 0.1)


def test_standard_error_is_never_zero() -> None:
    # Everything is said twice, so no answer has an n-gram of its own.
    saturated = distinct_within([["a", "b"], ["b", "a"], ["a", "b"]], 1, LARGE)
    assert not saturated.influences.any()
    assert standard_error(saturated.influences, 6) == 1 / 6
    assert standard_error(np.zeros(1), 6) == float("inf")
    assert normal_p(0.5, float("inf")) == 1.0
