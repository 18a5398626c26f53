"""Every per-question metric of one answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mulmed.evaluation import bertscore, diversity, fscore, readability, rouge
from mulmed.evaluation.metric import Metric
from mulmed.evaluation.tokenize import jieba_words, tokens

#: Every metric that may appear in ``scores.json``, in the order of reports.
METRICS: dict[str, Metric] = {
    **fscore.METRICS,
    **rouge.METRICS,
    **bertscore.METRICS,
    **diversity.METRICS,
    "length": Metric(
        "Answer length",
        "Mean number of tokens of an answer: words, or characters in Chinese (a Latin run counts as one).",
        "neither",
    ),
    **readability.METRICS,
}


@dataclass(frozen=True, slots=True)
class Tokens:
    """One text cut in every way its language is scored by.

    Attributes:
        plain: for F1, distinct-n and length.
        rouge: for ROUGE: stems in English, else the same as ``plain``.
        words: for ROUGE by words: jieba's in Chinese, else ``None``.
        grades: how hard an English text is to read, by the keys of ``readability.METRICS``; else empty.
    """

    plain: list[str]
    rouge: list[str]
    words: list[str] | None
    grades: Mapping[str, float]


def cut(text: str, language: str, task: str = "") -> Tokens:
    """Tokens of a text in ``language`` (ISO 639-1); of a lay summary, its grades of readability too."""
    plain = tokens(text)
    return Tokens(
        plain=plain,
        rouge=rouge.rouge_tokens(text, language) if language == "en" else plain,
        words=jieba_words(text) if language == "zh" else None,
        grades=readability.readability(text) if (language, task) == ("en", "summary") else {},
    )


def measure(answer: Tokens, reference: Tokens) -> dict[str, float]:
    """Every per-question metric of one answer, by the keys of :data:`METRICS`. An empty answer scores 0, and has no grades."""
    overlap = fscore.token_score(answer.plain, reference.plain)
    values = {"f1": overlap.f1, "precision": overlap.precision, "recall": overlap.recall}
    values |= {kind: score.f1 for kind, score in rouge.scores(answer.rouge, reference.rouge).items()}
    if answer.words is not None and reference.words is not None:
        by_words = rouge.scores(answer.words, reference.words)
        values |= {f"{kind}_word": score.f1 for kind, score in by_words.items()}
    return values | describe(answer)


def describe(text: Tokens) -> dict[str, float]:
    """The metrics of a text that need no reference: ``length`` and grades of readability."""
    return {"length": float(len(text.plain)), **text.grades}
