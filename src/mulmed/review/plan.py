"""Which questions, which annotator rates what, and in which order: all decided by one seed."""

from __future__ import annotations

import hashlib
import math
import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from mulmed.errors import MulmedError
from mulmed.review.candidates import Question

Kind = Literal["training", "rating", "repeat"]
#: Up to so many ways of choosing annotators all are tried for each question.
_SUBSETS = 5000


@dataclass(frozen=True, slots=True)
class Annotator:
    """Somebody who rates; ``languages`` empty: reads all."""

    name: str
    languages: tuple[str, ...] = ()

    def reads(self, language: str) -> bool:
        """Whether answers in this language may be given to them."""
        return not self.languages or language in self.languages


@dataclass(frozen=True, slots=True)
class Turn:
    """One place in an annotator's order: a question's answer by a model (``model`` empty: a training item)."""

    kind: Kind
    question: str
    model: str


def sample(questions: Sequence[Question], count: int, seed: int) -> list[Question]:
    """At most ``count`` questions, each language and task in proportion (largest remainders), by hash of seed and id.

    A stratum that exists gets at least one question where ``count`` allows. A larger count holds the smaller one's choice
    of a stratum.
    """
    strata: dict[tuple[str, str], list[Question]] = defaultdict(list)
    for question in questions:
        strata[question.language, question.task].append(question)
    count = min(count, len(questions))
    exact = {key: count * len(group) / len(questions) for key, group in strata.items()}
    taken = {key: math.floor(share) for key, share in exact.items()}
    order = sorted(strata, key=lambda key: (-(exact[key] - taken[key]), key))
    for key in order[: count - sum(taken.values())]:
        taken[key] += 1
    for key in sorted(strata):
        richest = max(sorted(taken), key=taken.__getitem__)
        if not taken[key] and taken[richest] > 1:
            taken[key], taken[richest] = 1, taken[richest] - 1
    chosen = []
    for key in sorted(strata):
        chosen += sorted(strata[key], key=lambda q: _hash(seed, q.id))[: taken[key]]
    return chosen


def assign(
    questions: Sequence[Question], annotators: Sequence[Annotator], overlap: int, seed: int
) -> dict[str, list[str]]:
    """By annotator, the ids of the questions whose answers they rate: ``overlap`` annotators a question.

    All answers to a question go to the same annotators, so that models are compared by the same eyes. Each question takes
    those annotators for whom loads, and how often two rate together, stay most even: with enough questions a balanced
    incomplete block design.

    Raises:
        MulmedError: fewer than ``overlap`` annotators read a question's language.
    """
    rng = random.Random(_hash(seed, "assignment"))
    load: Counter[str] = Counter()
    together: Counter[tuple[str, str]] = Counter()
    found: dict[str, list[str]] = {a.name: [] for a in annotators}
    for question in questions:
        able = [a.name for a in annotators if a.reads(question.language)]
        if len(able) < overlap:
            raise MulmedError(
                f"Only {len(able)} annotators read {question.language!r}, and {overlap} shall rate each question.",
                where="--annotator",
                remedy="Name more annotators who read the language, or choose a smaller --overlap.",
            )
        able.sort(key=lambda name: (load[name], rng.random()))
        if math.comb(len(able), overlap) > _SUBSETS:
            able = able[: overlap + 4] if math.comb(overlap + 4, overlap) <= _SUBSETS else able[:overlap]
        best = min(
            combinations(able, overlap),
            key=lambda group: (
                sum(2 * load[name] + 1 for name in group),
                sum(2 * together[pair] + 1 for pair in combinations(sorted(group), 2)),
            ),
        )
        load.update(best)
        together.update(combinations(sorted(best), 2))
        for name in best:
            found[name].append(question.id)
    return found


def order(
    questions: Sequence[str],
    models: Sequence[str],
    repeats: float,
    training: Sequence[str],
    seed: int,
    annotator: str,
) -> list[Turn]:
    """One annotator's turns: training items first, then all answers shuffled, hidden repeats among the last.

    Answers to one question stand apart where possible, and a repeat stands at least a third of the way after the first
    time. ``repeats`` is a share of the answers, rounded up.
    """
    rng = random.Random(_hash(seed, f"order of {annotator}"))
    left = [(q, m) for q in questions for m in models]
    rng.shuffle(left)
    turns: list[Turn] = []
    gap = min(5, len(questions) - 1)
    while left:
        recent = {turn.question for turn in turns[len(turns) - gap :]} if gap else set()
        place = next((i for i, (q, _) in enumerate(left) if q not in recent), 0)
        turns.append(Turn("rating", *left.pop(place)))
    third = len(turns) // 3
    for first in rng.sample(
        turns[: max(third, 1)], min(math.ceil(repeats * len(turns)), max(third, 1)) if turns else 0
    ):
        at = rng.randint(turns.index(first) + third + 1, len(turns))
        turns.insert(at, Turn("repeat", first.question, first.model))
    return [Turn("training", id, "") for id in training] + turns


def _hash(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}:{text}".encode()).digest()


def strata(questions: Sequence[Question]) -> Mapping[tuple[str, str], int]:
    """Questions by (language, task)."""
    return Counter((q.language, q.task) for q in questions)
