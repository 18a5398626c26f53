import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.evaluation.keywords import distinctive_words, frequent_words, log_odds, spoken_words


def test_words_are_those_of_nltk_and_jieba() -> None:
    assert spoken_words("Hello, don’t worry... an X-ray (500mg)!", "en") == [
        *("hello", "don't", "worry", "an", "x-ray", "500mg")
    ]
    assert spoken_words("您好，请放心。", "zh") == ["您好", "请", "放心"]


def test_frequent_words_leave_out_function_words_numbers_and_single_characters() -> None:
    said = [spoken_words(t, "zh") for t in ("我建议检查，如果需要检查3次，请放心。", "检查后放心。")]
    words = frequent_words(said, "zh")
    assert words == [
        {"word": "检查", "count": 3, "category": "clinical"},
        {"word": "放心", "count": 2, "category": "reassurance"},
        {"word": "建议", "count": 1, "category": "next step"},
    ]
    said = [["the", "hope", "is", "that", "2", "hopes"], ["and", "the", "hope"]]
    assert [w["word"] for w in frequent_words(said, "en", top=1)] == ["hope"]


def test_log_odds_worked_by_hand() -> None:
    # 6 of 10 words against 2 of 10, prior 1 each: odds 7/5 against 3/9.
    z = log_odds(np.array([6.0, 4.0]), np.array([2.0, 8.0]), np.ones(2))
    expected = (np.log(7 / 5) - np.log(3 / 9)) / np.sqrt(1 / 7 + 1 / 3)
    assert z == pytest.approx([expected, (np.log(5 / 7) - np.log(9 / 3)) / np.sqrt(1 / 5 + 1 / 9)])


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=2, max_size=8))
def test_exchanging_the_speakers_changes_the_sign_and_equals_are_0(pairs: list[tuple[int, int]]) -> None:
    a, b = np.array(pairs, dtype=float).T
    prior = np.full(len(pairs), 0.5)
    assert log_odds(a, b, prior) == pytest.approx(-log_odds(b, a, prior))
    assert log_odds(a, a, prior) == pytest.approx(np.zeros(len(pairs)))


def test_the_prior_keeps_rare_words_from_winning() -> None:
    own = {"fever": 300, "hope": 120, "once": 1}
    other = {"fever": 300, "hope": 20}
    found = distinctive_words(own, other)
    assert [w["word"] for w in found] == ["hope"]  # "once" has infinite odds and says nothing
    assert (found[0]["count"], found[0]["count_other"]) == (120, 20)
    assert distinctive_words({"one": 3}, {}) == []
