"""Batches and packs: every example, once an epoch, whole, with its own targets and no others."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mulmed.prompts import Example
from mulmed.training.packing import epoch_order, make_pack, pack_evenly, pack_lengths, packs_of, total_steps
from mulmed.training.step import learning_rate_factor


@pytest.mark.parametrize(
    ("examples", "batch", "epochs", "steps"),
    [
        (102_700, 192, 1, 535),  # the paper's step A
        (294_600, 256, 3, 3_453),  # the paper's step B
        (8, 8, 1, 1),
        (9, 8, 1, 2),
        (9, 8, 0.5, 1),
        (3, 8, 0.01, 1),
        (16, 8, 2.5, 5),
        (10, 1, 1.05, 11),
    ],
)
def test_optimizer_steps(examples: int, batch: int, epochs: float, steps: int) -> None:
    assert total_steps(examples, batch, epochs) == steps


@given(examples=st.integers(1, 60), epoch=st.integers(0, 3), seed=st.integers(0, 2**32))
def test_an_epoch_is_a_permutation(examples: int, epoch: int, seed: int) -> None:
    order = epoch_order(examples, epoch, seed).tolist()
    assert sorted(order) == list(range(examples))
    assert epoch_order(examples, epoch, seed).tolist() == order


def test_epochs_and_seeds_have_their_own_order() -> None:
    orders = {tuple(epoch_order(50, epoch, seed)) for epoch in range(3) for seed in range(3)}
    assert len(orders) == 9


def test_the_order_is_the_same_on_every_machine() -> None:
    # A changed order would silently make an interrupted run another one.
    assert epoch_order(10, 0, 42).tolist()[:8] == [5, 6, 0, 7, 3, 2, 4, 9]


@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=40),
    capacity=st.integers(1, 64),
    multiple=st.integers(2, 5),
)
def test_packs_for_side_by_side_are_even(lengths: list[int], capacity: int, multiple: int) -> None:
    packs = pack_evenly(lengths, capacity, multiple)
    assert sorted(i for pack in packs for i in pack) == list(range(len(lengths)))
    assert len(packs) % multiple == 0 or len(packs) == len(lengths)
    sums = [sum(lengths[i] for i in pack) for pack in packs]
    assert all(n <= capacity or len(pack) == 1 for n, pack in zip(sums, packs, strict=True))
    assert max(sums) - min(sums) <= max(lengths)
    assert pack_evenly(lengths, capacity, multiple) == packs


def test_even_packs_of_a_worked_example() -> None:
    # 20 tokens in packs of at most 8: two packs would need 10 each, so there are four
    assert pack_evenly([7, 5, 4, 3, 1], 8, 2) == [[0], [1], [2], [3, 4]]
    assert pack_evenly([7, 5, 4, 3, 1], 10, 2) == [[0, 3], [1, 2, 4]]


@given(lengths=st.lists(st.integers(1, 40), max_size=40), capacity=st.integers(1, 64))
def test_packs_hold_everything_and_no_more_than_they_may(lengths: list[int], capacity: int) -> None:
    packs = pack_lengths(lengths, capacity)
    assert sorted(i for p in packs for i in p) == list(range(len(lengths)))
    for pack in packs:
        assert sum(lengths[i] for i in pack) <= capacity or len(pack) == 1
    # First fit leaves no two packs that would fit into one.
    sizes = sorted(sum(lengths[i] for i in p) for p in packs)
    assert all(a + b > capacity for a, b in pairwise(sizes))


def test_worked_packs() -> None:
    assert pack_lengths([3, 5, 2, 5], 8) == [[1, 0], [3, 2]]
    assert pack_lengths([9, 1], 8) == [[0], [1]]  # too long for any pack: alone, not lost
    assert pack_lengths([], 8) == []


def test_worked_pack() -> None:
    # The first document asks for its first token, which no token precedes; the second begins
    # after the first's last token, which must not predict it.
    pack = make_pack([[10, 11, 12], [20, 21]], [[True, False, True], [True, True]])
    assert pack.ids.tolist() == [[10, 11, 12, 20, 21]]
    assert pack.positions.tolist() == [[0, 1, 2, 0, 1]]
    assert pack.lengths == (3, 2)
    assert pack.sources.tolist() == [1, 3]
    assert pack.targets.tolist() == [12, 21]


documents = st.lists(
    st.lists(st.tuples(st.integers(0, 999), st.booleans()), min_size=1, max_size=12), min_size=1, max_size=8
)


@given(documents=documents, capacity=st.integers(4, 40))
def test_targets_are_those_of_the_documents_alone(
    documents: list[list[tuple[int, bool]]], capacity: int
) -> None:
    examples = [
        Example(tuple(t for t, _ in d), tuple(m for _, m in d), str(i), "qa", "en")
        for i, d in enumerate(documents)
    ]
    got = sorted(
        (int(pack.ids[0, s]), int(t))
        for pack in packs_of(examples, capacity)
        for s, t in zip(pack.sources.tolist(), pack.targets.tolist(), strict=True)
    )
    want = sorted((d[k - 1][0], d[k][0]) for d in documents for k in range(1, len(d)) if d[k][1])
    assert got == want
    assert len(got) == sum(e.targets for e in examples)


@pytest.mark.parametrize(("steps", "warmup"), [(535, 0.1), (3453, 0.1), (10, 0.0), (7, 1.0), (1, 0.1)])
def test_learning_rate_is_the_linear_schedule_one_step_ahead_while_rising(steps: int, warmup: float) -> None:
    """transformers' schedule begins at 0, which wastes the first step; ours begins one step later.

    From the peak on they are equal: the last step still has a rate above 0.
    """
    import math

    import torch
    from transformers import get_linear_schedule_with_warmup

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    rising = math.ceil(steps * warmup)
    schedule = get_linear_schedule_with_warmup(optimizer, rising, steps).lr_lambdas[0]
    for step in range(steps):
        expected = schedule(step + 1 if step < rising else step) if rising < steps else (step + 1) / steps
        assert learning_rate_factor(step, steps, warmup) == pytest.approx(expected, abs=1e-12)
        assert 0 < learning_rate_factor(step, steps, warmup) <= 1
