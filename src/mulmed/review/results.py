"""From an unblinded study to numbers: scores with intervals, agreement, comparisons, what is missing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson

from mulmed.artifact import hash_json
from mulmed.errors import MulmedError
from mulmed.evaluation.significance import blocks, interval
from mulmed.review.coefficients import Coefficient, ac2, alpha, bootstrap_interval, kappa, raw
from mulmed.review.database import Store
from mulmed.review.monitor import progress
from mulmed.review.ranking import friedman, paired_wilcoxon
from mulmed.review.ratings import Row, apart, matrix, read_rows, repeats
from mulmed.review.rubric import Axis
from mulmed.review.study import read_study, unsealed

Floats = npt.NDArray[np.float64]
FORMAT = 2
COEFFICIENTS = ("alpha", "ac2", "kappa", "raw")


def results(store: Store, resamples: int = 2000, confidence: float = 0.95) -> dict[str, Any]:
    """Everything the report shows of a study, as JSON; numbers that are undefined are None. The same ratings give the same.

    Keys: ``format``, ``study`` (settings, rubric, when), ``axes``, ``models``, ``languages`` (``all`` first), ``scores`` (a row
    a model, axis and language), ``agreement`` (an axis and language), ``comparisons`` (an axis), ``leave_one_out`` (an
    annotator and axis), ``judge`` (an axis and language, empty without one), ``judged`` (how many answers the judge rated),
    ``remarks`` (a model and axis: numbers of comments and marked words, never the words themselves), ``repeats``, ``missing``, ``confidence``, ``resamples``, ``ratings_sha256``.

    Raises:
        MulmedError: the study is not unblinded.
    """
    key = unsealed(store)
    study = read_study(store)
    people, judged = apart(read_rows(store), study.settings["judge"])
    rows = _without_names(people)
    models = sorted(set(key.values()))
    languages = ["all", *sorted({row.language for row in rows})]
    rng = np.random.default_rng(int(study.settings["seed"]))
    scores, agreements, comparisons, without, judge, remarks = [], [], [], [], [], []
    for axis in study.rubric.axes:
        for language in languages:
            part = [row for row in rows if language in ("all", row.language)]
            for model in models:
                mine = [row for row in part if key[row.item] == model]
                scores.append(
                    {"model": model, "axis": axis.key, "language": language}
                    | _scores(mine, axis, resamples, confidence, rng)
                )
                if language == "all":
                    remarks.append({"model": model, "axis": axis.key} | _remarks(mine, axis))
            agreements.append(
                {"axis": axis.key, "language": language} | _agreement(part, axis, resamples, confidence, rng)
            )
            if judged:
                judge.append(
                    {"axis": axis.key, "language": language}
                    | _judge(part, judged, axis, resamples, confidence, rng)
                )
        values = _by_question(rows, axis.key, key, models)
        overall = friedman(values)
        comparisons.append(
            {
                "axis": axis.key,
                "questions": overall.questions,
                "friedman": _none(overall.statistic),
                "p": _none(overall.p),
                "pairs": [
                    {
                        "first": p.first,
                        "second": p.second,
                        "questions": p.questions,
                        "difference": _none(p.difference),
                        "p": _none(p.p),
                        "p_holm": _none(p.p_holm),
                    }
                    for p in paired_wilcoxon(values, models)
                ],
            }
        )
        without += _leave_one_out(rows, axis, key, models)
    finished = [[r.assignment, r.annotator, r.status, r.rating] for r in [*rows, *judged]]
    return {
        "format": FORMAT,
        "study": {**study.settings, "created_at": study.created_at, "on_unsafe": study.on_unsafe},
        "rubric": {
            "name": study.rubric.name,
            "version": study.rubric.version,
            "sha256": study.rubric.sha256,
        },
        "annotators": len({row.annotator for row in rows}),
        "axes": [
            {"key": a.key, "title": a.title, "values": list(a.values), "gate": a.gate}
            for a in study.rubric.axes
        ],
        "models": models,
        "languages": languages,
        "scores": scores,
        "agreement": agreements,
        "comparisons": comparisons,
        "leave_one_out": without,
        "judge": judge,
        "judged": {"asked": len(judged), "rated": sum(row.status == "done" for row in judged)},
        "remarks": remarks,
        "repeats": [_repeats(rows, axis) for axis in study.rubric.axes],
        "missing": _missing(rows),
        "confidence": confidence,
        "resamples": resamples,
        "ratings_sha256": hash_json(sorted(finished, key=lambda r: r[0])),
    }


def read_results(path: Path, key: str) -> dict[str, Any]:
    """What :func:`results` returned, from the ``results.json`` of ``mulmed review results``; ``key`` of the recipe names it.

    Raises:
        MulmedError: it is missing, or of another form.
    """
    try:
        found = orjson.loads(path.read_bytes())
    except OSError as error:
        raise MulmedError(
            f"The results of the review cannot be read: {error.strerror}.",
            where=f"{key}: {path}",
            remedy="Write them with `mulmed review results`.",
        ) from error
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise MulmedError(
            "These are no results of a review, or of another version of MulMed.",
            where=f"{key}: {path}",
            remedy="Write them again with `mulmed review results`.",
        )
    return found


def reviewed_as(found: Mapping[str, Any], content: str) -> str | None:
    """Under which name a study reviewed these very weights (``model_content`` of the answers), None where it did not.

    A model's name says nothing: the next training has the same one.
    """
    return next((name for name, reviewed in found["study"]["contents"].items() if reviewed == content), None)


def _without_names(rows: Sequence[Row]) -> list[Row]:
    """Annotators by number: results are published, names are not."""
    numbers = {
        name: f"annotator {n}" for n, name in enumerate(dict.fromkeys(row.annotator for row in rows), 1)
    }
    return [replace(row, annotator=numbers[row.annotator]) for row in rows]


def _scores(
    rows: Sequence[Row], axis: Axis, resamples: int, confidence: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Mean over questions of the mean over annotators, its interval by question, and the shares of the scores.

    ``asked`` is the share of finished ratings that were asked for this axis: below 1 where unsafe answers end a rating, and
    the mean is then conditional on the answer being safe enough.
    """
    questions: dict[str, list[int]] = {}
    given = Counter[int]()
    finished = 0
    for row in rows:
        if row.kind != "rating" or row.status != "done":
            continue
        finished += 1
        if axis.key in row.scores:
            questions.setdefault(row.question, []).append(row.scores[axis.key])
            given[row.scores[axis.key]] += 1
    ratings = sum(given.values())
    means = np.array([np.mean(s) for s in questions.values()])
    low = high = float("nan")
    if len(means):
        draws = [
            means[rng.integers(len(means), size=(size, len(means)))].mean(axis=1)
            for size in blocks(resamples, len(means))
        ]
        lows, highs = interval(np.concatenate(draws)[:, None], confidence)
        low, high = float(lows[0]), float(highs[0])
    return {
        "questions": len(means),
        "ratings": ratings,
        "asked": ratings / finished if finished else None,
        "mean": float(means.mean()) if len(means) else None,
        "low": _none(low),
        "high": _none(high),
        "shares": [given[v] / ratings if ratings else None for v in axis.values],
    }


