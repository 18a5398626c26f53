"""The section on the blind review: what was done, scores, agreement, comparisons, what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mulmed.report import names
from mulmed.report.tables import NOT_APPLICABLE, Cell, Group, Table, plain_table
from mulmed.review.agreement import why_undefined

Results = Mapping[str, Any]
_COEFFICIENTS = {
    "alpha": "Krippendorff's alpha (ordinal)",
    "ac2": "Gwet's AC2 (quadratic)",
    "kappa": "Weighted kappa (quadratic, mean over pairs)",
    "raw": "Raw agreement",
}


def account(results: Results) -> list[str]:
    """How the study was done, in sentences."""
    study, rubric = results["study"], results["rubric"]
    people = results["annotators"]
    who = "all of them" if study["overlap"] == people else f"{study['overlap']} of them"
    unsafe = (
        "An answer with the lowest score on the first axis was not rated on the later ones, whose means are therefore"
        " conditional on passing it."
        if study["on_unsafe"] == "stop"
        else "Every answer was rated on all axes, unsafe ones too."
    )
    left_out = []
    if study["left_out_named"]:
        left_out.append(f"{study['left_out_named']} because an answer named a model")
    if study["left_out_incomplete"]:
        left_out.append(f"{study['left_out_incomplete']} because a model had not answered")
    sentences = [
        f"{people} annotators rated the answers of {len(results['models'])} models to {study['questions']} questions without"
        f" knowing whose they were; {who} rated each question. {unsafe}"
        + (f" Left out were questions: {names.joined(left_out)}." if left_out else ""),
        f"Rubric {rubric['name']}, version {rubric['version']}, SHA-256 {rubric['sha256']}.",
    ]
    if study["judge"] and study["show_judge"]:
        sentences.append(
            f"After finishing a rating the annotators saw what the judge model {study['judge']} had given, and could not"
            " change theirs any more; what they saw may have shaped how they rated the answers that followed."
        )
    again = [(r["twice"], r["same"]) for r in results["repeats"]]
    if twice := sum(t for t, _ in again):
        same = sum(s for _, s in again)
        sentences.append(
            f"Of {twice} scores that annotators gave unknowingly a second time, {same} ({names.percent(same / twice)}) were"
            " the same."
        )
    return sentences


def _titles(results: Results) -> dict[str, str]:
    return {axis["key"]: axis["title"]["en"] for axis in results["axes"]}


def _level(results: Results) -> str:
    return f"{100 * results['confidence']:g}% interval"


def _number(value: float | None, low: float | None, high: float | None, otherwise: str) -> Cell:
    if value is None:
        return Cell(otherwise)
    notes = () if low is None or high is None else (f"{names.decimal(low, 2)} to {names.decimal(high, 2)}",)
    return Cell(names.decimal(value, 2), notes, value)


def scores_table(results: Results) -> Table:
    """Means and shares of the scores, by language and axis."""
    values = max((axis["values"] for axis in results["axes"]), key=len)
    titles = _titles(results)

    def row(found: Mapping[str, Any]) -> tuple[Cell, ...]:
        shares = [*found["shares"], *[None] * (len(values) - len(found["shares"]))]
        return (
            Cell(found["model"]),
            Cell(names.count(found["questions"]), exact=found["questions"]),
            Cell(names.count(found["ratings"]), exact=found["ratings"]),
            Cell(NOT_APPLICABLE) if found["asked"] is None else Cell(names.percent(found["asked"])),
            _number(found["mean"], found["low"], found["high"], NOT_APPLICABLE),
            *(Cell(NOT_APPLICABLE) if s is None else Cell(names.percent(s), exact=s) for s in shares),
        )

    groups = []
    for language in _languages(results):
        for axis in results["axes"]:
            rows = [
                row(found)
                for found in results["scores"]
                if (found["axis"], found["language"]) == (axis["key"], language)
            ]
            groups.append(Group(f"{titles[axis['key']]}, {_language(language)}", tuple(rows)))
    return Table(
        f"Scores of the review: mean over questions with its {_level(results)} (questions resampled), and shares of the"
        " scores.",
        ("Model", "Questions", "Ratings", "Asked", "Mean", *(f"Score {v}" for v in values)),
        tuple(groups),
    )


def agreement_table(results: Results) -> Table:
    """How far the annotators agree on each axis."""
    titles = _titles(results)

    def row(found: Mapping[str, Any]) -> tuple[Cell, ...]:
        why = why_undefined(found["rated_twice"], found["distinct"])
        cells = [_number(found[c]["value"], found[c]["low"], found[c]["high"], why) for c in _COEFFICIENTS]
        return Cell(titles[found["axis"]]), Cell(names.count(found["rated_twice"])), *cells

    return Table(
        f"Agreement of the annotators over all models' answers, with {_level(results)}s (questions resampled).",
        ("Axis", "Answers rated twice or more", *_COEFFICIENTS.values()),
        tuple(
            Group(
                _language(language), tuple(row(a) for a in results["agreement"] if a["language"] == language)
            )
            for language in _languages(results)
        ),
    )


def judge_table(results: Results) -> Table | None:
    """The judge model beside the people, ``None`` without one."""
    titles = _titles(results)
    people = {(a["axis"], a["language"]): a["kappa"] for a in results["agreement"]}

    def row(found: Mapping[str, Any]) -> tuple[Cell, ...]:
        among = people[found["axis"], found["language"]]
        cells = (_number(k["value"], k["low"], k["high"], "undefined") for k in (found, among))
        return Cell(titles[found["axis"]]), *cells

    groups = [
        Group(_language(language), tuple(row(j) for j in results["judge"] if j["language"] == language))
        for language in _languages(results)
    ]
    if not results["judge"]:
        return None
    return Table(
        f"A judge model ({results['study']['judge']}) rated {results['judged']['rated']} of the same"
        f" {results['judged']['asked']} answers, {_seen(results)} and not counted among them: weighted kappa (quadratic,"
        f" mean over pairs) with {_level(results)}s.",
        ("Axis", "Judge with each person", "People among themselves"),
        tuple(groups),
    )


def _seen(results: Results) -> str:
    return (
        "seen by the annotators only after their own rating"
        if results["study"]["show_judge"]
        else "unseen by the annotators"
    )


def remarks_table(results: Results) -> Table:
    """How often annotators said why; what they said stays in the study."""
    titles = _titles(results)
    groups = [
        Group(
            titles[key],
            tuple(
                (
                    Cell(found["model"]),
                    *(Cell(names.count(found[k]), exact=found[k]) for k in ("low", "marked", "comments")),
                )
                for found in results["remarks"]
                if found["axis"] == key
            ),
        )
        for key in titles
    ]
    return Table(
        "Ratings below the best score, those of them with words marked that justify it, and ratings with a comment. Comments"
        " and marked words themselves may quote patients and are only in the study's export.",
        ("Model", "Below the best", "With marked words", "With a comment"),
        tuple(groups),
    )


def comparisons_table(results: Results) -> Table:
    """Every two models on each axis."""
    titles = _titles(results)
    groups = []
    for found in results["comparisons"]:
        overall = "no difference anywhere" if found["p"] is None else f"p {names.p_value(found['p'])}"
        rows = tuple(
            (
                Cell(f"{p['first']}, {p['second']}"),
                Cell(names.count(p["questions"]), exact=p["questions"]),
                Cell(NOT_APPLICABLE)
                if p["difference"] is None
                else Cell(names.signed(p["difference"], 2), exact=p["difference"]),
                Cell("no difference" if p["p"] is None else names.p_value(p["p"]), exact=p["p"]),
                Cell(
                    "no difference" if p["p_holm"] is None else names.p_value(p["p_holm"]), exact=p["p_holm"]
                ),
            )
            for p in found["pairs"]
        )
        groups.append(Group(f"{titles[found['axis']]} (Friedman over all models: {overall})", rows))
    return Table(
        "Models compared on the same questions: difference of the means, two-sided Wilcoxon signed-rank test with Pratt's"
        " zeros, Holm's correction over the pairs of an axis.",
        ("Models", "Questions", "Difference", "p", "p, corrected"),
        tuple(groups),
    )


def leave_one_out_table(results: Results) -> Table:
    """Means and alpha without each annotator in turn."""
    titles = _titles(results)

    def row(found: Mapping[str, Any]) -> tuple[Cell, ...]:
        means = (_number(found["means"][m], None, None, NOT_APPLICABLE) for m in results["models"])
        return Cell(f"without {found['annotator']}"), *means, _number(found["alpha"], None, None, "undefined")

    return Table(
        "The result without each annotator in turn: means, and Krippendorff's alpha.",
        ("Annotator", *results["models"], "Alpha"),
        tuple(
            Group(titles[key], tuple(row(r) for r in results["leave_one_out"] if r["axis"] == key))
            for key in titles
        ),
    )


def missing_table(results: Results) -> Table:
    """What each annotator rated, skipped and left."""
    reasons = results["missing"]["reasons"]
    why = "; ".join(f"{key.replace('_', ' ')}: {count}" for key, count in reasons.items())
    return plain_table(
        "Ratings asked for and given, hidden repeats included."
        + (f" Reasons for skipping: {why}." if why else ""),
        ("Annotator", "Asked for", "Rated", "Skipped", "Not rated"),
        [
            (p["name"], p["total"], p["done"], p["skipped"], p["open"])
            for p in results["missing"]["annotators"]
        ],
    )


def _languages(results: Results) -> Sequence[str]:
    several: list[str] = results["languages"]
    return several if len(several) > 2 else several[:1]


def _language(code: str) -> str:
    return "all languages" if code == "all" else names.language(code)
