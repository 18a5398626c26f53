import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.evaluation.fscore import Score, token_score
from mulmed.evaluation.tokenize import tokens

TOKENS = st.lists(st.sampled_from(["头", "痛", "ct", "fever", "the", "38"]), max_size=30)


def test_worked_example_in_english() -> None:
    # 6 tokens against 4; in common: "you", "need", "rest" (once: the reference has one) = 3.
    score = token_score(tokens("You need rest, rest and water"), tokens("You need more rest."))
    assert score == Score(3 / 6, 3 / 4, 2 * 3 / 10)


def test_worked_example_in_chinese() -> None:
    # 多喝热水 against 多喝水多休息: 多, 喝, 水 in common; the second 多 finds no partner.
    score = token_score(tokens("多喝热水。"), tokens("多喝水，多休息"))
    assert score == Score(3 / 4, 3 / 6, 2 * 3 / 10)


def test_articles_count_unlike_in_squads_own_script() -> None:
    assert token_score(tokens("the fever"), tokens("a fever")).f1 == 0.5


@pytest.mark.parametrize(("answer", "reference", "f1"), [([], [], 1.0), ([], ["水"], 0.0), (["水"], [], 0.0)])
def test_empty_texts(answer: list[str], reference: list[str], f1: float) -> None:
    assert token_score(answer, reference) == Score(f1, f1, f1)


@given(TOKENS, TOKENS, st.randoms(use_true_random=False))
def test_properties(answer: list[str], reference: list[str], shuffle: random.Random) -> None:
    score = token_score(answer, reference)
    swapped = token_score(reference, answer)
    assert (score.f1, score.precision, score.recall) == (swapped.f1, swapped.recall, swapped.precision)
    assert min(score.precision, score.recall) <= score.f1 + 1e-12
    assert 0.0 <= score.f1 <= max(score.precision, score.recall) + 1e-12 <= 1.0 + 1e-12
    mixed = shuffle.sample(answer, len(answer))
    assert token_score(mixed, reference) == score
    assert (score.f1 == 1.0) == (sorted(answer) == sorted(reference))


@given(TOKENS, TOKENS)
def test_equals_counting_by_hand(answer: list[str], reference: list[str]) -> None:
    left = list(reference)
    shared = 0
    for token in answer:
        if token in left:
            left.remove(token)
            shared += 1
    if shared:
        precision, recall = shared / len(answer), shared / len(reference)
        expected = 2 * precision * recall / (precision + recall)
    else:
        expected = float(not answer and not reference)
    assert token_score(answer, reference).f1 == pytest.approx(expected, abs=1e-12)
