"""Mixing: targets are met, nobody's example is worn out before its neighbours', and what was drawn is told."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.corpus.record import Task
from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Mix
from mulmed.recipe.steps import Task as RecipeTask
from mulmed.training.mixing import (
    count_drawn,
    drawn_until,
    groups_of,
    mixed_order,
    shares_document,
    target_shares,
)
from mulmed.training.packing import epoch_order

NATURAL = {("qa", "en"): 60, ("qa", "zh"): 30, ("dialogue", "zh"): 10}


def example(task: str, language: str, targets: int = 3) -> Example:
    mask = (False, *([True] * targets))
    return Example(tuple(range(targets + 1)), mask, f"{task}-{language}", task, language)


def corpus(counts: dict[tuple[str, str], int]) -> list[Example]:
    """The groups' examples, interleaved."""
    groups = [[example(*group)] * n for group, n in counts.items()]
    longest = max(counts.values())
    return [group[i] for i in range(longest) for group in groups if i < len(group)]


def test_a_recipe_knows_the_tasks_of_a_record() -> None:
    assert set(get_args(RecipeTask)) == set(get_args(Task))


def test_within_a_language_tasks_keep_their_proportions() -> None:
    shares = target_shares(NATURAL, Mix(language={"en": 0.5, "zh": 0.5}))
    assert shares == pytest.approx({("qa", "en"): 0.5, ("qa", "zh"): 0.375, ("dialogue", "zh"): 0.125})


def test_shares_of_tasks_and_of_languages_are_met_together() -> None:
    square = {(t, lang): 5 for t in ("qa", "summary") for lang in ("en", "zh")}
    mix = Mix(task={"qa": 0.7, "summary": 0.3}, language={"en": 0.4, "zh": 0.6})
    # nothing ties a task to a language here, so the shares multiply
    assert target_shares(square, mix) == pytest.approx(
        {("qa", "en"): 0.28, ("qa", "zh"): 0.42, ("summary", "en"): 0.12, ("summary", "zh"): 0.18}
    )
    # English is qa only: all of its 40% come from the 80% of qa
    mix = Mix(task={"qa": 0.8, "dialogue": 0.2}, language={"en": 0.4, "zh": 0.6})
    assert target_shares(NATURAL, mix) == pytest.approx(
        {("qa", "en"): 0.4, ("qa", "zh"): 0.4, ("dialogue", "zh"): 0.2}
    )


def test_a_share_of_zero_leaves_out() -> None:
    shares = target_shares(NATURAL, Mix(task={"qa": 1, "dialogue": 0}))
    assert shares == pytest.approx({("qa", "en"): 2 / 3, ("qa", "zh"): 1 / 3, ("dialogue", "zh"): 0})


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        (Mix(language={"en": 1}), "The language 'zh' has no share"),
        (Mix(language={"en": 0.5, "zh": 0.4, "de": 0.1}), "The language 'de' has a share but no example"),
        (Mix(task={"qa": 1}), "The task 'dialogue' has no share"),
        # at most 30% of dialogue can be had with 30% of Chinese
        (
            Mix(task={"qa": 0.5, "dialogue": 0.5}, language={"en": 0.7, "zh": 0.3}),
            "No mixture of this step's examples",
        ),
    ],
)
def test_targets_that_cannot_be_met_are_refused(mix: Mix, message: str) -> None:
    with pytest.raises(MulmedError) as caught:
        target_shares(NATURAL, mix)
    assert caught.value.what.startswith(message)
    assert caught.value.where.startswith("mix")


weights = st.lists(st.floats(0.05, 1), min_size=2, max_size=2)


@given(counts=st.lists(st.integers(1, 500), min_size=4, max_size=4), task=weights, language=weights)
def test_mixtures_meet_both_targets_and_keep_the_ties_between_them(
    counts: list[int], task: list[float], language: list[float]
) -> None:
    names = [(t, lang) for t in ("qa", "summary") for lang in ("en", "zh")]
    natural = dict(zip(names, counts, strict=True))
    mix = Mix(
        task={"qa": task[0] / sum(task), "summary": task[1] / sum(task)},
        language={"en": language[0] / sum(language), "zh": language[1] / sum(language)},
    )
    shares = target_shares(natural, mix)
    for k, wanted in ((0, mix.task), (1, mix.language)):
        for name, share in (wanted or {}).items():
            assert sum(s for group, s in shares.items() if group[k] == name) == pytest.approx(share, abs=1e-6)

    def odds(table: dict[tuple[str, str], float]) -> float:
        a, b, c, d = (table[name] for name in names)
        return a * d / (b * c)

    assert odds(shares) == pytest.approx(odds(natural), rel=1e-3)


