"""Scored answers to means, intervals and differences, by language, task and metric.

Languages are never pooled: characters and words make incomparable numbers. ``all`` pools a language's tasks,
each question counting once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mulmed import recipe
from mulmed.corpus.record import TASKS
from mulmed.errors import MulmedError
from mulmed.evaluation import diversity
from mulmed.evaluation.comparison import Comparison, Question
from mulmed.evaluation.measure import METRICS
from mulmed.evaluation.significance import Floats, bootstrap_means, holm, interval, randomisation_p


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer's tokens and its value of every per-question metric."""

    tokens: Sequence[str]
    values: Mapping[str, float]


#: By (model, question id); failed answers have no entry.
Scores = Mapping[tuple[str, str], Scored]


@dataclass(frozen=True, slots=True)
class _Group:
    """The questions of one language and one task (or all), and how to draw from them."""

    language: str
    task: str
    questions: Sequence[Question]
    settings: recipe.Evaluation
    seed: int

    def rng(self) -> np.random.Generator:
        """A fresh generator, the same for every model and group: equal answers have equal intervals."""
        return np.random.default_rng(self.seed % 2**32)

    @property
    def key(self) -> dict[str, str]:
        return {"language": self.language, "task": self.task}


def summarize(
    comparison: Comparison, scores: Scores, settings: recipe.Evaluation, seed: int, baseline: str | None
) -> dict[str, Any]:
    """The content of ``scores.json``; see :func:`mulmed.evaluation.score.score_answers`."""
    models = comparison.models
    if baseline is None:
        baseline = "base" if "base" in models else models[0]
    if baseline not in models:
        raise MulmedError(
            f"The baseline {baseline!r} has no answers.",
            where="baseline",
            remedy=f"Name one of {', '.join(models)}.",
        )
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for group in _groups(comparison.questions, settings, seed):
        asked = [question.id for question in group.questions]
        common = [id for id in asked if all((model, id) in scores for model in models)]
        if not common and group.task == "all":
            raise MulmedError(
                "A language has no question that every model answered, so its models cannot be compared.",
                where=f"language {group.language}",
                remedy="See the errors in the answers.jsonl files and generate the failed answers again.",
            )
        outputs = {model: [scores[model, id].tokens for id in _shuffled(common, group)] for model in models}
        budget = diversity.token_budget(list(outputs.values()))
        groups.append(
            {**group.key, "questions": len(asked), "common": len(common), "distinct_budget": budget}
        )
        distinct = {
            (model, n): diversity.distinct(outputs[model], n, budget) for model in models for n in (1, 2)
        }
        for model in models:
            rows += _mean_rows(group, model, [scores[model, id] for id in asked if (model, id) in scores])
            rows += [_distinct_row(group, model, n, distinct[model, n], budget) for n in (1, 2) if common]
        for model in models:
            if model == baseline or not common:
                continue
            pairs = [(scores[model, id], scores[baseline, id]) for id in common]
            found = _mean_differences(group, pairs)
            found += [
                _distinct_difference(group, n, distinct[model, n], distinct[baseline, n], budget)
                for n in (1, 2)
            ]
            differences += [{"model": model, "baseline": baseline, **group.key, **d} for d in found]
    _adjust(differences)
    used = {row["metric"] for row in rows}
    return {
        "rows": rows,
        "differences": differences,
        "groups": groups,
        "metrics": {name: asdict(metric) for name, metric in METRICS.items() if name in used},
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "failed": dict(comparison.failed),
        "leaked_special_tokens": dict(comparison.leaked),
    }


def _groups(questions: Sequence[Question], settings: recipe.Evaluation, seed: int) -> list[_Group]:
    groups = []
    for language in sorted({question.language for question in questions}):
        own = [question for question in questions if question.language == language]
        present = {question.task for question in own}
        tasks = [*(t for t in TASKS if t in present), *sorted(present.difference(TASKS))]
        groups.append(_Group(language, "all", own, settings, seed))
        groups += [_Group(language, t, [q for q in own if q.task == t], settings, seed) for t in tasks]
    return groups


def _shuffled(ids: Sequence[str], group: _Group) -> list[str]:
    """The order in which answers are read for distinct-n, so that no source or task comes first."""
    return [ids[i] for i in group.rng().permutation(len(ids))]


def _mean_rows(group: _Group, model: str, scored: Sequence[Scored]) -> list[dict[str, Any]]:
    if not scored:
        return []
    names = list(scored[0].values)
    values = _matrix(scored, names)
    means = values.mean(axis=0)
    if len(scored) == 1:
        low, high = np.zeros(len(names)), _reach(names, 2 * means)
    else:
        samples = bootstrap_means(values, group.settings.resamples, group.rng())
        low, high = interval(samples, group.settings.confidence)
    return [
        _row(group, model, len(scored), name, *map(float, (means[i], low[i], high[i])))
        for i, name in enumerate(names)
    ]


def _mean_differences(group: _Group, pairs: Sequence[tuple[Scored, Scored]]) -> list[dict[str, Any]]:
    names = list(pairs[0][0].values)
    own, other = _matrix([a for a, _ in pairs], names), _matrix([b for _, b in pairs], names)
    differences = own - other
    if len(pairs) == 1:
        high = _reach(names, (own + other)[0])
        low = -high
    else:
        samples = bootstrap_means(differences, group.settings.resamples, group.rng())
        low, high = interval(samples, group.settings.confidence)
    p = randomisation_p(differences, group.settings.resamples, group.rng())
    means = differences.mean(axis=0)
    return [_difference(name, *map(float, (means[i], low[i], high[i], p[i]))) for i, name in enumerate(names)]


def _reach(names: Sequence[str], longest: Floats) -> Floats:
    """How far from zero a single question's value may lie: 1 for a share, ``longest`` for a length."""
    return np.where(np.array(names) == "length", longest, 1.0)


def _distinct_row(
    group: _Group, model: str, n: int, found: diversity.Distinct, budget: int
) -> dict[str, Any]:
    error = diversity.standard_error(found.influences, budget)
    low, high = diversity.normal_interval(found.value, error, group.settings.confidence)
    name = f"distinct{n}"
    return _row(group, model, len(found.influences), name, found.value, max(0.0, low), min(1.0, high))


def _distinct_difference(
    group: _Group, n: int, own: diversity.Distinct, other: diversity.Distinct, budget: int
) -> dict[str, Any]:
    value = own.value - other.value
    error = diversity.standard_error(own.influences - other.influences, budget)
    low, high = diversity.normal_interval(value, error, group.settings.confidence)
    p = diversity.normal_p(value, error)
    return _difference(f"distinct{n}", value, max(-1.0, low), min(1.0, high), p)


def _row(
    group: _Group, model: str, n: int, metric: str, value: float, low: float, high: float
) -> dict[str, Any]:
    spread = {"value": value, "low": low, "high": high, "n": n}
    return {"model": model, **group.key, "metric": metric, **spread}


def _difference(metric: str, value: float, low: float, high: float, p: float) -> dict[str, Any]:
    return {"metric": metric, "difference": value, "low": low, "high": high, "p": p}


def _adjust(differences: list[dict[str, Any]]) -> None:
    """Add ``p_holm``. One family is one language and metric: its models and tasks are tested side by side.

    Families across metrics would ask p-values for more digits than the resamples can give.
    """
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in differences:
        families.setdefault((row["language"], row["metric"]), []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p


def _matrix(scored: Sequence[Scored], names: Sequence[str]) -> Floats:
    return np.array([[s.values[name] for name in names] for s in scored], dtype=np.float64)