def _agreement(
    rows: Sequence[Row], axis: Axis, resamples: int, confidence: float, rng: np.random.Generator
) -> dict[str, Any]:
    """Coefficients over all answers, drawn by question."""
    ratings, _, numbers = matrix(rows, axis.key)
    question = {row.item: row.question for row in rows}
    groups = [question[item] for item in numbers]
    found: dict[str, Any] = {
        "items": int((~np.isnan(ratings)).any(axis=0).sum()),
        "rated_twice": int(((~np.isnan(ratings)).sum(axis=0) >= 2).sum()),
        "distinct": len(np.unique(ratings[~np.isnan(ratings)])),
    }
    of: dict[str, Coefficient] = {
        "alpha": alpha(ratings, "ordinal"),
        "ac2": ac2(ratings, "quadratic", axis.values),
        "kappa": kappa(ratings, "quadratic", axis.values),
        "raw": raw(ratings),
    }
    for name in COEFFICIENTS:
        e = bootstrap_interval(of[name], resamples, confidence, rng, groups)
        found[name] = {
            "value": _none(e.value),
            "low": _none(e.low),
            "high": _none(e.high),
            "undefined_draws": e.undefined,
        }
    return found


def _judge(
    people: Sequence[Row],
    judged: Sequence[Row],
    axis: Axis,
    resamples: int,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Weighted kappa of the judge model with each person, as a mean: to be read beside that of the people among themselves."""
    answers = {row.item for row in people}
    both = [*(row for row in judged if row.item in answers), *people]
    ratings, who, numbers = matrix(both, axis.key)
    question = {row.item: row.question for row in both}
    pairs = [(0, i) for i in range(1, len(who))] if who and who[0] == judged[0].annotator else []
    e = bootstrap_interval(
        kappa(ratings, "quadratic", axis.values, pairs),
        resamples,
        confidence,
        rng,
        [question[item] for item in numbers],
    )
    return {
        "value": _none(e.value),
        "low": _none(e.low),
        "high": _none(e.high),
        "undefined_draws": e.undefined,
    }


def _by_question(rows: Sequence[Row], axis: str, key: Mapping[int, str], models: Sequence[str]) -> Floats:
    """(questions, models): means over annotators, NaN where there is none."""
    cells: dict[tuple[str, str], list[int]] = {}
    for row in rows:
        if row.kind == "rating" and axis in row.scores:
            cells.setdefault((row.question, key[row.item]), []).append(row.scores[axis])
    questions = sorted({row.question for row in rows})
    return np.array(
        [[np.mean(cells[q, m]) if (q, m) in cells else np.nan for m in models] for q in questions]
    )


def _leave_one_out(
    rows: Sequence[Row], axis: Axis, key: Mapping[int, str], models: Sequence[str]
) -> list[dict[str, Any]]:
    """Means and alpha without each annotator in turn: whether one person decides the result."""
    found = []
    for name in dict.fromkeys(row.annotator for row in rows):
        rest = [row for row in rows if row.annotator != name]
        if not rest:
            continue
        values = _by_question(rest, axis.key, key, models)
        means = {
            m: None if np.isnan(column).all() else float(np.nanmean(column))
            for m, column in zip(models, values.T, strict=True)
        }
        ratings, _, _ = matrix(rest, axis.key)
        found.append(
            {
                "annotator": name,
                "axis": axis.key,
                "means": means,
                "alpha": _none(alpha(ratings, "ordinal").value),
            }
        )
    return found


def _remarks(rows: Sequence[Row], axis: Axis) -> dict[str, Any]:
    """How many ratings below the best score have words marked that justify it, and how many have a comment.

    Comments and marked words may quote a patient: they are in the study's export, not in what is published.
    """
    finished = [row.rating for row in rows if row.status == "done" and row.rating]
    low = [r for r in finished if axis.key in r["scores"] and r["scores"][axis.key] < axis.values[-1]]
    marked = sum(any(mark["axis"] == axis.key for mark in r["marks"]) for r in low)
    return {"low": len(low), "marked": marked, "comments": sum(bool(r["comment"].strip()) for r in finished)}


def _repeats(rows: Sequence[Row], axis: Axis) -> dict[str, Any]:
    """How often annotators gave a hidden repeat the same score again."""
    twice = repeats(rows, axis.key)
    same = sum(first == second for _, first, second in twice)
    return {"axis": axis.key, "twice": len(twice), "same": same}


def _missing(rows: Sequence[Row]) -> dict[str, Any]:
    """Who left what out, and the reasons given."""
    reasons = Counter(r.rating["skip"] for r in rows if r.status == "skipped" and r.rating)
    return {
        "annotators": [
            {
                "name": p.name,
                "total": p.total,
                "done": p.done,
                "skipped": p.skipped,
                "open": p.total - p.done - p.skipped,
            }
            for p in progress(rows)
        ],
        "reasons": dict(sorted(reasons.items())),
    }


def _none(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
