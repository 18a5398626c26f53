"""Scored answers to means, intervals and differences, by language, task and metric.

Languages are never pooled: characters and words make incomparable numbers. ``all`` pools a language's tasks,
each question counting once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np

from mulmed import recipe
from mulmed.corpus.record import TASKS
from mulmed.errors import MulmedError
from mulmed.evaluation import diversity, readability
from mulmed.evaluation.comparison import Comparison, Question
from mulmed.evaluation.measure import METRICS
from mulmed.evaluation.significance import Floats, bootstrap_means, holm, interval, randomisation_p


@dataclass(frozen=True, slots=True)
class Scored:
    """One answer's tokens and its value of every per-question metric."""

    tokens: Sequence[str]
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scores:
    """What was measured of every question.

    Attributes:
        answers: by (model, question id); failed answers have no entry.
        references: of the reference answers, what needs no second text; by question id.
    """

    answers: Mapping[tuple[str, str], Scored]
    references: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True, slots=True)
class _Group:
    """Questions that are summed up together, what they have in common, and how to draw from them."""

    key: Mapping[str, str]
    questions: Sequence[Question]
    settings: recipe.Evaluation
    seed: int

    def rng(self) -> np.random.Generator:
        """A fresh generator, the same for every model and group: equal answers have equal intervals."""
        return np.random.default_rng(self.seed % 2**32)


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
    pairs = _pairs(models, baseline)
    rows: list[dict[str, Any]] = []
    differences: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for group in _groups(comparison.questions, settings, seed):
        asked = [question.id for question in group.questions]
        present, whole = comparison.models_of(asked)
        common = [id for id in asked if all((model, id) in scores.answers for model in whole)]
        if not common and group.key["task"] == "all":
            raise MulmedError(
                "A language has no question that every model answered, so its models cannot be compared.",
                where=f"language {group.key['language']}",
                remedy="See the errors in the answers.jsonl files and generate the failed answers again.",
            )
        outputs = _outputs(group, whole, common, scores)
        groups.append(
            {
                **group.key,
                "questions": len(asked),
                "common": len(common),
                "distinct_budget": outputs.budget,
            }
        )
        for model in present:
            rows += _mean_rows(group, model, scores)
            if common and model in whole:
                rows += outputs.rows(model)
        for model, other in pairs:
            if not {model, other} <= set(present):
                continue
            both, ids = outputs, common
            if not {model, other} <= set(whole):
                ids = [id for id in asked if {(model, id), (other, id)} <= scores.answers.keys()]
                both = _outputs(group, (model, other), ids, scores)
            if ids:
                found = _mean_differences(
                    group,
                    [(scores.answers[model, id].values, scores.answers[other, id].values) for id in ids],
                )
                found += both.differences(model, other)
                differences += [{"model": model, "baseline": other, **group.key, **d} for d in found]
    _adjust(differences)
    slices = _slices(comparison.questions, scores, settings, seed)
    used = {row["metric"] for row in rows}
    return {
        "rows": rows,
        "differences": differences,
        "slices": [row for group in slices for model in models for row in _mean_rows(group, model, scores)],
        "references": _reference_rows(_groups(comparison.questions, settings, seed), scores),
        "groups": groups,
        "metrics": {name: asdict(metric) for name, metric in METRICS.items() if name in used},
        "confidence": settings.confidence,
        "resamples": settings.resamples,
        "failed": dict(comparison.failed),
        "absent": {m: sum(model == m for model, _ in comparison.absent) for m in models},
        "leaked_special_tokens": dict(comparison.leaked),
    }


def _pairs(models: Sequence[str], baseline: str) -> list[tuple[str, str]]:
    """Every two models once: first each against the baseline, then the later of two against the earlier."""
    others = [model for model in models if model != baseline]
    return [(model, baseline) for model in others] + [(b, a) for a, b in combinations(others, 2)]


def _groups(questions: Sequence[Question], settings: recipe.Evaluation, seed: int) -> list[_Group]:
    groups = []
    for language in sorted({question.language for question in questions}):
        own = [question for question in questions if question.language == language]
        present = {question.task for question in own}
        tasks = [*(t for t in TASKS if t in present), *sorted(present.difference(TASKS))]
        for task in ("all", *tasks):
            chosen = [question for question in own if task in ("all", question.task)]
            groups.append(_Group({"language": language, "task": task}, chosen, settings, seed))
    return groups


def _slices(
    questions: Sequence[Question], scores: Scores, settings: recipe.Evaluation, seed: int
) -> list[_Group]:
    """The questions of each language by source, and by thirds of the reference's length; single slices are left out."""
    groups = []
    for language in sorted({question.language for question in questions}):
        own = [question for question in questions if question.language == language]
        lengths = {question.id: scores.references[question.id]["length"] for question in own}
        short, long = np.quantile(list(lengths.values()), [1 / 3, 2 / 3])

        def third(question: Question, lengths: Mapping[str, float] = lengths) -> str:
            length = lengths[question.id]
            return "short" if length <= short else "middle" if length <= long else "long"  # noqa: B023

        for by, slice_of, order in (
            ("source", lambda question: question.source, sorted({q.source for q in own})),
            ("reference length", third, ["short", "middle", "long"]),
        ):
            parts = [(name, [q for q in own if slice_of(q) == name]) for name in order]
            parts = [(name, chosen) for name, chosen in parts if chosen]
            if len(parts) > 1:
                groups += [
                    _Group({"language": language, "by": by, "slice": name}, chosen, settings, seed)
                    for name, chosen in parts
                ]
    return groups


