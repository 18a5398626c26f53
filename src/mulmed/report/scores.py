"""Evaluation's scores.json, indexed, with nothing missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mulmed.corpus.record import TASKS
from mulmed.evaluation.metric import Metric
from mulmed.report.files import broken, read_json

#: The measures of the paper's Figure 3, in its order.
HEADLINE = ("f1", "rouge1", "rouge2", "rougeL", "distinct1", "distinct2")
Verdict = Literal["higher", "lower", "undecided"]


@dataclass(frozen=True, slots=True)
class Score:
    """One model's value of a metric with its confidence interval over ``n`` questions."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Difference:
    """Model minus baseline on the same questions, with interval and Holm-adjusted p value."""

    value: float
    low: float
    high: float
    p: float


@dataclass(frozen=True, slots=True)
class Scores:
    """All scores of a run.

    Attributes:
        models: in the recipe's order.
        groups: (language, task) pairs in order; every language has the task ``all``.
        metrics: by key, in evaluation's order.
        confidence: of every interval, for example 0.95.
        resamples: bootstrap resamples behind every interval.
        failed: questions without an answer, by model.
        absent: questions to which the data set that carries a model's answers has none, by model.
        leaked: answers with special tokens or template marks in them, by model.
        scores: by (model, language, task, metric).
        differences: by (model, baseline, language, task, metric).
        slices: by (model, language, by, slice, metric), in evaluation's order; ``by`` is ``source`` or ``reference length``.
        references: mean over the reference answers, by (language, task, metric).
    """

    path: Path
    models: tuple[str, ...]
    groups: tuple[tuple[str, str], ...]
    metrics: Mapping[str, Metric]
    confidence: float
    resamples: int
    failed: Mapping[str, int]
    absent: Mapping[str, int]
    leaked: Mapping[str, int]
    scores: Mapping[tuple[str, str, str, str], Score]
    differences: Mapping[tuple[str, str, str, str, str], Difference]
    slices: Mapping[tuple[str, str, str, str, str], Score]
    references: Mapping[tuple[str, str, str], float]

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(language for language, task in self.groups if task == "all")

    @property
    def interval(self) -> str:
        """``95% interval``."""
        return f"{100 * self.confidence:g}% interval"

    def verdict(self, difference: Difference) -> Verdict:
        """A direction only when both the interval leaves out zero and the adjusted p is small enough."""
        if difference.low <= 0 <= difference.high or difference.p > 1 - self.confidence:
            return "undecided"
        return "higher" if difference.low > 0 else "lower"

    def metrics_of(self, language: str, task: str) -> tuple[str, ...]:
        """Metrics scored in a group (Chinese has word-level ROUGE, English has not)."""
        return tuple(m for m in self.metrics if any(k[1:] == (language, task, m) for k in self.scores))

    def score(self, model: str, language: str, task: str, metric: str) -> Score:
        """One score that must be there.

        Raises:
            MulmedError: evaluation did not write it.
        """
        try:
            return self.scores[model, language, task, metric]
        except KeyError:
            raise broken(
                self.path, f"The scores lack {metric} of {model} for language {language}, task {task}."
            ) from None

    def difference(self, model: str, baseline: str, language: str, metric: str) -> Difference:
        """Model minus baseline over all tasks of a language.

        Raises:
            MulmedError: evaluation did not write it.
        """
        try:
            return self.differences[model, baseline, language, "all", metric]
        except KeyError:
            raise broken(
                self.path,
                f"The scores lack the difference in {metric} between {model} and {baseline}"
                f" for language {language}.",
            ) from None


def read_scores(path: Path, models: Sequence[str]) -> Scores:
    """Evaluation's ``scores.json`` for the given models.

    Raises:
        MulmedError: the file is broken, or a model that was asked everything lacks a headline metric in a language
            that another model has.
    """
    document = read_json(path)
    try:
        rows = [row for row in document["rows"] if row["model"] in models]
        found = {(row["language"], row["task"]) for row in rows}
        found |= {(language, "all") for language, _ in found}
        order: dict[str, int] = {task: i for i, task in enumerate(("all", *TASKS))}
        scores = Scores(
            path=path,
            models=tuple(models),
            groups=tuple(sorted(found, key=lambda g: (g[0], order.get(g[1], len(order)), g[1]))),
            metrics={key: Metric(**metric) for key, metric in document["metrics"].items()},
            confidence=float(document["confidence"]),
            resamples=int(document["resamples"]),
            failed={model: int(document["failed"].get(model, 0)) for model in models},
            absent={model: int(document["absent"].get(model, 0)) for model in models},
            leaked={model: int(document["leaked_special_tokens"].get(model, 0)) for model in models},
            scores={_key(row, "model"): _score(row) for row in rows},
            differences={
                (row["model"], *_key(row, "baseline")): Difference(
                    *_floats(row, "difference"), p=float(row["p_holm"])
                )
                for row in document["differences"]
                if {row["model"], row["baseline"]} <= set(models)
            },
            slices={
                (row["model"], row["language"], row["by"], row["slice"], row["metric"]): _score(row)
                for row in document["slices"]
                if row["model"] in models
            },
            references={
                (row["language"], row["task"], row["metric"]): float(row["value"])
                for row in document["references"]
            },
        )
    except (KeyError, TypeError, ValueError) as error:
        raise broken(path, f"The scores are not in the expected form: {error!r}.") from error
    if not scores.groups:
        raise broken(path, "The scores hold no row of any model of the recipe.")
    for metric in HEADLINE:
        if metric not in scores.metrics:
            raise broken(path, f"The scores do not define {metric}.")
        for model in models:
            for language in scores.languages:
                if not scores.absent[model]:
                    scores.score(model, language, "all", metric)
    return scores


def _key(row: Mapping[str, Any], who: str) -> tuple[str, str, str, str]:
    return str(row[who]), str(row["language"]), str(row["task"]), str(row["metric"])


def _score(row: Mapping[str, Any]) -> Score:
    return Score(*_floats(row, "value"), n=int(row["n"]))


def _floats(row: Mapping[str, Any], value: str) -> tuple[float, float, float]:
    return float(row[value]), float(row["low"]), float(row["high"])
