"""``answers.jsonl`` to ``scores.json``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import orjson

from mulmed import recipe
from mulmed.evaluation.bertscore import bert_scores
from mulmed.evaluation.comparison import Comparison, compare, read_answers
from mulmed.evaluation.measure import cut, describe, measure
from mulmed.evaluation.summary import Scored, Scores, summarize


def score_answers(
    answers: Sequence[Mapping[str, Any]],
    settings: recipe.Evaluation,
    seed: int,
    baseline: str | None = None,
) -> dict[str, Any]:
    """The content of ``scores.json`` for the answers of one or more models.

    Args:
        answers: rows of ``answers.jsonl``, of all models together.
        settings: number of resamples and confidence of the intervals.
        seed: of all random draws; equal inputs give equal scores in whatever order the rows come.
        baseline: the model the others are compared with first; default ``base`` if there is one, else the first.

    Returns:
        ``rows``: value and interval of every model, language, task and metric, over the model's answers
        that did not fail (distinct-n: over the questions that no model failed).
        ``differences``: model minus baseline for every pair of models, over the questions that no model failed (where one
        of the two was not asked all of them, over those that both answered); ``p`` by
        approximate randomisation (distinct-n: jackknife), ``p_holm`` the same adjusted by Holm's method over all pairs
        and tasks of one language and metric.
        ``slices``: values as in ``rows``, by source and by the reference's length (its third among the language's).
        ``references``: means over the reference answers of what needs no second text (length, readability).
        A single question tells nothing of spread: its intervals are as wide as the metric allows.
        ``groups``: questions asked, questions that no model failed, token budget of distinct-n.
        ``failed``, ``absent``, ``leaked_special_tokens``: number of answers, by model. A model with absent answers was asked
        only a part of the questions: its means are over that part, and it has no distinct-n beside those who were
        asked the whole.
        ``metrics``: what each metric is.

    Raises:
        MulmedError: see :func:`mulmed.evaluation.comparison.compare`; or the baseline is none of the models;
            or a language has no question that every model answered.
    """
    comparison = compare(answers)
    return summarize(comparison, _score_all(comparison), settings, seed, baseline)


def _silent(doing: str, done: int, total: int) -> None:
    """No progress is shown."""


def write_scores(
    answers_files: Sequence[Path],
    out: Path,
    settings: recipe.Evaluation,
    seed: int,
    encoder: Path | None = None,
    progress: Callable[[str, int, int], None] = _silent,
) -> dict[str, Any]:
    """Score ``answers.jsonl`` files, as :func:`write_scores_of` does their rows."""
    return write_scores_of(read_answers(answers_files), out, settings, seed, encoder, progress)


def write_scores_of(
    answers: Sequence[Mapping[str, Any]],
    out: Path,
    settings: recipe.Evaluation,
    seed: int,
    encoder: Path | None = None,
    progress: Callable[[str, int, int], None] = _silent,
) -> dict[str, Any]:
    """Score answers into ``out/scores.json`` and ``out/scores_per_question.jsonl``.

    Numbers are rounded to 6 digits; equal answers give equal bytes, in whatever order their rows come as long
    as the models' order is the same. Neither file holds any text of a question or an answer.

    Args:
        encoder: the folder of the model that ``settings.bertscore`` names.
        progress: told what is done, how much of it, and how much there is.

    Returns:
        What ``scores.json`` holds; see :func:`score_answers`, also for the errors raised.
    """
    comparison = compare(answers)
    scores = _score_all(comparison, progress)
    if settings.bertscore and encoder:
        scores = _with_bertscore(comparison, scores, encoder, settings.bertscore.layer, progress)
    progress("comparing", 0, 1)
    summary: dict[str, Any] = _rounded(summarize(comparison, scores, settings, seed, None))
    out.mkdir(parents=True, exist_ok=True)
    with (out / "scores_per_question.jsonl").open("wb") as file:
        for question in comparison.questions:
            for model in comparison.models:
                if scored := scores.answers.get((model, question.id)):
                    key = {"id": question.id, "language": question.language, "task": question.task}
                    row = _rounded({**key, "model": model, **scored.values})
                    file.write(orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE))
    # Keys stay in the order they were made, which for ``metrics`` is the order of reports.
    (out / "scores.json").write_bytes(
        orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
    )
    return summary


def _with_bertscore(
    comparison: Comparison,
    scores: Scores,
    encoder: Path,
    layer: int | None,
    progress: Callable[[str, int, int], None],
) -> Scores:
    references = {question.id: question.reference for question in comparison.questions}
    pairs = [(comparison.answers[key], references[key[1]]) for key in scores.answers]
    found = bert_scores(pairs, encoder, layer, progress=partial(progress, "embedding for BERTScore"))
    answers = {
        key: replace(scored, values={**scored.values, **score.values()})
        for (key, scored), score in zip(scores.answers.items(), found, strict=True)
    }
    return replace(scores, answers=answers)


def _score_all(comparison: Comparison, progress: Callable[[str, int, int], None] = _silent) -> Scores:
    answers: dict[tuple[str, str], Scored] = {}
    references: dict[str, Mapping[str, float]] = {}
    for done, question in enumerate(comparison.questions):
        progress("scoring", done, len(comparison.questions))
        reference = cut(question.reference, question.language, question.task)
        references[question.id] = describe(reference)
        for model in comparison.models:
            answer = comparison.answers.get((model, question.id))
            if answer is not None:
                own = cut(answer, question.language, question.task)
                answers[model, question.id] = Scored(own.plain, measure(own, reference))
    return Scores(answers, references)


def _rounded(value: Any) -> Any:
    """``value`` with every float in it rounded to 6 digits, and no negative zeros."""
    if isinstance(value, float):
        return round(value, 6) + 0.0
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value
