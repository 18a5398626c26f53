"""Every per-question metric of one answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mulmed.evaluation import diversity, fscore, rouge
from mulmed.evaluation.metric import Metric
from mulmed.evaluation.tokenize import jieba_words, stemmed_words, tokens

#: Every metric that may appear in ``scores.json``, in the order of reports.
METRICS: dict[str, Metric] = {
    **fscore.METRICS,
    **rouge.METRICS,
    **diversity.METRICS,
    "length": Metric(
        "Answer length",
        "Mean number of tokens of an answer: words, or characters in Chinese (a Latin run counts as one).",
        "neither",
    ),
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text cut in every way its language is scored by.

    Attributes:
        plain: for F1, distinct-n and length.
        rouge: for ROUGE: stems in English, else the same as ``plain``.
        words: for ROUGE by words: jieba's in Chinese, else ``None``.
    """

    plain: list[str]
    rouge: list[str]
    words: list[str] | None


def cut(text: str, language: str) -> Tokens:
    """Tokens of a text in ``language`` (ISO 639-1)."""
    plain = tokens(text)
    return Tokens(
        plain=plain,
        rouge=stemmed_words(text) if language == "en" else plain,
        words=jieba_words(text) if language == "zh" else None,
    )


def measure(answer: Tokens, reference: Tokens) -> dict[str, float]:
    """Every per-question metric of one answer, by the keys of :data:`METRICS`. An empty answer scores 0."""
    overlap = fscore.token_score(answer.plain, reference.plain)
    values = {"f1": overlap.f1, "precision": overlap.precision, "recall": overlap.recall}
    values |= _rouge(answer.rouge, reference.rouge, "")
    if answer.words is not None and reference.words is not None:
        values |= _rouge(answer.words, reference.words, "_word")
    values["length"] = float(len(answer.plain))
    return values


def _rouge(answer: Sequence[str], reference: Sequence[str], suffix: str) -> dict[str, float]:
    return {
        f"rouge1{suffix}": rouge.rouge_n(answer, reference, 1).f1,
        f"rouge2{suffix}": rouge.rouge_n(answer, reference, 2).f1,
        f"rougeL{suffix}": rouge.rouge_l(answer, reference).f1,
    }
