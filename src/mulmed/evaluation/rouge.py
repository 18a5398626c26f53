"""ROUGE-1, ROUGE-2 and ROUGE-L (Lin 2004) on token lists, for a single reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rapidfuzz.distance import LCSseq

from mulmed.evaluation.fscore import Score, from_counts, shared_count
from mulmed.evaluation.metric import Metric
from mulmed.evaluation.tokenize import jieba_words, stemmed_words, tokens

_KINDS = {
    "1": "share of single tokens in common",
    "2": "share of neighbouring token pairs in common",
    "L": "length of the longest common subsequence of tokens",
}
_TOKENS = (
    "English by words with Porter's stemmer, the same numbers as the rouge_score package; Chinese by "
    "character with Latin runs as words; other languages by words"
)

METRICS = {
    f"rouge{kind}{suffix}": Metric(
        f"ROUGE-{kind}{label}",
        f"ROUGE-{kind} F-score (Lin 2004): {what}, harmonic mean of precision and recall, averaged over "
        f"questions. {tokens}.",
        "higher",
    )
    for suffix, label, tokens in (("", "", _TOKENS), ("_word", " (words)", "Chinese by jieba's words"))
    for kind, what in _KINDS.items()
}


def rouge_n(answer: Sequence[str], reference: Sequence[str], n: int) -> Score:
    """ROUGE-N: multiset overlap of n-grams. A side without n-grams scores 0, as in ``rouge_score``."""
    a = list(zip(*(answer[i:] for i in range(n)), strict=False))
    r = list(zip(*(reference[i:] for i in range(n)), strict=False))
    return from_counts(shared_count(a, r), len(a), len(r))


def rouge_l(answer: Sequence[str], reference: Sequence[str]) -> Score:
    """ROUGE-L at the level of the whole text: longest common subsequence of tokens (Lin 2004, 3.1)."""
    # rapidfuzz compares hashes of the elements: small integers have hashes of their own, strings may collide.
    codes: dict[str, int] = {}
    a, r = ([codes.setdefault(token, len(codes)) for token in side] for side in (answer, reference))
    return from_counts(LCSseq.similarity(a, r), len(a), len(r))


def rouge_tokens(text: str, language: str) -> list[str]:
    """Tokens that ROUGE compares: stems in English, single characters in Chinese, words elsewhere."""
    return stemmed_words(text) if language == "en" else tokens(text)


def scores(answer: Sequence[str], reference: Sequence[str]) -> dict[str, Score]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of token lists, under ``rouge1``, ``rouge2`` and ``rougeL``."""
    return {
        "rouge1": rouge_n(answer, reference, 1),
        "rouge2": rouge_n(answer, reference, 2),
        "rougeL": rouge_l(answer, reference),
    }


def rouge(
    prediction: str, reference: str, language: str, units: Literal["default", "words"] = "default"
) -> dict[str, Score]:
    """ROUGE-1, ROUGE-2 and ROUGE-L of one answer, each with ``precision``, ``recall`` and ``fmeasure``.

    English equals ``rouge_score`` with its stemmer.

    Args:
        prediction: the answer scored.
        reference: the answer it is held against.
        language: ISO 639-1 code; decides how texts are cut, see :func:`rouge_tokens`.
        units: ``words`` cuts Chinese by jieba; other languages are by words already.
    """
    if units == "words" and language == "zh":
        return scores(jieba_words(prediction), jieba_words(reference))
    return scores(rouge_tokens(prediction, language), rouge_tokens(reference, language))
