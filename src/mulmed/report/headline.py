"""What the scores say, in sentences computed from them; a loss is stated as plainly as a gain."""

from __future__ import annotations

from dataclasses import dataclass

from mulmed.recipe import Recipe
from mulmed.report import names
from mulmed.report.files import broken
from mulmed.report.scores import HEADLINE, Scores, Verdict


@dataclass(frozen=True, slots=True)
class Comparison:
    """The recipe's last model and what it is held against (None: it was evaluated alone)."""

    model: str
    baseline: str | None


def comparison(recipe: Recipe, scores: Scores) -> Comparison:
    """The last step that evaluation compared with another model, and that model.

    Raises:
        MulmedError: there are several models, and evaluation compared none of them.
    """
    if len(scores.models) == 1:
        return Comparison(scores.models[0], None)
    pairs = [Comparison(model, baseline) for model, baseline, *_ in scores.differences]
    if not pairs:
        raise broken(scores.path, "The scores compare no model with another.")
    order = list(recipe.steps)
    return max(pairs, key=lambda pair: order.index(pair.model) if pair.model in order else -1)


def lead(pair: Comparison, scores: Scores) -> str:
    """One line: the direction of F1 in every language."""
    if pair.baseline is None:
        return f"Only the model {pair.model} was evaluated, so it is compared with none."
    by_verdict: dict[Verdict, list[str]] = {}
    for language in scores.languages:
        verdict = scores.verdict(scores.difference(pair.model, pair.baseline, language, "f1"))
        by_verdict.setdefault(verdict, []).append(names.language(language))
    phrases = [
        f"{_F1_IN_WORDS[verdict]} in {names.joined(by_verdict[verdict])}"
        for verdict in _F1_IN_WORDS
        if verdict in by_verdict
    ]
    return f"The model {pair.model} against {_the(pair.baseline)}: {'; '.join(phrases)}."


def findings(pair: Comparison, scores: Scores) -> list[str]:
    """A paragraph a language (F1, then the other measures), and one on answers that are missing or marred."""
    paragraphs = []
    for language in scores.languages:
        said = _f1_sentence(pair, scores, language)
        if pair.baseline is not None:
            said += f" {_other_measures(pair, pair.baseline, scores, language)}"
        paragraphs.append(said)
    failed = [f"{model} {names.count(n)}" for model, n in scores.failed.items() if n]
    answered = (
        f"Questions left without an answer, by model: {names.joined(failed)}."
        if failed
        else "Every model answered every question."
    )
    if absent := [f"{model} {names.count(n)}" for model, n in scores.absent.items() if n]:
        answered += (
            f" Questions to which the data set brings no answer of a system, by system: {names.joined(absent)}; its scores"
            " are over the others."
        )
    if leaked := [f"{model} {names.count(n)}" for model, n in scores.leaked.items() if n]:
        answered += f" Answers with special tokens or marks of the prompt in them: {names.joined(leaked)}."
    return [*paragraphs, answered]


_F1_IN_WORDS: dict[Verdict, str] = {
    "higher": "higher F1",
    "lower": "lower F1",
    "undecided": "no difference in F1 shown",
}


def _the(model: str) -> str:
    return "its base" if model == "base" else f"the model {model}"


def _f1_sentence(pair: Comparison, scores: Scores, language: str) -> str:
    where = f"In {names.language(language)}"
    score = scores.score(pair.model, language, "all", "f1")
    questions = f"{names.count(score.n)} question{'s' if score.n != 1 else ''}"
    if pair.baseline is None:
        return (
            f"{where}, the F1 of {pair.model} is {names.decimal(score.value)} ({scores.interval}"
            f" {names.decimal(score.low)} to {names.decimal(score.high)}; {questions})."
        )
    other = names.decimal(scores.score(pair.baseline, language, "all", "f1").value)
    values = f"{names.decimal(score.value)} against {other} on {questions}"
    d = scores.difference(pair.model, pair.baseline, language, "f1")
    verdict = scores.verdict(d)
    if verdict == "undecided":
        return (
            f"{where}, no difference in F1 between {pair.model} and {_the(pair.baseline)} can be shown:"
            f" {names.signed(d.value)} ({scores.interval} {names.signed(d.low)} to {names.signed(d.high)},"
            f" p {names.p_value(d.p)}; {values})."
        )
    low, high = sorted((abs(d.low), abs(d.high)))
    worse = " By this measure the training made it worse."
    return (
        f"{where}, {pair.model} has a {verdict} F1 than {_the(pair.baseline)}, by"
        f" {names.decimal(abs(d.value))} ({scores.interval} {names.decimal(low)} to {names.decimal(high)},"
        f" p {names.p_value(d.p)}; {values})."
        f"{worse if verdict == 'lower' and pair.baseline == 'base' else ''}"
    )


def _other_measures(pair: Comparison, baseline: str, scores: Scores, language: str) -> str:
    by_verdict: dict[Verdict, list[str]] = {"higher": [], "lower": [], "undecided": []}
    for metric in HEADLINE[1:]:
        verdict = scores.verdict(scores.difference(pair.model, baseline, language, metric))
        by_verdict[verdict].append(scores.metrics[metric].name)
    parts = [
        f"{'no difference shown' if verdict == 'undecided' else verdict} for {names.joined(found)}"
        for verdict, found in by_verdict.items()
        if found
    ]
    return f"Its other measures there: {'; '.join(parts)}."