@given(
    shares=st.lists(st.floats(0.001, 1), min_size=1, max_size=6).map(lambda s: [x / sum(s) for x in s]),
    examples=st.integers(1, 500),
    epochs=st.integers(1, 40),
)
def test_rounding_is_made_good_in_later_epochs(shares: list[float], examples: int, epochs: int) -> None:
    asked = {("qa", str(i)): s for i, s in enumerate(shares)}
    before = dict.fromkeys(asked, 0)
    for epoch in range(1, epochs + 1):
        drawn = drawn_until(asked, examples, epoch)
        assert sum(drawn.values()) == epoch * examples
        for group, share in asked.items():
            assert drawn[group] >= before[group]
            assert abs(drawn[group] - share * epoch * examples) < 2
        before = drawn


def test_a_group_too_small_for_one_epoch_has_its_share_over_several() -> None:
    # 3 examples of 10 each for a share of 0.15: 1.5 an epoch
    asked = {("qa", "en"): 0.85, ("qa", "zh"): 0.15}
    assert [drawn_until(asked, 10, e)["qa", "zh"] for e in range(7)] == [0, 1, 3, 4, 6, 7, 9]


@given(
    counts=st.lists(st.integers(1, 12), min_size=3, max_size=3),
    weights=st.lists(st.integers(0, 30), min_size=3, max_size=3).filter(any),
    seed=st.integers(0, 2**32 - 1),
    epochs=st.integers(1, 4),
)
def test_no_example_comes_again_before_all_of_its_group_came(
    counts: list[int], weights: list[int], seed: int, epochs: int
) -> None:
    names = [("qa", "en"), ("qa", "zh"), ("summary", "en")]
    examples = corpus(dict(zip(names, counts, strict=True)))
    members = groups_of(examples)
    shares = {group: w / sum(weights) for group, w in zip(members, weights, strict=True)}
    times = np.zeros(len(examples), dtype=int)
    for epoch in range(epochs):
        order = mixed_order(members, shares, epoch, seed)
        assert len(order) == len(examples)
        np.add.at(times, order, 1)
        for indices in members.values():
            assert times[indices].max() - times[indices].min() <= 1
        drawn = drawn_until(shares, len(examples), epoch + 1)
        assert {group: times[indices].sum() for group, indices in members.items()} == drawn
    assert np.array_equal(order, mixed_order(members, shares, epochs - 1, seed))


def test_mixed_epochs_and_seeds_have_their_own_order_and_it_is_shuffled() -> None:
    members = groups_of(corpus({("qa", "en"): 40, ("qa", "zh"): 40}))
    shares = {("qa", "en"): 30 / 80, ("qa", "zh"): 50 / 80}
    orders = [mixed_order(members, shares, epoch, seed) for epoch in range(3) for seed in range(3)]
    assert len({tuple(o) for o in orders}) == 9
    for order in orders:  # not one language after the other
        english = np.flatnonzero(np.isin(order, members["qa", "en"]))
        assert english.min() < 15
        assert english.max() > 65


def test_the_mixed_order_is_the_same_on_every_machine() -> None:
    # A changed order would silently make an interrupted run another one.
    members = {("qa", "en"): np.arange(4), ("qa", "zh"): np.arange(4, 6)}
    shares = {("qa", "en"): 1 / 3, ("qa", "zh"): 2 / 3}
    assert mixed_order(members, shares, 0, 42).tolist() == [5, 4, 5, 4, 2, 3]
    assert mixed_order(members, shares, 1, 42).tolist() == [5, 1, 0, 5, 4, 4]


def test_what_was_drawn_is_counted() -> None:
    examples = [example("qa", "en", 2), example("qa", "zh", 5), example("qa", "en", 4)]
    orders = [np.array([1, 0, 1]), np.array([2, 1, 0])]
    # two steps an epoch: 1 0 | 1, then 2 1
    drawn = count_drawn(examples, lambda e: orders[e], batch=2, steps=3, shares=None)
    assert shares_document(drawn) == [
        {
            "task": "qa", "language": "en", "examples": 2, "seen": 2, "distinct": 2, "share": 0.4,
            "target_share": None, "target_tokens": 6, "token_share": round(6 / 21, 6),
        },
        {
            "task": "qa", "language": "zh", "examples": 1, "seen": 3, "distinct": 1, "share": 0.6,
            "target_share": None, "target_tokens": 15, "token_share": round(15 / 21, 6),
        },
    ]  # fmt: skip


def test_without_a_mixture_every_example_is_seen_once_an_epoch() -> None:
    examples = corpus(NATURAL)
    drawn = count_drawn(examples, lambda e: epoch_order(len(examples), e, 1), batch=7, steps=30, shares=None)
    assert {(d.task, d.language): (d.examples, d.seen, d.distinct) for d in drawn} == {
        group: (n, 2 * n, n) for group, n in NATURAL.items()
    }
