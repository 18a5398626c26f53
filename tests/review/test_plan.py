"""What a study is made of: candidates, sample, assignment, order."""

from __future__ import annotations

from collections import Counter
from itertools import combinations, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.errors import MulmedError
from mulmed.review.candidates import Question, gather
from mulmed.review.plan import Annotator, assign, order, sample, strata
from tests.review.studies import MODELS, answers


def made(count: int, language: str = "en", task: str = "qa") -> list[Question]:
    return [Question(f"{language}-{task}-{i}", language, task, "?") for i in range(count)]


# --- candidates -------------------------------------------------------------------------------------------


def with_answer(text: str | None, status: str = "ok") -> list[dict[str, Any]]:
    rows = answers(2)
    rows[0] |= {"answer": text, "status": status}
    return rows


@pytest.mark.parametrize(
    "text",
    [
        "As ChatGPT, I cannot examine you.",
        "I am Quillon 9 and not a doctor.",
        "quillon-9 here.",
        "我是由OpenAI训练的助手。",
        "我是百川大模型，建议多休息。",
        "您好，我是扁鹊，请问哪里不舒服？",
        "作为华佗，我建议您就医。",
        "tern_xl thinks so.",
    ],
)
def test_an_answer_that_names_a_model_is_flagged(text: str) -> None:
    assert gather(with_answer(text)).named == {("en-source-0", "Quillon-9")}


@pytest.mark.parametrize(
    "text",
    [
        "扁鹊是古代名医。",
        "百川东到海，多喝水。",
        "《本草纲目》记载了这味药，华佗再造丸需遵医嘱。",
        "An external wrenlets infection.",
        "You have an interned pattern of sleep; rest well. The doctor model of care helps.",
    ],
)
def test_words_of_medicine_are_no_names(text: str) -> None:
    assert not gather(with_answer(text)).named


def test_a_question_that_a_model_failed_on_is_left_out_and_counted() -> None:
    for rows in (with_answer(None, "failed"), with_answer("  "), answers(2)[1:]):
        found = gather(rows)
        assert [q.id for q in found.questions] == ["zh-source-1"]
        assert found.incomplete == 1
        assert found.models[1:] or found.models


@pytest.mark.parametrize(
    "rows",
    [
        [],
        answers(2, models=["alone"]),
        [*answers(2), answers(2)[0]],
        [*answers(2)[1:], {**answers(2)[0], "model_content": "weights of an earlier training"}],
        [*answers(2), {**answers(2)[0], "model": "other", "question": "Another?"}],
        [{**answers(2)[0], "question": None}],
    ],
)
def test_answers_that_do_not_fit_together_are_refused(rows: list[dict[str, Any]]) -> None:
    with pytest.raises(MulmedError):
        gather(rows)


# --- sample -----------------------------------------------------------------------------------------------


def test_the_sample_has_the_proportions_of_the_whole() -> None:
    whole = made(60) + made(30, "zh") + made(10, "zh", "dialogue")
    assert strata(sample(whole, 20, 0)) == {("en", "qa"): 12, ("zh", "qa"): 6, ("zh", "dialogue"): 2}


def test_a_rare_kind_of_question_is_not_forgotten() -> None:
    whole = made(98) + made(2, "zh")
    assert strata(sample(whole, 10, 0))["zh", "qa"] == 1


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.integers(1, 60), st.integers(0, 5))
def test_as_many_as_asked_for_or_all_and_none_twice(sizes: list[int], count: int, seed: int) -> None:
    whole = [q for i, size in enumerate(sizes) for q in made(size, "en", f"task{i}")]
    chosen = sample(whole, count, seed)
    assert len({q.id for q in chosen}) == len(chosen) == min(count, len(whole))
    assert chosen == sample(whole[::-1], count, seed)


# --- assignment -------------------------------------------------------------------------------------------


def test_five_annotators_two_a_question_are_a_balanced_incomplete_block_design() -> None:
    """Ten questions: each pair of the five rates exactly one together, each annotator four."""
    people = [Annotator(n) for n in "abcde"]
    found = assign(made(10), people, 2, 3)
    assert {len(q) for q in found.values()} == {4}
    assert {len(set(found[a]) & set(found[b])) for a, b in combinations("abcde", 2)} == {1}


@given(st.integers(1, 7), st.data())
def test_loads_differ_by_one_at_most_and_every_question_gets_its_raters(
    people: int, data: st.DataObject
) -> None:
    overlap = data.draw(st.integers(1, people))
    questions = made(data.draw(st.integers(1, 25)))
    found = assign(questions, [Annotator(str(i)) for i in range(people)], overlap, 1)
    loads = [len(q) for q in found.values()]
    assert max(loads) - min(loads) <= 1
    assert Counter(q for mine in found.values() for q in mine) == {q.id: overlap for q in questions}


def test_many_annotators_do_not_take_for_ever() -> None:
    found = assign(made(60), [Annotator(str(i)) for i in range(50)], 5, 1)
    assert {len(q) for q in found.values()} == {6}


def test_nobody_gets_a_language_they_do_not_read() -> None:
    people = [Annotator("e", ("en",)), Annotator("z", ("zh",)), Annotator("both")]
    found = assign(made(6) + made(6, "zh"), people, 2, 0)
    assert {q[:2] for q in found["e"]} == {"en"}
    assert {q[:2] for q in found["z"]} == {"zh"}
    with pytest.raises(MulmedError, match="Only 2 annotators read 'zh'"):
        assign(made(1, "zh"), people, 3, 0)


# --- order ------------------------------------------------------------------------------------------------


@given(st.integers(1, 12), st.integers(0, 9))
def test_an_order_holds_every_answer_once_and_the_repeats_far_behind(questions: int, seed: int) -> None:
    ids = [str(i) for i in range(questions)]
    turns = order(ids, MODELS, 0.05, ["0", "1"], seed, "a")
    assert [t.kind for t in turns[:2]] == ["training"] * 2
    rest = turns[2:]
    first = [(t.question, t.model) for t in rest if t.kind == "rating"]
    assert sorted(first) == sorted((q, m) for q in ids for m in MODELS)
    again = [t for t in rest if t.kind == "repeat"]
    assert len(again) == -(-len(first) * 5 // 100)
    for turn in again:
        places = [i for i, t in enumerate(rest) if (t.question, t.model) == (turn.question, turn.model)]
        assert places[1] - places[0] > len(first) // 3


def test_answers_to_one_question_stand_apart_and_everybody_has_an_order_of_their_own() -> None:
    ids = [str(i) for i in range(20)]
    one, other = (order(ids, MODELS, 0, [], 1, name) for name in ("a", "b"))
    assert one != other
    assert one == order(ids, MODELS, 0, [], 1, "a")
    assert all(t.question != u.question for t, u in pairwise(one))
