"""The tables of scores: the main table, the differences, and every measure of every task."""

from __future__ import annotations

from mulmed.evaluation import readability
from mulmed.report import names
from mulmed.report.scores import HEADLINE, Difference, Score, Scores
from mulmed.report.tables import NOT_APPLICABLE, Cell, Group, Table, to_cell


def _range(low: str, high: str) -> str:
    return f"{low} to {high}"


def _digits(metric: str) -> int:
    """Lengths are words or characters and readability school grades; all else lies in 0..1."""
    return 1 if metric == "length" or metric in readability.METRICS else 3


def _score(score: Score, metric: str) -> Cell:
    digits = _digits(metric)
    low, high = names.decimal(score.low, digits), names.decimal(score.high, digits)
    return Cell(names.decimal(score.value, digits), (_range(low, high),), score.value)


def main_table(scores: Scores) -> Table:
    """Models by language and headline metric, each value with its interval."""
    return Table(
        f"Scores over all tasks, with the {scores.interval} below each value. Higher is better in every"
        " column.",
        ("Model", "Questions", *(scores.metrics[m].name for m in HEADLINE)),
        tuple(
            Group(
                names.language(language),
                tuple(
                    (
                        Cell(model),
                        to_cell(scores.score(model, language, "all", "f1").n),
                        *(
                            _score(found, m)
                            if (found := scores.scores.get((model, language, "all", m)))
                            else Cell(NOT_APPLICABLE)
                            for m in HEADLINE
                        ),
                    )
                    for model in scores.models
                    if (model, language, "all", "f1") in scores.scores
                ),
            )
            for language in scores.languages
        ),
    )


def difference_table(scores: Scores) -> Table:
    """Every pair of models that evaluation compared, on the headline metrics, all tasks.

    Raises:
        MulmedError: a pair is compared on some of the headline metrics but not on all.
    """

    def cell(difference: Difference) -> Cell:
        interval = _range(names.signed(difference.low), names.signed(difference.high))
        shows = f"{scores.verdict(difference)}, p {names.p_value(difference.p)}"
        return Cell(names.signed(difference.value), (interval, shows), difference.value)

    pairs = dict.fromkeys((key[2], key[0], key[1]) for key in scores.differences)
    return Table(
        f"Differences over all tasks; below each, the {scores.interval}, what it shows, and p.",
        ("Models", *(scores.metrics[m].name for m in HEADLINE)),
        tuple(
            Group(
                names.language(language),
                tuple(
                    (
                        Cell(f"{model} minus {baseline}"),
                        *(cell(scores.difference(model, baseline, language, m)) for m in HEADLINE),
                    )
                    for where, model, baseline in pairs
                    if where == language
                ),
            )
            for language in scores.languages
            if pairs
        ),
    )


def all_scores_table(scores: Scores) -> Table:
    """Every metric of every language and task: rows are metrics, columns models, and the reference answers where it applies.

    A model that failed every question of a task has no score there, and the table says so.
    """

    def row(language: str, task: str, metric: str) -> tuple[Cell, ...]:
        found = [scores.scores.get((model, language, task, metric)) for model in scores.models]
        sizes = sorted({score.n for score in found if score})
        return (
            Cell(scores.metrics[metric].name),
            Cell(" to ".join(dict.fromkeys((names.count(sizes[0]), names.count(sizes[-1]))))),
            *(_score(score, metric) if score else Cell("not answered") for score in found),
            reference(language, task, metric),
        )

    def reference(language: str, task: str, metric: str) -> Cell:
        value = scores.references.get((language, task, metric))
        return (
            Cell(NOT_APPLICABLE) if value is None else Cell(names.decimal(value, _digits(metric)), (), value)
        )

    return Table(
        f"All measures, by language and task, with the {scores.interval} below each value.",
        ("Measure", "Questions", *scores.models, "Reference"),
        tuple(
            Group(
                f"{names.language(language)}, {names.task(task)}",
                tuple(row(language, task, metric) for metric in scores.metrics_of(language, task)),
            )
            for language, task in scores.groups
        ),
    )


def slices_table(scores: Scores) -> Table | None:
    """F1 and ROUGE by source and by the reference's length; ``None`` where there is nothing to part."""
    present = {metric for *_, metric in scores.slices}
    shown = [m for m in ("f1", "rouge1", "rouge2", "rougeL", "length") if m in present]
    groups = dict.fromkeys((language, by, part) for _, language, by, part, _ in scores.slices)
    if not groups:
        return None

    def row(model: str, language: str, by: str, part: str) -> tuple[Cell, ...]:
        found = [scores.slices.get((model, language, by, part, metric)) for metric in shown]
        size = next((to_cell(score.n) for score in found if score), Cell("0"))
        cells = (_score(s, m) if s else Cell("not answered") for s, m in zip(found, shown, strict=True))
        return (Cell(model), size, *cells)

    return Table(
        f"Scores by source, and by thirds of the reference answers' length, with the {scores.interval} below each value.",
        ("Model", "Questions", *(scores.metrics[m].name for m in shown)),
        tuple(
            Group(
                f"{names.language(language)}, {by}: {part}",
                tuple(row(model, language, by, part) for model in scores.models),
            )
            for language, by, part in groups
        ),
    )
