"""Whether those who write now write what the model was judged on: population stability index with a bound for chance.

The index of two distributions p (judged on) and q (now) over the same classes is the sum of ``(q - p) ln(q / p)``: Kullback and
Leibler's divergence in both directions, known by this name from credit scoring. By custom below 0.1 nothing has changed,
from 0.25 on much has. In small samples it is well above 0 by chance alone: without any change it is distributed nearly as
``(1/n + 1/m)`` times a chi-square variable with one degree of freedom less than classes (Yurdakul and Naranjo 2020,
"Statistical properties of the population stability index"). Drift is told only above both, the custom and chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from math import log
from typing import Any, Literal

from scipy.stats import chi2

from mulmed.monitoring.shape import shape_of
from mulmed.monitoring.store import Count

Verdict = Literal["stable", "watch", "drift", "too few"]
#: From here on an index is worth a look, and from here on it is drift.
WATCH, DRIFT = 0.1, 0.25
#: Fewer messages (of a language, for its lengths and topics) are not judged.
ENOUGH = 100
#: An index must be above what chance exceeds in one of a hundred cases.
LEVEL = 0.99

Classes = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Profile:
    """Messages as distributions: how many of each language, and in each language of each length and topic."""

    languages: Classes
    lengths: Mapping[str, Classes]
    topics: Mapping[str, Classes]


@dataclass(frozen=True, slots=True)
class Drift:
    """One distribution now against the one that the model was judged on.

    Attributes:
        measure: ``language``, ``length`` or ``topic``.
        language: of which the lengths or topics are; empty for the mix of languages.
        expected, observed: messages by class.
        index: population stability index; ``None`` with too few messages.
        chance: what the index exceeds in 1 of 100 cases where nothing has changed; likewise.
    """

    measure: Literal["language", "length", "topic"]
    language: str
    expected: Classes
    observed: Classes
    index: float | None
    chance: float | None
    verdict: Verdict


def population_stability(expected: Sequence[float], observed: Sequence[float]) -> float:
    """Population stability index of two distributions.

    Args:
        expected, observed: shares or counts by class, each above 0; they are scaled to a sum of 1.
    """
    p, q = ([value / sum(values) for value in values] for values in (expected, observed))
    return sum((b - a) * log(b / a) for a, b in zip(p, q, strict=True))


def chance_level(expected: int, observed: int, classes: int) -> float:
    """What the index of samples of ``expected`` and ``observed`` messages exceeds by chance with probability 1 - :data:`LEVEL`."""
    return (1 / expected + 1 / observed) * float(chi2.ppf(LEVEL, classes - 1))


def profile_of(texts: Iterable[str]) -> Profile:
    """The profile of messages, such as the questions of the test set."""
    shapes = [shape_of(text) for text in texts]
    lengths: dict[str, Counter[str]] = {}
    topics: dict[str, Counter[str]] = {}
    for shape in shapes:
        lengths.setdefault(shape.language, Counter())[str(shape.length)] += 1
        topics.setdefault(shape.language, Counter())[shape.topic] += 1
    return Profile(Counter(shape.language for shape in shapes), lengths, topics)


def profile_of_counts(counts: Iterable[Count]) -> Profile:
    """The profile of what a service counted."""
    languages = Counter[str]()
    by_name: dict[str, dict[str, Counter[str]]] = {"length": {}, "topic": {}}
    for count in counts:
        if count.name in by_name:
            language, value = count.key
            by_name[count.name].setdefault(language, Counter())[value] += count.count
            languages[language] += count.count if count.name == "length" else 0
    return Profile(languages, by_name["length"], by_name["topic"])


def find_drift(judged: Profile, now: Profile) -> list[Drift]:
    """The mix of languages, and for each language the model was judged in its lengths and topics."""
    found = [_compare("language", "", judged.languages, now.languages)]
    for language in judged.languages:
        for measure, expected, observed in (
            ("length", judged.lengths, now.lengths),
            ("topic", judged.topics, now.topics),
        ):
            found.append(_compare(measure, language, expected[language], observed.get(language, {})))
    return found


def _compare(measure: Any, language: str, expected: Classes, observed: Classes) -> Drift:
    classes = [c for c in {**expected, **observed} if expected.get(c) or observed.get(c)]
    n, m = sum(expected.values()), sum(observed.values())
    if m < ENOUGH or n == 0:
        return Drift(measure, language, expected, observed, None, None, "too few")
    # A class that one side lacks would make the index infinite: half a message more for every class.
    p, q = ([counts.get(c, 0) + 0.5 for c in classes] for counts in (expected, observed))
    index, chance = population_stability(p, q), chance_level(n, m, max(len(classes), 2))
    verdict: Verdict = "stable"
    if index >= WATCH and index > chance:
        verdict = "drift" if index >= DRIFT else "watch"
    return Drift(measure, language, expected, observed, index, chance, verdict)


def by_week(counts: Iterable[Count]) -> dict[date, list[Count]]:
    """Counts by the Monday (UTC) of their week, in the order of time."""
    weeks: dict[date, list[Count]] = {}
    for count in counts:
        day = datetime.fromtimestamp(count.bucket, UTC).date()
        weeks.setdefault(day - timedelta(days=day.weekday()), []).append(count)
    return dict(sorted(weeks.items()))
