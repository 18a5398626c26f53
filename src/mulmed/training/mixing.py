"""How often a step sees which task and language: targets met by drawing, and what was drawn, counted."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mulmed.errors import MulmedError
from mulmed.prompts import Example
from mulmed.recipe import Mix
from mulmed.training.packing import steps_per_epoch

#: Task and language.
Group = tuple[str, str]
#: Which examples an epoch (from 0) sees, in order.
Order = Callable[[int], np.ndarray]
_ROUNDS = 1000


def groups_of(examples: Sequence[Example]) -> dict[Group, np.ndarray]:
    """Indices of the examples of each task and language, sorted by these."""
    found: dict[Group, list[int]] = {}
    for i, e in enumerate(examples):
        found.setdefault((e.task, e.language), []).append(i)
    return {group: np.asarray(found[group]) for group in sorted(found)}


def target_shares(counts: Mapping[Group, int], mix: Mix) -> dict[Group, float]:
    """The share of each group that gives tasks and languages the shares asked for.

    Of all such shares those nearest to the natural ones in Kullback-Leibler divergence, found by iterative
    proportional fitting (Deming & Stephan 1940): within a task, languages keep their proportions unless
    the languages' own shares forbid it.

    Raises:
        MulmedError: a share is given to what has no example, an example's task or language has none, or
            no shares of the groups meet both targets.
    """
    asked = (("task", mix.task), ("language", mix.language))
    targets = [
        (k, kind, {str(name): share for name, share in wanted.items()})
        for k, (kind, wanted) in enumerate(asked)
        if wanted is not None
    ]
    for k, kind, wanted in targets:
        there = {group[k] for group in counts}
        for name in sorted(set(wanted) | there):
            if name not in wanted or (wanted[name] and name not in there):
                what = "no share" if name in there else "a share but no example"
                raise MulmedError(
                    f"The {kind} {name!r} has {what} in this step.",
                    where=f"mix.{kind}",
                    remedy="Name every one with its share (0 leaves it out). The step's examples have: "
                    + ", ".join(sorted(there)),
                )
    total = sum(counts.values())
    shares = {group: count / total for group, count in counts.items()}
    error = 0.0
    for _ in range(_ROUNDS):
        error = 0.0
        for k, _, wanted in targets:
            for name, share in wanted.items():
                own = [group for group in shares if group[k] == name]
                found = sum(shares[group] for group in own)
                error = max(error, abs(found - share))
                for group in own:
                    shares[group] *= share / found if found else 0.0
        if error < 1e-9:
            break
    if error > 1e-6:
        raise MulmedError(
            "No mixture of this step's examples has both the shares of tasks and those of languages "
            f"(they stay {error:.3f} apart).",
            where="mix",
            remedy="Its examples have: " + ", ".join(" in ".join(group) for group in sorted(counts)),
        )
    return shares


def drawn_until(shares: Mapping[Group, float], examples: int, epoch: int) -> dict[Group, int]:
    """How many examples of each group all epochs before ``epoch`` have drawn, ``examples`` an epoch.

    What rounding to whole examples takes from a group in one epoch it gets back in the next ones: the
    numbers stay within two examples of the shares however many epochs there are, so that the realised
    shares converge.
    """
    drawn = dict.fromkeys(shares, 0)
    for done in range(1, epoch + 1):
        owed = {group: share * examples * done - drawn[group] for group, share in shares.items()}
        now = {group: max(0, math.floor(number)) for group, number in owed.items()}
        while (missing := examples - sum(now.values())) != 0:
            change = 1 if missing > 0 else -1
            candidates = [g for g in sorted(now) if now[g] + change >= 0 and shares[g]]
            best = max(candidates, key=lambda group: change * (owed[group] - now[group]))
            now[best] += change
        drawn = {group: drawn[group] + now[group] for group in drawn}
    return drawn


def mixed_order(
    members: Mapping[Group, np.ndarray], shares: Mapping[Group, float], epoch: int, seed: int
) -> np.ndarray:
    """The examples of one epoch, as many as there are, of each group its share, shuffled together.

    Each group is a deck, shuffled anew whenever it is used up and carried on from epoch to epoch, so no
    example comes a second time before all of its group came once. A pure function of its arguments, so
    that a resumed run needs no stored state to go on exactly.
    """
    examples = sum(len(indices) for indices in members.values())
    first, last = (drawn_until(shares, examples, e) for e in (epoch, epoch + 1))
    taken = []
    for k, (group, indices) in enumerate(members.items()):
        deck = np.arange(first[group], last[group])
        rounds = deck // len(indices)
        for r in np.unique(rounds):
            order = np.random.Generator(np.random.PCG64([seed, k, int(r)])).permutation(indices)
            taken.append(order[deck[rounds == r] % len(indices)])
    shuffle = np.random.Generator(np.random.PCG64([seed, epoch]))
    return shuffle.permutation(np.concatenate(taken))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a step saw of one task and language.

    Attributes:
        examples: how many there are.
        seen: how many were drawn, repetitions counted.
        distinct: how many different ones were drawn.
        targets: target tokens drawn, repetitions counted.
        target: the share of examples asked for, None where nothing was.
    """

    task: str
    language: str
    examples: int
    seen: int
    distinct: int
    targets: int
    target: float | None


def count_drawn(
    examples: Sequence[Example], order: Order, batch: int, steps: int, shares: Mapping[Group, float] | None
) -> list[Drawn]:
    """What the first ``steps`` optimizer steps saw of each task and language."""
    times = np.zeros(len(examples), dtype=np.int64)
    epochs, rest = divmod(steps, steps_per_epoch(len(examples), batch))
    for epoch in range(epochs):
        np.add.at(times, order(epoch), 1)
    if rest:
        np.add.at(times, order(epochs)[: rest * batch], 1)
    targets = np.asarray([e.targets for e in examples])
    return [
        Drawn(
            task,
            language,
            examples=len(indices),
            seen=int(times[indices].sum()),
            distinct=int(np.count_nonzero(times[indices])),
            targets=int((times * targets)[indices].sum()),
            target=None if shares is None else shares[task, language],
        )
        for (task, language), indices in groups_of(examples).items()
    ]


def shares_document(drawn: Sequence[Drawn]) -> list[dict[str, Any]]:
    """The counts with their realised shares, a row a task and language, as the artifact holds them."""
    seen, targets = (sum(getattr(d, name) for d in drawn) for name in ("seen", "targets"))
    return [
        {
            "task": d.task,
            "language": d.language,
            "examples": d.examples,
            "seen": d.seen,
            "distinct": d.distinct,
            "share": round(d.seen / seen, 6),
            "target_share": None if d.target is None else round(d.target, 6),
            "target_tokens": d.targets,
            "token_share": round(d.targets / targets, 6),
        }
        for d in drawn
    ]
