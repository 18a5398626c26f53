"""Agreement of two engines: counted up to the first other token."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.errors import MulmedError
from mulmed.generation.agreement import (
    AGREEMENT,
    NEW_TOKENS,
    check_engine,
    compare_answers,
    compare_engines,
)
from mulmed.generation.engine import Completion
from mulmed.recipe import Decoding


def stop(*ids: int) -> Completion:
    return Completion(ids, "stop")


def cut(*ids: int) -> Completion:
    return Completion(ids, "length")


@pytest.mark.parametrize(
    ("expected", "actual", "identical", "tokens", "leading"),
    [
        (stop(1, 2, 3), stop(1, 2, 3), 1, 4, 4),  # the end is a token as well
        (cut(1, 2, 3), cut(1, 2, 3), 1, 3, 3),
        (cut(1, 2, 3), stop(1, 2, 3), 0, 3, 3),  # one has ended, the other has not
        (stop(1, 2, 3), cut(1, 2, 3), 0, 4, 3),
        (stop(1, 2, 3), stop(1, 9, 3), 0, 4, 1),  # what comes after a difference is no agreement
        (stop(1, 2), stop(1, 2, 3), 0, 3, 2),
        (stop(1, 2, 3), stop(), 0, 4, 0),
    ],
)
def test_one_answer(
    expected: Completion, actual: Completion, identical: int, tokens: int, leading: int
) -> None:
    found = compare_answers([expected], [actual])
    assert (found["identical"], found["tokens"], found["leading_tokens"]) == (identical, tokens, leading)


def test_a_token_whose_id_could_be_mistaken_for_the_end() -> None:
    assert compare_answers([stop(1)], [cut(1, 0)])["leading_tokens"] == 1
    assert compare_answers([stop(1)], [cut(1, -1)])["leading_tokens"] == 1


ANSWERS = st.lists(
    st.builds(Completion, st.lists(st.integers(0, 3), max_size=6).map(tuple), st.sampled_from(["stop", "length"])),
    min_size=1,
    max_size=5,
)  # fmt: skip


@given(ANSWERS, st.data())
def test_properties(answers: list[Completion], data: st.DataObject) -> None:
    whole = compare_answers(answers, answers)
    assert whole["identical"] == whole["answers"] == len(answers)
    assert whole["leading_share"] == 1
    others = data.draw(st.lists(ANSWERS.map(lambda x: x[0]), min_size=len(answers), max_size=len(answers)))
    one, two = compare_answers(answers, others), compare_answers(others, answers)
    assert one["identical"] == two["identical"]
    assert one["leading_tokens"] == two["leading_tokens"]
    assert 0 <= one["leading_share"] <= 1


class Told:
    """An engine that keeps how it was asked."""

    def __init__(self, *answers: Completion) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[Decoding, int]] = []

    def complete(self, prompts: Sequence[Sequence[int]], decoding: Decoding, seed: int) -> list[Completion]:
        self.asked.append((decoding, seed))
        return self.answers[: len(prompts)]


def test_engines_are_compared_without_chance() -> None:
    reference, other = Told(stop(1, 2)), Told(stop(1, 3))
    decoding = Decoding(temperature=0.7, num_beams=4, repetition_penalty=1.3, max_new_tokens=9, seed=5)
    found = compare_engines(reference, other, [[1]], decoding)
    assert found["leading_tokens"] == 1
    for engine in (reference, other):
        ((settings, seed),) = engine.asked
        assert (settings.temperature, settings.num_beams, seed) == (0, 1, 5)
        assert (settings.repetition_penalty, settings.max_new_tokens) == (1.3, 9)


def test_an_engine_that_reads_prompts_otherwise_does_not_answer(tmp_path: Path) -> None:
    prompts = [[1] * n for n in range(1, 11)]
    right = Told(*[stop(1, 2)] * 8)
    wrong = Told(*[stop(1, 2)] * 3, *[stop(9, 2)] * 5)
    with pytest.raises(MulmedError, match="3 of 8 answers begin with the same token"):
        check_engine("other", lambda: right, wrong, prompts, Decoding(), tmp_path)
    assert not (tmp_path / AGREEMENT).exists()
    half = Told(*[stop(1, 2)] * 4, *[stop(9, 2)] * 4)
    check_engine("other", lambda: right, half, prompts, Decoding(), tmp_path)


def test_what_was_found_out_holds_when_a_run_goes_on(tmp_path: Path) -> None:
    prompts = [[1] * n for n in range(1, 20)]
    engine = Told(*[stop(1, 2)] * 8)
    reference = Told(*[stop(1, 2)] * 8)
    found = check_engine("other", lambda: reference, engine, prompts, Decoding(max_new_tokens=99), tmp_path)
    assert (found["engine"], found["answers"], found["identical"]) == ("other", 8, 8)
    ((settings, _),) = engine.asked
    assert settings.max_new_tokens == NEW_TOKENS

    def never() -> Told:
        raise AssertionError("the reference was asked again")

    assert check_engine("other", never, Told(), prompts, Decoding(), tmp_path) == found