def _reference_rows(groups: Sequence[_Group], scores: Scores) -> list[dict[str, Any]]:
    return [
        {**group.key, "metric": name, "value": float(np.mean(values)), "n": len(values)}
        for group in groups
        for name in METRICS
        if (values := _values([scores.references[q.id] for q in group.questions], name, group))
    ]


@dataclass(frozen=True, slots=True)
class _Outputs:
    """Distinct-n of models that answered the same questions, each output cut to the tersest one's tokens."""

    group: _Group
    budget: int
    distinct: Mapping[tuple[str, int], diversity.Distinct]

    def rows(self, model: str) -> list[dict[str, Any]]:
        return [_distinct_row(self.group, model, n, self.distinct[model, n], self.budget) for n in (1, 2)]

    def differences(self, model: str, other: str) -> list[dict[str, Any]]:
        return [
            _distinct_difference(self.group, n, self.distinct[model, n], self.distinct[other, n], self.budget)
            for n in (1, 2)
        ]


def _outputs(group: _Group, models: Sequence[str], ids: Sequence[str], scores: Scores) -> _Outputs:
    order = _shuffled(ids, group)
    said = {model: [scores.answers[model, id].tokens for id in order] for model in models}
    budget = diversity.token_budget(list(said.values()))
    distinct = {(m, n): diversity.distinct_within(said[m], n, budget) for m in models for n in (1, 2)}
    return _Outputs(group, budget, distinct)


def _shuffled(ids: Sequence[str], group: _Group) -> list[str]:
    """The order in which answers are read for distinct-n, so that no source or task comes first."""
    return [ids[i] for i in group.rng().permutation(len(ids))]


def _values(measured: Sequence[Mapping[str, float]], name: str, group: _Group) -> list[float]:
    """A metric's values where it could be measured. Grades of readability are means of lay summaries alone."""
    if name in readability.METRICS and group.key.get("task") != "summary":
        return []
    return [values[name] for values in measured if name in values]


def _mean_rows(group: _Group, model: str, scores: Scores) -> list[dict[str, Any]]:
    found = [scores.answers[model, q.id].values for q in group.questions if (model, q.id) in scores.answers]
    rows = []
    for names, values in _columns(group, found):
        means = values.mean(axis=0)
        if len(values) == 1:
            low, high = np.minimum(0, _reach(names, 2 * means)), np.maximum(0, _reach(names, 2 * means))
        else:
            samples = bootstrap_means(values, group.settings.resamples, group.rng())
            low, high = interval(samples, group.settings.confidence)
        rows += [
            _row(group, model, len(values), name, *map(float, (means[i], low[i], high[i])))
            for i, name in enumerate(names)
        ]
    return rows


def _mean_differences(
    group: _Group, pairs: Sequence[tuple[Mapping[str, float], Mapping[str, float]]]
) -> list[dict[str, Any]]:
    rows = []
    differences = [{name: a[name] - b[name] for name in a if name in b} for a, b in pairs]
    for names, values in _columns(group, differences):
        if len(values) == 1:
            ((own, other),) = [pair for pair, d in zip(pairs, differences, strict=True) if names[0] in d]
            high = _reach(names, np.array([abs(own[name]) + abs(other[name]) for name in names]))
            low = -high
        else:
            samples = bootstrap_means(values, group.settings.resamples, group.rng())
            low, high = interval(samples, group.settings.confidence)
        p = randomisation_p(values, group.settings.resamples, group.rng())
        means = values.mean(axis=0)
        rows += [
            _difference(name, *map(float, (means[i], low[i], high[i], p[i]))) for i, name in enumerate(names)
        ]
    return rows


def _columns(group: _Group, measured: Sequence[Mapping[str, float]]) -> Iterator[tuple[list[str], Floats]]:
    """Metrics' names and (questions, metrics) values: those that every answer has, then the others one by one."""
    columns = {name: values for name in METRICS if (values := _values(measured, name, group))}
    whole = [name for name, values in columns.items() if len(values) == len(measured)]
    if whole:
        yield whole, np.array([columns[name] for name in whole], dtype=np.float64).T
    for name, values in columns.items():
        if name not in whole:
            yield [name], np.array(values, dtype=np.float64)[:, None]


def _reach(names: Sequence[str], longest: Floats) -> Floats:
    """How far from zero a single question's value may lie: 1 for a share, ``longest`` for lengths and grades."""
    return np.where(np.isin(names, ["length", *readability.METRICS]), longest, 1.0)


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
    """Add ``p_holm``. One family is one language and metric: its pairs and tasks are tested side by side.

    Families across metrics would ask p-values for more digits than the resamples can give.
    """
    families: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in differences:
        families.setdefault((row["language"], row["metric"]), []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p
